"""Searches in several grades, and for each wrong class."""

import numpy as np
import pytest

import intriguing as ig
from intriguing.errors import SpecError
from intriguing.sweep import prepare
from tests.sweep.small import SMALL

SPEC = {
    "name": "grades",
    "datasets": {"mnist-sample": {}},
    "models": {"softmax": {"training": {"epochs": 5}}},
    "blind_spots": {
        "images": 12,
        "grade": "fast",
        "more_grades": ["faithful", "fast"],
        "target_rules": ["random", "every", "each"],
    },
    "transfer": {},
    "compute": {"slots": 32, "searches_per_shard": 7},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return ig.run(SPEC, tmp_path_factory.mktemp("grades") / "run", "inline")


def test_each_wrong_class_is_searched_for_and_the_nearest_is_what_every_keeps(finished):
    rows = finished.pandas("distortions", grade="fast")
    each, every = rows[rows["target_rule"] == "each"], rows[rows["target_rule"] == "every"].set_index("example_id")
    assert len(each) == 12 * 9
    assert (each["target"] != each["label"]).all()
    assert each.groupby("example_id")["target"].nunique().eq(9).all()
    right = every[every["status"] == "found"]
    nearest = each[each["status"] == "found"].groupby("example_id")["l2"].min().loc[right.index]
    np.testing.assert_allclose(nearest, right["l2"], rtol=2e-3)


def test_a_random_target_is_one_of_each(finished):
    rows = finished.pandas("distortions", grade="fast", status="found").set_index(["example_id", "target"])
    random, each = (rows[rows["target_rule"] == rule]["l2"] for rule in ("random", "each"))
    np.testing.assert_allclose(random, each.loc[random.index], rtol=2e-3)


def test_images_of_each_are_neither_kept_nor_fed(finished):
    assert not any("/each/" in name for name in finished.table("adversarial")["search_id"].to_pylist())
    assert set(finished.pandas("transfer")["target_rule"]) == {"", "random", "every"}


def test_every_grade_is_searched_once_and_fed(finished):
    found = finished.pandas("distortions")
    assert set(found["grade"]) == {"fast", "faithful"}
    assert len(found) == 2 * 12 * (1 + 1 + 9)
    assert set(finished.pandas("transfer", kind="minimal")["grade"]) == {"fast", "faithful"}


def test_a_further_grade_leaves_the_tasks_of_the_first_as_they_are():
    more = SMALL | {"blind_spots": SMALL["blind_spots"] | {"more_grades": ["faithful"]}}
    one, two = (prepare(spec, "nowhere").plan.fingerprints for spec in (SMALL, more))
    assert one.items() <= two.items()
    searches, further = ([n for n in plan if n.startswith("search/")] for plan in (one, two.keys() - one.keys()))
    assert len(further) == len(searches) > 0
    assert all("/faithful/" in name for name in further)


@pytest.mark.slow
def test_grades_are_compared_for_the_rules_that_were_fed_alone(tmp_path):
    """The page of the spec `paper` asked for the rays of `each`, which is not fed, and was not written."""
    models = {name: {"architecture": "softmax", "training": {"epochs": 5}} for name in ("one", "two")}
    few = SPEC["blind_spots"] | {"images": 4, "target_rules": ["random", "each"]}
    run = ig.run(SPEC | {"models": models, "blind_spots": few}, tmp_path / "run", "inline")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Does a better search transfer less? On mnist-sample, random" in page
    assert "Does a better search transfer less? On mnist-sample, each" not in page
    assert run.table("rays").num_rows


def test_an_unknown_further_grade_is_refused():
    with pytest.raises(SpecError, match=r"blind_spots\.more_grades"):
        prepare(SMALL | {"blind_spots": {"more_grades": ["slow"]}}, "nowhere")
