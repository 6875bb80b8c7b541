"""What workers load is what the plan was made from: code and weights that were changed since are refused."""

import hashlib
import importlib
import sys

import pytest

from intriguing.data import factories
from intriguing.errors import ModelError, WeightsError
from intriguing.models import source_hash
from intriguing.stages.common.parameters import Architecture
from intriguing.stages.common.resources import build, model, weights_file

CODE = "from torch import nn\n\n\ndef build(width={}):\n    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))\n"
NAME = "code_that_changes"


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(factories, "_SOURCES", {})
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / f"{NAME}.py").write_text(CODE.format(1))
    yield tmp_path / f"{NAME}.py"
    sys.modules.pop(NAME, None)


def planned():
    return Architecture(f"{NAME}:build", {}, (1, 2, 2), 3, source_hash(f"{NAME}:build"))


def test_code_that_was_changed_after_its_import_is_no_other_plan_s(module):
    """In a notebook a second run took the old code, which Python had in memory, for that in the changed file."""
    before = planned()
    build(before, 0)
    module.write_text(CODE.format(22))
    build(before, 0)  # the run that began with it goes on: what is in memory is what it was planned with
    with pytest.raises(ModelError, match=rf"is not that of the plan .*importlib.reload\({NAME}\)"):
        build(planned(), 0)
    with pytest.raises(ModelError, match="is not that of the plan"):
        model(f"{NAME}:build", {}, [1, 2, 2], 3, planned().source_hash, b"")
    importlib.reload(sys.modules[NAME])
    build(planned(), 0)
    with pytest.raises(ModelError, match="is not that of the plan"):
        build(before, 0)


def test_a_worker_that_has_other_code_refuses_it(module):
    before = planned()
    module.write_text(CODE.format(22))
    with pytest.raises(ModelError, match="or differs on this worker"):
        build(before, 0)


def test_a_weights_file_that_was_changed_since_the_plan_is_refused(tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert weights_file(sha256, str(path)) == (b"weights", 7)
    path.write_bytes(b"others")
    with pytest.raises(WeightsError, match="is not that which the plan was made from"):
        weights_file(sha256, str(path))
