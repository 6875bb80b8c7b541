"""What the comparison is planned from, and what a spec may ask of it."""

import pytest

from intriguing.errors import SpecError
from intriguing.sweep import prepare
from intriguing.sweep.spec import load_spec
from tests.sweep.small import SMALL


def planned(**paper):
    return prepare(SMALL | {"paper": paper}, "nowhere").plan


def test_a_comparison_reads_everything_of_its_data_set_and_changes_no_other_task():
    before, plan = prepare(SMALL, "nowhere").plan, planned()
    task = plan.tasks["paper/mnist-sample"]
    assert before.fingerprints.items() <= plan.fingerprints.items()
    assert len(plan) == len(before) + 1
    assert {name: len(outputs) for name, outputs in task.inputs.items()} == {
        "models": 2,
        "distortions": 2 * 2 * 2,
        "clean": 2 * 2,
        "changed": 2 * 2 * 2 * 2,
        "noise": 2 * 2,
        "noise_rays": 2 * 2,
    }
    assert task.parameters["amplified_rms"] == 0.1


def test_models_of_one_recipe_differ_by_seed_and_part_alone():
    plan = prepare("full", "nowhere").plan
    told = {
        (name, seed): (recipe, part)
        for name, seed, _, recipe, part in plan.tasks["paper/mnist-sample"].parameters["models"]
    }
    whole, first, second = told["FC100-100-10", 0], told["FC100-100-10 P1", 1], told["FC100-100-10 P2", 0]
    assert whole[0] == first[0] == second[0]
    assert (whole[1], first[1], second[1]) == ("", "1 of 2", "2 of 2")
    assert told["FC10(1e-4)", 0][0] != told["FC10(1)", 0][0]


@pytest.mark.parametrize(
    ("paper", "said"),
    [
        ({"beside": ["cifar10"]}, r"paper\.beside: there is no data set 'cifar10'"),
        ({"grade": "faithful"}, r"paper\.grade: 'faithful' is no grade"),
        ({"target_rule": "every"}, r"paper\.target_rule: 'every'"),
        ({"draws": 10}, r"paper\.draws"),
    ],
)
def test_what_cannot_be_compared_is_refused(paper, said):
    with pytest.raises(SpecError, match=said):
        load_spec(SMALL | {"paper": paper})


def test_without_transfer_there_is_nothing_to_compare():
    with pytest.raises(SpecError, match="the spec lacks one of them"):
        load_spec({name: part for name, part in SMALL.items() if name != "transfer"} | {"paper": {}})


def test_the_papers_models_are_those_of_its_spec():
    from intriguing.stages.paper.comparison.paper_tables import SIX, THREE

    for name in ("paper", "paper-seeds"):
        spec = load_spec(name)
        assert tuple(spec.models) == (*SIX, *THREE)
        assert spec.paper.beside == ["mnist"]
        assert spec.datasets["mnist"].instead == ["mnist-sample"]
    assert load_spec("paper").blind_spots.images == 1_000
    assert load_spec("paper-seeds").model_seeds == [0, 1, 2]


def test_where_mnist_is_not_there_the_sample_is_taken_and_named(monkeypatch, tmp_path):
    monkeypatch.setenv("INTRIGUING_DATA", str(tmp_path))
    task = prepare("paper", tmp_path / "run").plan.tasks["paper/mnist"]
    assert task.parameters["source"] == "mnist-sample"
    assert task.parameters["beside"]
