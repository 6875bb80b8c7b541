"""Paths that the system refuses to look at (too long a name, a folder of somebody else's): a sentence, no traceback."""

import os
from pathlib import Path

import numpy as np
import pytest

from intriguing.basics.folders.presence import is_file, is_folder, is_taken, is_there, no_such, refusal
from intriguing.cli import call
from intriguing.data import dataset_hash, known_datasets
from intriguing.errors import DataError, MissingDataError

LONG = "n" * 300


@pytest.fixture
def closed(tmp_path, monkeypatch):
    """A folder of somebody else's, which may not be looked into; the superuser, who may run the tests, may always."""
    folder = tmp_path / "closed"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    looks = {name: getattr(os, name) for name in ("stat", "lstat", "open", "scandir", "listdir")}

    def refusing(name):
        def look(path, *rest, **options):
            if isinstance(path, str | os.PathLike) and folder in Path(path).absolute().parents:
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return looks[name](path, *rest, **options)

        return look

    for name in looks:
        monkeypatch.setattr(os, name, refusing(name))
    return folder


@pytest.mark.parametrize("look", [is_there, is_file, is_folder, is_taken])
def test_asking_for_a_path_raises_nothing(look, closed):
    assert not look(LONG)
    assert not look(closed / "x")
    assert not look("a\0b")
    assert look(closed) == (look is not is_file)


def test_what_is_not_there_is_told_apart_from_what_may_not_be_looked_at(closed):
    assert refusal("nothing") == refusal("nothing/below") == refusal(closed) == ""
    assert refusal(LONG) == "File name too long"
    assert no_such("file", "nothing") == f"There is no file nothing in {Path.cwd()}."
    assert no_such("file", "/nothing/here") == "There is no file /nothing/here."
    assert no_such("file", closed / "x") == f"{closed / 'x'} cannot be looked at: Permission denied."


def test_a_path_in_a_folder_that_is_gone_is_told_without_it(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert no_such("file", "nothing") == "There is no file nothing."


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (f"plan {LONG}", f"There is no spec named '{LONG}'"),
        (f"plan {LONG}.toml", "cannot be looked at: File name too long."),
        ("plan closed/x.toml", "The spec closed/x.toml cannot be looked at: Permission denied."),
        ("plan closed/x", "The spec closed/x cannot be looked at: Permission denied."),
        (f"plan demo --out {LONG}", "File name too long"),
    ],
)
def test_a_command_tells_why_it_cannot_look(typed, said, closed, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    assert call(typed.split()) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        (f"{LONG}", Exception, f"There is no data set named '{LONG}'"),
        (f"{LONG}:load", DataError, f"There is no module '{LONG}'"),
        (f"npz:{LONG}", DataError, "cannot be looked at: File name too long. Make it readable, or correct the path."),
        (f"imagefolder:{LONG}", DataError, "cannot be looked at: File name too long."),
        ("npz:closed/d.npz", DataError, "closed/d.npz cannot be looked at: Permission denied."),
        ("imagefolder:closed/d", DataError, "closed/d cannot be looked at: Permission denied."),
        ("closed/d", DataError, "closed/d cannot be looked at: Permission denied."),
        ("npz:d.npz", MissingDataError, "There is no file d.npz in /"),
    ],
)
def test_a_data_set_that_cannot_be_looked_at_is_no_missing_one(source, error, said, closed):
    with pytest.raises(error) as raised:
        dataset_hash(source)
    assert said in str(raised.value)
    assert isinstance(raised.value, MissingDataError) == (error is MissingDataError)


def test_named_data_sets_in_a_closed_folder_are_told(closed):
    with pytest.raises(DataError, match="train-images-idx3-ubyte cannot be looked at: Permission denied") as raised:
        dataset_hash("mnist", closed)
    assert not isinstance(raised.value, MissingDataError)
    assert not any(d["present"] for d in known_datasets(closed) if d["path"])


def test_a_first_spec_that_cannot_be_written_is_told_in_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    images = np.zeros((20, 1, 4, 4), np.float32)
    np.savez("d.npz", images=images, labels=np.arange(20) % 2)
    assert call(["init", "mlp", "--data", "npz:d.npz", "--out", f"{LONG}.toml"]) == 2
    assert "cannot be written (File name too long). Choose another file with --out." in capsys.readouterr().err
