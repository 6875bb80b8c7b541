"""Searches on the page: strips of images, rates of success, and images that were wrong from the start."""

import shutil

import pytest

from tests.pages import change_rows, rewrite, words_of
from tests.synthetic_run import images


def test_strips_show_image_change_and_result(document):
    alts = [attributes["alt"] for attributes in document.all("img")]
    assert sum(alt.startswith("adversarial image, taken for class") for alt in alts) == 2 * 3 * 6
    assert sum(alt.startswith("the change, at most 0.") for alt in alts) == 2 * 3 * 6


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
    assert "before:" not in words_of(small.root, images)
    change_rows(small.root, {"007": range(24)})
    words = words_of(small.root, images)
    assert words.count("before: ") == 6
    assert "Where the model was wrong on the image before the change" in words


def test_searches_that_found_nothing_are_no_error(small):
    small.write("plan", "model_rows", "searched")
    rewrite(small.root, "distortions", "status", lambda row: "not_found")
    shutil.rmtree(small.root / "tables" / "transfer")
    words = words_of(small.root, images)
    assert "No search found an adversarial image." in words
