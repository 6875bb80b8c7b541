import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from intriguing.errors import InputError
from intriguing.report.figures import forest, histograms, strips
from intriguing.report.pictures import as_pictures, data_uri, on_grey
from intriguing.report.text import count, number, percent, plural, shorten, verdict

TEST = {"metric": "purity", "natural": 0.8, "null_mean": 0.7, "null_sd": 0.02, "rotations": 999, "p_two": 0.002}
TEST |= {"p_holm": 0.004, "detectable_effect": 2.8}


# Text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.06234, "0.0623"),
        (12.345, "12.3"),
        (0, "0"),
        (None, "–"),
        (float("nan"), "–"),
        (-0.5, "−0.500"),
        (150.2, "150"),
    ],
)
def test_numbers_have_three_significant_digits(value, shown):
    assert number(value) == shown


def test_tiny_and_huge_numbers_stay_short():
    assert len(number(1.23456e-9)) < 10
    assert len(number(1.23456e12)) < 10


def test_fractions_become_percentages():
    assert [percent(v) for v in (0.2345, 1.0, None, float("nan"))] == ["23.4", "100.0", "–", "–"]


def test_counts_and_nouns():
    assert count(1234567) == "1\u202f234\u202f567"
    assert [plural(n, "search") for n in (1, 2)] == ["1 search", "2 searches"]
    assert plural(0, "image") == "0 images"


def test_long_names_are_cut_in_the_middle_and_line_breaks_go():
    assert shorten("features.0\n.conv", 40) == "features.0 .conv"
    cut = shorten("a" * 30 + "b" * 30, 21)
    assert (len(cut), cut[0], cut[-1]) == (21, "a", "b")


def test_the_way_is_that_of_the_smaller_tail_where_a_skewed_null_has_its_mean_beyond():
    skewed = TEST | {"natural": 0.69, "p_high": 0.001, "p_low": 1.0}
    assert verdict(skewed)[0] == "higher"
    assert verdict(TEST | {"natural": 0.71, "p_high": 1.0, "p_low": 0.001})[0] == "lower"


def test_a_p_value_of_exactly_the_level_is_significant_as_it_is_for_the_runs_own_verdicts():
    assert verdict(TEST | {"p_holm": 0.05})[0] == "higher"


def test_a_significant_test_says_which_way():
    assert verdict(TEST) == (
        "higher",
        "Single units score higher than random directions: purity is 0.800 in the natural basis and 0.700 ± 0.020 over "
        "999 random rotations (p = 0.0040 after Holm's correction).",
    )
    assert verdict(TEST | {"natural": 0.6})[0] == "lower"


def test_the_corrected_p_value_decides():
    outcome, sentence = verdict(TEST | {"p_two": 0.03, "p_holm": 0.3})
    assert outcome == "none"
    assert "p = 0.30 after Holm" in sentence
    assert verdict(TEST | {"p_two": 0.03, "p_holm": None})[0] == "higher"


def test_no_difference_found_is_not_called_no_difference():
    sentence = verdict(TEST | {"p_holm": 0.4})[1]
    assert sentence.startswith("No difference between single units and random directions was found")
    assert "A difference of 2.8 null standard deviations would have been found with 80 % power before it." in sentence
    alone = verdict(TEST | {"p_two": 0.4, "p_holm": None})[1]
    assert "(p = 0.40). A difference of 2.8" in alone
    assert alone.endswith("would have been found with 80 % power.")


def test_a_test_without_a_p_value_decides_nothing():
    assert verdict(TEST | {"p_two": None, "p_holm": float("nan")})[0] == "unknown"


# Pictures


def decoded(uri):
    head, _, body = uri.partition(",")
    return head, np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def test_a_small_picture_is_kept_exactly():
    picture = np.arange(784, dtype=np.float32).reshape(1, 28, 28) % 256 / 255
    head, pixels = decoded(data_uri(picture))
    assert head == "data:image/png;base64"
    assert np.array_equal(pixels, np.arange(784).reshape(28, 28) % 256)


def test_channels_stay_in_order():
    picture = np.zeros((3, 4, 5), np.float32)
    picture[0] = 1
    assert decoded(data_uri(picture))[1].reshape(-1, 3).tolist() == [[255, 0, 0]] * 20


def test_a_large_picture_is_made_smaller():
    head, pixels = decoded(data_uri(np.zeros((3, 400, 200), np.float32)))
    assert head == "data:image/jpeg;base64"
    assert pixels.shape == (96, 48, 3)


def test_unsigned_bytes_and_floats_give_the_same_picture():
    bytes_ = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4)).astype(np.uint8)
    np.testing.assert_allclose(as_pictures(bytes_, 2), as_pictures(bytes_ / 255.0, 2), atol=1e-6)


def test_odd_numbers_of_channels_are_averaged():
    assert as_pictures(np.ones((2, 5, 4, 4)), 2).shape == (2, 1, 4, 4)


def test_images_must_be_as_many_as_asked_for():
    with pytest.raises(InputError, match=r"\(3, 1, 4, 4\) for 2 ids"):
        as_pictures(np.ones((3, 1, 4, 4)), 2)


def test_no_change_is_mid_grey_and_the_largest_change_reaches_the_end():
    grey, scale = on_grey(np.array([[[0.0, 0.2, -0.1]]], np.float32))
    np.testing.assert_allclose(grey.ravel(), [0.5, 1.0, 0.25])
    assert scale == pytest.approx(0.2)
    assert on_grey(np.zeros((1, 2, 2), np.float32))[0].tolist() == [[[0.5, 0.5], [0.5, 0.5]]]


# Figures

NAME = 'a<b>&"$x_1$ 手 ' + "y" * 80


def text_of(svg):
    return "".join(ElementTree.fromstring(str(svg)).itertext())


@pytest.mark.parametrize(
    "svg",
    [
        histograms([(NAME, np.array([0.1, 0.2])), ("one", np.array([0.3]))], "distortion", NAME),
        forest([(NAME, 1.0, 0.5, 1.5)], "effect", NAME),
        strips([(NAME, [("natural", np.array([0.1, 0.2])), ("gaussian", np.zeros(0))])], NAME),
    ],
    ids=["histograms", "forest", "strips"],
)
def test_a_figure_is_well_formed_escaped_and_in_the_colours_of_the_page(svg):
    assert 'a<b>&"$x_1$ 手' in text_of(svg)
    root = ElementTree.fromstring(str(svg))
    assert root.attrib["aria-label"] == NAME
    assert "var(--accent)" in svg
    assert not re.search(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]", svg)
    assert "DejaVu" not in svg


def test_a_histogram_marks_the_median():
    assert "median 0.200" in text_of(histograms([("a", np.array([0.1, 0.2, 0.9]))], "x", "alt"))


def test_distortions_that_are_all_zero_can_be_drawn():
    assert "median 0" in text_of(histograms([("a", np.zeros(3))], "x", "alt"))
