"""A model that is no better than the commonest class: told at work, on the page and by `show`."""

import logging
from dataclasses import replace

import pytest

from intriguing.cli import call as run_command
from intriguing.results import open_run
from intriguing.sweep.reporting.page import write_report
from intriguing.sweep.reporting.printed import notes
from intriguing.sweep.reporting.remarks import Remarks
from tests.pages import Document
from tests.synthetic_run import SyntheticRun

TOLD = "FC10 on glyphs is wrong on 97% of the test images, no better than always naming the commonest class (90%)"


@pytest.fixture
def bad(tmp_path):
    """A run whose first model is worse than chance, and whose second is good."""
    writer = SyntheticRun(tmp_path / "run")
    writer.errors = (0.97, 0.04)
    writer.write("plan", "examples", "model_rows")
    return tmp_path / "run"


def test_it_stands_above_the_answers(bad, capsys):
    assert [note.startswith(TOLD) for note in notes(open_run(bad))] == [True]
    words = Document(write_report(bad).read_text()).words
    assert TOLD in words and words.index(TOLD) < words.rindex("What was run")
    assert run_command(["show", str(bad)]) == 0
    assert capsys.readouterr().out.startswith(TOLD)


def test_it_is_told_once_as_soon_as_the_tables_are_there(bad, caplog):
    remarks = Remarks(bad)
    (bad / "tables").rename(bad / "later")
    with caplog.at_level(logging.WARNING):
        remarks()
        assert not caplog.text
        (bad / "later").rename(bad / "tables")
        remarks()
        remarks()
    assert caplog.text.count(TOLD) == 1


def test_nothing_is_said_of_those_that_are_meant_to_be_untrained(bad):
    run = open_run(bad)
    assert notes(replace(run, spec={"models": {"FC10": {"architecture": "mlp", "train": False}}})) == []
    assert len(notes(replace(run, spec={"models": {"FC10": {"architecture": "own:net", "train": False}}}))) == 1
    assert len(notes(replace(run, spec={"models": ["FC10"]}))) == 1
    # Of one that is trained in variants, and not itself: it was told that its labels may be wrong.
    own = {"FC10": {"architecture": "own:net", "train": False}}
    assert notes(replace(run, spec={"models": own, "hardening": {"models": ["FC10"]}})) == []
    given = {"FC10": {"architecture": "own:net", "weights": "w.pt"}}
    assert len(notes(replace(run, spec={"models": given, "hardening": {"models": ["FC10"]}}))) == 1


def test_an_unfinished_run_has_no_notes(tmp_path):
    assert notes(open_run(SyntheticRun(tmp_path / "run").write("plan"))) == []
