"""Numbers and names in words."""

import math

import pytest

from intriguing.report.text import NONE, count, grid, number, percent, plural, score_label, shorten


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (None, 3, NONE),
        (math.nan, 3, NONE),
        (0, 3, "0"),
        (0.06234, 3, "0.0623"),
        (12.345, 3, "12.3"),
        (150.2, 3, "150"),
        (-0.5, 3, "\u22120.500"),
        (-math.inf, 3, "\u2212inf"),
        (12345.0, 3, "1.23e+04"),
        (0.0000123, 2, "0.000012"),
        (0.00000123, 3, "1.23e\u221206"),
    ],
)
def test_a_number_has_so_many_digits_and_a_power_of_ten_beyond_six_places(value, digits, shown):
    assert number(value, digits) == shown


def test_what_rounds_up_to_the_next_power_of_ten_has_no_digit_more():
    assert [number(0.09996), number(0.0999, 2), number(9.996), number(0.99949)] == ["0.100", "0.10", "10.0", "0.999"]


def test_a_share_is_a_percentage_without_its_sign():
    shown = [percent(value) for value in (0.2345, 1.0, -0.029, None, math.nan)]
    assert shown == ["23.4", "100.0", "\u22122.9", NONE, NONE]
    assert percent(0.5, 0) == "50"
    assert percent(-0.0) == percent(-0.0004) == "0.0"  # it was "−0.0"


def test_counts_have_thin_spaces_and_nouns_their_plural():
    assert count(1234567) == "1\u202f234\u202f567"
    assert [plural(n, "search") for n in (1, 2)] == ["1 search", "2 searches"]
    assert plural(0, "image") == "0 images"


@pytest.mark.parametrize("most", [5, 6, 9, 10])
def test_a_long_name_is_cut_in_the_middle_to_the_length_that_there_is(most):
    short = shorten("abcdefghijkl", most)
    assert most - 1 <= len(short) <= most
    assert short.startswith("ab") and short.endswith("kl") and "…" in short
    assert shorten("features.0\n.conv", 40) == "features.0 .conv" and shorten("abcde", 5) == "abcde"


def test_a_score_is_called_by_its_judge_where_that_is_not_the_first():
    labels = [score_label({"metric": "intruder", "judge": judge}) for judge in (None, "encoder", "pixels")]
    assert labels == ["intruder", "intruder", "intruder (judged by pixels)"]


def test_a_grid_has_its_figures_to_the_right_and_no_empty_column():
    shown = grid(["model", "note", "error"], [["mlp", "", "4.2"], ["softmax", NONE, "12.5"]])
    assert shown == "model    error\nmlp        4.2\nsoftmax   12.5"
