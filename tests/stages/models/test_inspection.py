"""What a plan looks at of the files that a spec names."""

import hashlib

import pytest

from intriguing.errors import WeightsError
from intriguing.stages.models.inspection import _models
from intriguing.stages.models.spec import ModelsSection


def files_of(path):
    section = {"datasets": {"d": {"source": "mnist-sample"}}, "models": {"m": {"architecture": "mlp", "weights": path}}}
    return _models(ModelsSection.model_validate(section))["m"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.mkdir(), r"models\.m\.weights: .*w\.pt cannot be read: it is a folder, not a file"),
        (lambda path: path.symlink_to(path), r"models\.m\.weights: .*w\.pt cannot be read: .*symbolic links"),
        (lambda path: path.symlink_to(path.parent / "gone.pt"), r"models\.m\.weights: there is no file .*gone\.pt"),
        (lambda path: None, r"models\.m\.weights: there is no file .*w\.pt\."),
    ],
)
def test_a_weights_file_that_is_none_is_told_with_its_key(tmp_path, make, told):
    """Links in a circle ended with a traceback, and of a folder it said that nothing was there."""
    make(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=told):
        files_of(str(tmp_path / "w.pt"))


def test_a_weights_file_is_hashed_where_its_link_leads(tmp_path):
    (tmp_path / "real.pt").write_bytes(b"weights")
    (tmp_path / "w.pt").symlink_to("real.pt")
    files = files_of(str(tmp_path / "w.pt"))
    assert (files.weights_hash, files.weights_path) == (
        hashlib.sha256(b"weights").hexdigest(),
        str((tmp_path / "real.pt").resolve()),
    )
