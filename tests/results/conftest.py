"""Invented runs that are read and never written to."""

import pytest

from tests.synthetic_run import make_run


@pytest.fixture(scope="session")
def two_sets(tmp_path_factory):
    """Two data sets, two layers, a model called 007, in a folder with a space and quotes in its name."""
    root = tmp_path_factory.mktemp("runs") / "a 'run'"
    return make_run(root, datasets=("glyphs", "second set"), models=("FC10", "007"))


@pytest.fixture(scope="session")
def one_set(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "one", models=("FC10", "007"), layers=("hidden",))
