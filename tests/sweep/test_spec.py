"""The spec: what is wrong with it is said by key, with the nearest valid one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intriguing.errors import SpecError, UnknownNameError
from intriguing.sweep.spec import describe_spec, load_spec, spec_names

BASE: dict[str, Any] = {"name": "x", "datasets": {"mnist-sample": {}}, "models": {"cnn": {"layers": ["fc1"]}}}


@pytest.mark.parametrize("name", spec_names())
def test_every_spec_in_the_package_is_valid_and_says_what_it_is(name):
    assert load_spec(name).name == name
    assert len(describe_spec(name)) > 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"untis": {}}, "untis: unknown key. Did you mean 'units'? Valid keys: name, seed"),
        ({"models": {"cnn": {"layer": ["a"]}}}, "models.cnn.layer: unknown key. Did you mean 'layers'?"),
        ({"compute": {"slot": 1}}, "compute.slot: unknown key. Did you mean 'slots'?"),
        ({"units": {"K": 8}}, "units.K: unknown key. Did you mean 'k'?"),
        ({"units": {"k": 0}}, "units.k: Input should be greater than or equal to 1 (given: 0)"),
        ({"model_seeds": [1, 2, 1]}, "model_seeds: 1 stands there twice"),
        ({"models": {"cnn": {"layers": ["fc1", "fc1"]}}}, "models.cnn.layers: 'fc1' stands there twice"),
        (
            {"blind_spots": {"target_rules": ["random", "random"]}},
            "blind_spots.target_rules: 'random' stands there twice",
        ),
        (
            {"models": {"cnn": {"layers": ["fc1"], "training": {"rate": float("nan")}}}},
            "models.cnn.training.rate' is nan",
        ),
        ({"units": {"bases": ["gauss"]}}, "units.bases.0: Input should be 'natural', 'gaussian'"),
        ({"blind_spots": {"images": "many"}}, "blind_spots.images: Input should be a valid integer"),
        ({"units": {"k": True}}, "units.k: Input should be a valid integer (given: True)"),
        ({"units": {"k": "16"}}, "units.k: Input should be a valid integer (given: '16')"),
        ({"units": {"k": 16.0}}, "units.k: Input should be a valid integer (given: 16.0)"),
        ({"seed": 1.0}, "seed: Input should be a valid integer (given: 1.0)"),
        ({"model_seeds": [0, True]}, "model_seeds.1: Input should be a valid integer (given: True)"),
        ({"units": {"doses": [True]}}, "units.doses.0: Input should be a valid number (given: True)"),
        (
            {"datasets": {"mnist-sample": {"download": 1}}},
            "mnist-sample.download: Input should be a valid bool",
        ),
        ({"compute": {"task_seconds": "60"}}, "compute.task_seconds: Input should be a valid number (given: '60')"),
        ({"name": 7}, "name: Input should be a valid string (given: 7)"),
        ({"datasets": 3}, "datasets: it is a table; write [datasets.NAME], and its keys below (given: 3)"),
        ({"models": {"m": "cnn"}}, "models.m: it is a table; write [models.m], and its keys below (given: 'cnn')"),
        (
            {"models": {"architecture": "cnn", "layers": ["fc1"]}},
            "it is a key of a table with a name; write [models.NAME], and architecture = ... below",
        ),
        ({"models": {"cnn": {"layers": "fc1"}}}, "models.cnn.layers: Input should be a valid list (given: 'fc1')"),
        ({"transfer": {}}, "transfer: it feeds what [blind_spots] finds, and the spec has no such section"),
        ({"datasets": {}}, "datasets: a spec with models needs at least one data set"),
        ({"models": {"cnn": {}}, "units": {}}, "models.cnn.layers: name at least one layer"),
        (
            {"models": {"cnn": {"datasets": ["mnist"]}}},
            "models.cnn.datasets: There is no data set named 'mnist'. Did you mean 'mnist-sample'?",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named(changes, message):
    with pytest.raises(SpecError) as raised:
        load_spec(BASE | changes)
    assert message in str(raised.value)


def test_an_unknown_spec_lists_those_there_are():
    with pytest.raises(UnknownNameError, match="no spec named 'dmeo'. Did you mean 'demo'?"):
        load_spec("dmeo")


def test_a_spec_takes_its_file_s_name_unless_it_has_one(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[datasets.mnist-sample]\n")
    assert load_spec(path).name == "mine"


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("name = \n")
    with pytest.raises(SpecError, match="bad.toml cannot be read: Invalid value"):
        load_spec(path)


def test_a_folder_of_a_specs_name_does_not_hide_the_spec(tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_spec("demo").name == "demo"


def test_a_whole_number_will_do_for_a_number():
    spec = load_spec(BASE | {"units": {"k": 3}, "blind_spots": {}, "transfer": {"amplified_rms": 1}})
    assert spec.transfer is not None
    assert spec.transfer.amplified_rms == 1.0


def test_a_spec_made_in_python_may_hold_what_toml_would_say_otherwise():
    models = {"cnn": {"layers": ("fc1",), "weights": Path("w.pt"), "options": {"hidden": np.int64(8)}}}
    spec = load_spec(BASE | {"models": models, "units": {"k": np.int32(3)}, "seed": np.int64(4)})
    assert (spec.models["cnn"].layers, spec.models["cnn"].weights) == (["fc1"], "w.pt")
    assert (spec.models["cnn"].options, spec.seed) == ({"hidden": 8}, 4)


def test_a_spec_comes_back_as_it_was_stored():
    """plan.json holds a spec as JSON; an old run's is read again by `report`, `prune` and `run`."""
    for name in spec_names():
        spec = load_spec(name)
        assert load_spec(json.loads(json.dumps(spec.model_dump()))) == spec


@pytest.mark.parametrize("made", [int, lambda: None])
def test_a_model_or_function_of_a_notebook_in_a_spec_is_told_what_to_write(made):
    """pydantic said that the input should be a valid string, and printed the whole network."""
    with pytest.raises(SpecError, match=r'models.m.architecture: it is a \w+, .*"module:function".*minimal_distortion'):
        load_spec({"name": "x", "datasets": {"mnist-sample": {}}, "models": {"m": {"architecture": made}}})
