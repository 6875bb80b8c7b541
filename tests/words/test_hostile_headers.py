"""Vector files made to do harm."""

import os
import pickle
from contextlib import suppress

import numpy as np
import pytest

from intriguing.errors import DataError
from intriguing.words import read_vectors


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-ran",)


@pytest.mark.parametrize("form", ["auto", "word2vec", "word2vec-binary"])
@pytest.mark.parametrize("header", ["9" * 5_000 + " 3", "3 " + "9" * 5_000, "9" * 5_000 + " " + "9" * 5_000])
def test_a_header_of_5000_digits_is_refused(tmp_path, header, form):
    (tmp_path / "a.txt").write_text(header + "\nthe 1 2 3\n")
    with pytest.raises(DataError, match=r"a\.txt"):
        read_vectors(str(tmp_path / "a.txt"), form=form)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", ["auto", "word2vec", "word2vec-binary", "glove", "gensim"])
def test_code_in_a_vector_file_is_not_run(tmp_path, monkeypatch, protocol, form):
    """KeyedVectors are pickles: they are read only where the user says that they are trusted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.kv").write_bytes(pickle.dumps(Evil(), protocol))
    with suppress(DataError):  # the oldest pickles are lines of text
        read_vectors("a.kv", form=form)
    assert not (tmp_path / "evil-ran").exists()


def test_an_array_of_objects_is_no_vector_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(DataError):
        read_vectors("a.npy")
    assert not (tmp_path / "evil-ran").exists()
