"""Two names for one network: its transfer to itself is no answer, so it is told."""

import pytest

from intriguing.stages.models.inspection import ModelFiles
from intriguing.sweep.spec import load_spec
from tests.sweep.planning import plan_of

NET = {"architecture": "mlp", "options": {"hidden": [16]}}
FILE = {"weights": "w.safetensors"}


@pytest.mark.parametrize(
    ("one", "other", "hashes", "said"),
    [
        (NET, NET, {}, "(seed 0)"),
        (NET | {"seeds": [0, 3]}, NET | {"seeds": [2, 3]}, {}, "(seed 3)"),
        (NET | FILE, NET | FILE | {"seeds": [4]}, {"one": "aa", "other": "aa"}, "They have the same weights."),
        (NET, NET | {"seeds": [1]}, {}, ""),
        (NET, NET | {"training": {"epochs": 3}}, {}, ""),
        (NET, NET | {"options": {"hidden": [8]}}, {}, ""),
        (NET | {"train_part": "1 of 2"}, NET | {"train_part": "2 of 2"}, {}, ""),
        (NET | FILE, NET | FILE, {"one": "aa", "other": "bb"}, ""),
        (NET, NET | {"train": False}, {}, ""),
    ],
)
def test_two_models_that_are_one_network_are_told(one, other, hashes, said, caplog):
    spec = load_spec({"name": "twins", "datasets": {"mnist-sample": {}}, "models": {"one": one, "other": other}})
    plan_of(spec, models={name: ModelFiles(weights_hash=sha256) for name, sha256 in hashes.items()})
    if said:
        assert "models.one and models.other are one network on mnist-sample" in caplog.text
        assert said in caplog.text
    else:
        assert not caplog.records
