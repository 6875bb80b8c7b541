"""The run itself on the page: failures, how far it got, and how much there is."""

import re

from intriguing.sweep.reporting.page import write_report
from tests.pages import Document, words_of
from tests.synthetic_run import SyntheticRun, images


def test_counts_of_one_are_in_the_singular(tmp_path):
    writer = SyntheticRun(tmp_path / "run", models=("007",), layers=("hidden",))
    writer.searches = 1
    words = words_of(writer.write("plan", "model_rows", "searched"))
    assert "model 1 search for blind spots 1" in words
    assert "searches for blind spots" not in words
    assert "search for blind spots" in words
    assert "Its one image was made from an image" in words


def test_failures_come_first_and_in_red(small):
    small.write("plan", "model_rows", "failures")
    document = Document(write_report(small.root).read_text())
    assert [section["id"] for section in document.all("section")] == ["failures", "left-out", "overview", "glossary"]
    assert any(attributes.get("role") == "alert" for attributes in document.all("div"))
    assert "1 task gave up" in document.words
    assert "ModelError : The logits of <i>FC10</i> are not finite." in document.words
    assert "intriguing run synthetic" in document.words


def test_an_unfinished_run_is_reported_as_far_as_it_got(small):
    small.write("plan")
    words = words_of(small.root, images)
    assert "0 / 42 tasks done: the run is not finished" in " ".join(
        reversed(re.findall(r"0 / 42|tasks done: .*? finished", words))
    )
