"""Searches on the page: strips of images, rates of success, and images that were wrong from the start."""

import shutil

import numpy as np
import pandas as pd
import pytest

from intriguing import open_run
from intriguing.report import Context
from intriguing.report.text import number
from intriguing.stages.blind_spots.page import explorer, headline
from intriguing.stages.blind_spots.robustness import curves
from intriguing.stages.blind_spots.verdicts import verdicts
from intriguing.sweep.reporting.page import write_report
from tests.pages import Document, about, change_rows, numbers, rewrite, sheet, words_of
from tests.synthetic_run import images


def test_every_search_is_there_and_those_that_found_something_have_pictures(invented_run, html):
    known, arrays = about(html, "searches"), numbers(html, "searches")
    rows = open_run(invented_run).pandas("distortions")
    assert known["rows"] == len(rows) == 2 * 3 * 24
    assert len(known["groups"]) == 6
    low, high = known["ends"]["distortion"]
    found = arrays["distortion"] < 65_535
    values = np.exp(low + arrays["distortion"][found] / 65_534 * (high - low))
    np.testing.assert_allclose(np.sort(values), np.sort(rows.distortion.dropna()), rtol=1e-3)
    assert len(arrays["picture"]) == len(known["names"].split("\n")) == (rows.status == "found").sum()


def test_the_change_stands_there_as_it_is_and_stretched(small):
    root = small.write("plan", "model_rows", "searched")
    html = write_report(root, images=images).read_text()
    known, arrays = about(html, "searches"), numbers(html, "searches")
    row = int(arrays["picture"][0])
    group, name = known["groups"][arrays["group"][row]], known["names"].split("\n")[0]
    [stored] = open_run(root).table("adversarial", model=group["model"], search_id=name).to_pylist()
    before = images("", [int(arrays["example"][row])])[0] / 255
    change = np.array(stored["image"]).reshape(1, 28, 28) - before
    shown = np.asarray(sheet(html, "strips-0").convert("L"), float)[:28] / 255
    for at, expected in enumerate((before, 0.5 + change, 0.5 + change / (2 * np.abs(change).max()), before + change)):
        np.testing.assert_allclose(shown[:, 28 * at : 28 * at + 28], np.clip(expected[0], 0, 1), atol=1 / 255)
    assert known["scales"][0] == pytest.approx(np.abs(change).max(), rel=1e-5)


def test_what_is_proven_stands_beside_what_was_found(small):
    small.write("plan", "model_rows", "searched")
    rewrite(small.root, "distortions", "lower_bound", lambda row: row["l2"] and row["l2"] / 2)
    html = write_report(small.root, images=images).read_text()
    known, arrays = about(html, "searches"), numbers(html, "searches")
    values = {}
    for name in ("bound", "distortion"):
        low, high = known["ends"][name]
        values[name] = np.where(arrays[name] == 65_535, np.nan, np.exp(low + arrays[name] / 65_534 * (high - low)))
    assert np.nanmax(np.abs(values["bound"] / values["distortion"] - 0.5)) < 1e-3
    assert "Dashed: the share of which this is proven" in Document(html).words


def test_a_large_run_shows_an_even_part_of_its_searches_and_says_so(small, monkeypatch):
    small.write("plan", "model_rows", "searched")
    monkeypatch.setattr(explorer, "_NUMBERS", 9 * 20)
    monkeypatch.setattr(explorer, "_PICTURES", 8_000)
    html = write_report(small.root, images=images).read_text()
    assert about(html, "searches")["rows"] == 20
    assert len(numbers(html, "searches")["picture"]) < 15
    assert "20 searches of 48 are here" in Document(html).words
    assert "have pictures, at even steps of distortion in each group" in Document(html).words


def test_robust_accuracy_counts_images_that_withstand_every_change_found():
    columns = ["model", "model_seed", "example_id", "label", "clean_prediction", "status", "distortion"]
    rows = pd.DataFrame(
        [
            ("a", 0, 1, 3, 3, "found", 0.1),
            ("a", 0, 2, 3, 3, "found", 0.3),
            ("a", 0, 3, 3, 4, "misclassified", np.nan),
            ("a", 0, 4, 3, 3, "not_found", np.nan),
            ("a", 0, 5, 3, 3, "bad_input", np.nan),
            ("a", 0, 2, 3, 3, "found", 0.2),
        ],
        columns=columns,
    )
    rows["l2"] = rows.distortion * 10
    rows["lower_bound"] = [0.5, 1.0, np.nan, 4.0, np.nan, 1.5]
    frame = curves(rows)
    assert set(frame.n) == {4}
    assert set(frame.left_out) == {1}
    at = {size: frame[frame["size"] <= size].iloc[-1] for size in (0.0, 0.05, 0.15)}
    assert [row.rate for row in at.values()] == [0.75, 0.75, 0.5]
    assert at[0.0].proven == 0.75
    assert frame[frame["size"] > 0.11].proven.iloc[0] == 0.25


def test_an_image_is_proven_only_where_every_search_of_it_has_a_bound():
    columns = ["model", "model_seed", "example_id", "label", "clean_prediction", "status", "distortion", "lower_bound"]
    rows = pd.DataFrame(
        [
            ("a", 0, 1, 3, 3, "found", 0.3, 2.0),
            ("a", 0, 1, 3, 3, "no_gradient", np.nan, np.nan),
            ("a", 0, 2, 3, 3, "found", 0.3, 2.0),
            ("a", 0, 2, 3, 3, "unstable", np.nan, 1.5),
        ],
        columns=columns,
    )
    rows["l2"] = rows.distortion * 10
    assert curves(rows).proven.iloc[0] == 0.5


def test_the_rate_of_success_says_what_it_leaves_out(small):
    small.write("plan", "model_rows", "searched")
    # Of 24 searches of each of two models one needed no change, one could not be made, and 21 found one.
    assert "of searches succeeded, 2 left out whose image needed no change 95.5 %" in words_of(small.root)
    assert "rightly classified" not in words_of(small.root).split("Do the same images")[0]
    ended = {"misclassified": "not_found"}
    rewrite(small.root, "distortions", "status", lambda row: ended.get(row["status"], row["status"]))
    assert "of searches succeeded 91.3 %" in words_of(small.root)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (["untargeted"], "the model gives a wrong class on the unchanged image, so"),
        (["random"], "the model gives the target on the unchanged image, so"),
        (
            ["every", "random"],
            "a wrong class on the unchanged image, or the model gives the target on the unchanged image (random), so",
        ),
    ],
)
def test_what_needs_no_change_is_told_for_the_rules_of_the_run(small, rules, told):
    small.rules = tuple((rule, "best") for rule in rules)
    small.write("plan", "model_rows", "searched")
    assert told in words_of(small.root)


def test_an_image_that_its_model_got_wrong_before_the_change_shows_what_it_gave_then(small):
    small.rules = (("random", "best"),)
    small.write("plan", "model_rows", "searched")
    change_rows(small.root, {"007": range(24)})
    html = write_report(small.root, images=images).read_text()
    known, arrays = about(html, "searches"), numbers(html, "searches")
    models = np.array([group["model"] for group in known["groups"]])[arrays["group"]]
    assert ((arrays["before"] != arrays["label"]) == (models == "007")).all()


def test_searches_that_found_nothing_are_no_error(small):
    small.write("plan", "model_rows", "searched")
    rewrite(small.root, "distortions", "status", lambda row: "not_found")
    for column in ("l2", "linf", "distortion"):
        rewrite(small.root, "distortions", column, lambda row: None)
    shutil.rmtree(small.root / "tables" / "transfer")
    words = words_of(small.root, images)
    assert "No search found an adversarial image." in words
    rewrite(small.root, "distortions", "status", lambda row: "misclassified")
    words = words_of(small.root, images)
    assert "No search was needed: in all of them the model gives a wrong class on the unchanged image." in words
    assert "No search found an adversarial image." not in words


@pytest.mark.parametrize(
    ("ends", "sentence", "counts"),
    [
        (["not_found", "misclassified"], "No change was found by which any of the 2 networks gives", "24 images had"),
        (["misclassified"], "No change was needed: every network gives", "24 images needed no change"),
        (
            ["no_gradient"],
            "No image could be searched for a change by which any of the 2 networks gives",
            "24 images could not be searched",
        ),
    ],
)
def test_a_rule_under_which_nothing_was_found_is_answered(small, ends, sentence, counts):
    small.rules = (("untargeted", "best"), ("random", "best"))
    small.write("plan", "model_rows", "searched")
    how = {"007": ends[0], "FC10": ends[-1]}
    for column, value in (("distortion", lambda row: None), ("status", lambda row: how[row["model"]])):
        untargeted = lambda row, of=value, at=column: row[at] if row["target_rule"] == "random" else of(row)  # noqa: E731
        rewrite(small.root, "distortions", column, untargeted)
    said, other = verdicts(Context(open_run(small.root)))
    assert said.sentence == f"{sentence} a wrong answer{' already' if ends == ['misclassified'] else ''}."
    assert said.value == "0 of 24" and said.interval.startswith(counts)
    assert "A small change makes" in other.sentence


def test_the_figure_at_the_top_is_the_one_of_the_answer_and_says_what_it_is_a_median_of(small):
    """The top pooled all searches, and the answer took images: two medians that nothing told apart."""
    small.rules = (("untargeted", "best"),)
    small.write("plan", "model_rows", "searched")
    rows = open_run(small.root).pandas("distortions", status="found")
    images = rows.groupby(["dataset", "example_id"])["distortion"].median()
    [(figure, what)] = [one for one in headline(Context(open_run(small.root))) if "median" in one[1]]
    [verdict] = verdicts(Context(open_run(small.root)))
    assert figure == verdict.value == number(images.astype(float).median())
    assert what == "median distortion of an image, untargeted, pixels in [0, 1]"
    assert "the median over images of the median over networks (search of grade best)" in verdict.measure
    ends = open_run(small.root).pandas("distortions").groupby("example_id")["status"].agg(set)
    assert [{"misclassified"}, {"not_found"}, {"bad_output"}] == [s for s in ends if "found" not in s]
    assert verdict.interval.endswith(
        f"; {len(images)} images with a change for at least one network; 1 other image needed no change for any "
        "network; 1 other image had none that was found for any network; 1 other image could not be searched; "
        "2 searches without an answer"
    )
