"""A run on a disk that is read-only: it is read as ever, and what is written goes where the user says."""

import os

import pytest

from intriguing.cli import call
from intriguing.sweep.reporting import page as module
from tests.synthetic_run import SyntheticRun


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    root = SyntheticRun(tmp_path / "run").write()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(root) not in str(path) and access(path, mode))
    return root


def test_a_page_that_cannot_be_written_is_refused_before_it_is_made(read_only, monkeypatch, capsys):
    monkeypatch.setattr(module, "_body", lambda context: pytest.fail("the page was made"))
    for line in (["report"], ["report", "--out", str(read_only / "a" / "page.html")]):
        assert call([line[0], str(read_only), *line[1:]]) == 2
        said = capsys.readouterr().err
        assert "cannot be written (Permission denied). Say where else to write the page:" in said
        assert "intriguing report RUN --out page.html" in said
    assert call(["report", str(read_only), "--site", str(read_only / "site")]) == 2
    assert "Choose another folder for --site." in capsys.readouterr().err


def test_the_page_and_the_figures_go_where_the_user_says(read_only, tmp_path, capsys):
    assert call(["report", str(read_only), "--out", str(tmp_path / "new" / "page.html")]) == 0
    assert (tmp_path / "new" / "page.html").exists()
    assert capsys.readouterr().out == f"{tmp_path / 'new' / 'page.html'}\n"
    assert call(["report", str(read_only), "--figures", str(read_only / "figures")]) == 2
    assert "Choose another folder for the figures." in capsys.readouterr().err


def test_exported_images_and_rows_are_refused_with_a_sentence(read_only, capsys):
    assert call(["export", str(read_only), "--adversarial", str(read_only / "worst")]) == 2
    assert "Choose another folder for --adversarial." in capsys.readouterr().err
    assert call(["show", str(read_only), "models", "--parquet", "/proc/self/rows.parquet"]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not (read_only / "worst").exists()
