"""The plan: what is in it, what a changed spec changes, and how large it may get."""

import pytest

from intriguing.errors import SpecError
from intriguing.stages.models.functions import LOAD
from intriguing.stages.models.inspection import ModelFiles
from intriguing.sweep.spec import load_spec
from tests.sweep.planning import digits, plan_of


def demo(**changes):
    return load_spec(load_spec("demo").model_dump() | changes)


def fingerprints(plan):
    """Of all tasks but the correction over all tests, which every change of the plan touches."""
    return {fingerprint for name, fingerprint in plan.fingerprints.items() if name != "correct"}


def test_a_fourth_model_adds_its_row_and_column_and_changes_nothing_else():
    spec = demo()
    models = {n: m.model_dump() for n, m in spec.models.items()}
    larger = demo(models=models | {"007": {"architecture": "mlp", "layers": ["hidden1"]}})
    before, after = plan_of(spec), plan_of(larger)
    assert fingerprints(before) < fingerprints(after)
    new = [t.name for t in after if t.name not in before.tasks]
    assert all("007" in name for name in new)
    transfers = [name for name in new if name.startswith("transfer")]
    assert len(transfers) == (4 + 3) * 2


def test_another_k_changes_the_scans_and_not_the_activations():
    spec = demo()
    before, after = plan_of(spec), plan_of(demo(units={**spec.model_dump()["units"], "k": 8}))
    changed = {t.name.partition("/")[0] for t in after if after.fingerprints[t.name] not in fingerprints(before)}
    assert changed == {"scan", "top", "score", "null", "test", "correct"}  # nor the inputs of the tests


def test_a_transfer_cell_waits_for_its_own_shard_of_searches_alone():
    spec = demo(compute={"searches_per_shard": 25})
    plan = plan_of(spec)
    cell = plan.tasks["transfer/mnist-sample/cnn/0/untargeted/00002/to/mlp/0"]
    assert {need.task for need in cell.needs} == {
        "search/mnist-sample/cnn/0/untargeted/00002",
        "model/mnist-sample/mlp/0",
    }


def test_models_of_different_data_sets_are_not_fed_each_other_s_images():
    spec = demo(datasets={"mnist-sample": {}, "other": {"source": "mnist-sample"}})
    names = [t.name for t in plan_of(spec) if t.name.startswith("transfer")]
    assert len(names) == 2 * 9 * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": {"k": 2001}}, "units.k is 2001, more than the 2000 inputs of 'mnist-sample' (test split)"),
        ({"units": {"k": 60, "rows": 50}}, "units.k is 60, more than the 50 inputs"),
        ({"units": {"rows": 3000}}, "units.rows is 3000, more than the 2000 inputs"),
        ({"blind_spots": {"images": 2001}}, "blind_spots.images is 2001, more than the 2000 inputs"),
    ],
)
def test_more_than_there_is_is_refused_by_key(changes, message):
    with pytest.raises(SpecError) as raised:
        plan_of(demo(**changes))
    assert message in str(raised.value)


def test_a_split_that_a_data_set_lacks_is_named():
    with pytest.raises(SpecError, match="units.split: There is no split of 'mnist-sample' named 'test'"):
        plan_of(demo(), digits(sizes={"train": 8000}))


def test_a_model_that_cannot_be_trained_for_want_of_a_split_is_named():
    with pytest.raises(SpecError, match="models.softmax: data set 'mnist-sample' has no train split"):
        plan_of(demo(), digits(sizes={"test": 2000}))


def test_a_model_with_weights_is_loaded_and_not_trained():
    spec = demo(models={"mine": {"architecture": "mlp", "weights": "mine.safetensors", "layers": ["hidden1"]}})
    files = {"mine": ModelFiles(weights_hash="abc", weights_path="/here/mine.safetensors")}
    task = plan_of(spec, models=files).tasks["model/mnist-sample/mine/0"]
    assert task.function == LOAD.function


def test_names_with_slashes_make_no_two_tasks_of_one_name():
    models = {
        "a/0": {"architecture": "cnn", "layers": ["fc1"]},
        "a": {"architecture": "cnn", "layers": ["0/fc1", "fc1"]},
    }
    assert len(plan_of(demo(models=models))) > 20


@pytest.mark.slow
def test_a_hundred_thousand_tasks_are_planned():
    plan = plan_of(demo(compute={"searches_per_shard": 1, "rows_per_shard": 1}, model_seeds=[0, 1, 2, 3]))
    assert len(plan) > 50_000
