"""Models that are trained on a part of the training split (the paper's P1 and P2)."""

import pytest

from intriguing import open_run
from intriguing.errors import SpecError
from intriguing.sweep import execute, prepare
from intriguing.sweep.spec import load_spec
from tests.sweep.planning import SIZES, digits, plan_of

NET = {"architecture": "softmax", "training": {"epochs": 2}}


def spec_of(**models):
    return load_spec({"name": "halves", "datasets": {"mnist-sample": {}}, "models": models})


def test_a_part_has_a_task_of_its_own_and_leaves_the_fingerprints_of_others_alone():
    whole = plan_of(spec_of(whole=NET))
    both = plan_of(spec_of(whole=NET, half=NET | {"train_part": "1 of 2"}))
    assert set(whole.fingerprints.values()) < set(both.fingerprints.values())
    task = both.tasks["model/mnist-sample/half/0"]
    assert task.parameters["train_part"] == "1 of 2"
    assert "train_part" not in both.tasks["model/mnist-sample/whole/0"].parameters


def test_a_part_too_small_for_a_class_is_refused_before_any_work():
    few = digits(sizes=SIZES)
    few = type(few)(**{**vars(few), "rarest": {"train": 3}})
    assert plan_of(spec_of(third=NET | {"train_part": "3 of 3"}), few)
    with pytest.raises(SpecError, match=r"models.half.train_part: data set 'mnist-sample' has a class of only 3"):
        plan_of(spec_of(half=NET | {"train_part": "1 of 4"}), few)


def test_a_part_of_another_form_or_without_a_training_is_refused_by_key():
    with pytest.raises(SpecError, match=r"models.half.train_part: 'P1' is no part"):
        spec_of(half=NET | {"train_part": "P1"})
    with pytest.raises(SpecError, match=r"models.half.train_part: the model is not trained"):
        spec_of(half=NET | {"train_part": "1 of 2", "train": False})


def test_a_model_of_a_part_is_measured_on_it_on_the_rest_and_on_the_test_split(tmp_path):
    spec = spec_of(whole=NET, half=NET | {"train_part": "1 of 2"}, other=NET | {"train_part": "2 of 2"})
    assert execute(prepare(spec, tmp_path / "run"), "inline").complete
    rows = open_run(tmp_path / "run").pandas("models").set_index("model")
    assert rows.train_part.dropna().to_dict() == {"half": "1 of 2", "other": "2 of 2"}
    assert rows.other_error.isna().to_dict() == {"whole": True, "half": False, "other": False}
    assert rows.weights_hash.nunique() == 3
    assert rows[["train_error", "test_error"]].gt(0).all(axis=None)
