import io
import json
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from intriguing.errors import InputError
from intriguing.report.attachments import Scaled, as_json, packed, unpacked
from intriguing.report.drawing import Robustness, forest, histograms, robustness, strips
from intriguing.report.media import Hover, for_page, with_hover
from intriguing.report.pictures import as_pictures, on_grey
from intriguing.report.sheets import sheets

# Pictures


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
        for_page(NAME, histograms, [(NAME, np.array([0.1, 0.2])), ("one", np.array([0.3]))], "distortion"),
        for_page(NAME, forest, [(NAME, 1.0, 0.5, 1.5)], "effect"),
        for_page(NAME, strips, [(NAME, [("natural", np.array([0.1, 0.2])), ("gaussian", np.zeros(0))])]),
        for_page(NAME, robustness, [Robustness(NAME[:18], *np.linspace(0, 1, 8).reshape(4, 2))], "distortion"),
    ],
    ids=["histograms", "forest", "strips", "robustness"],
)
def test_a_figure_is_well_formed_escaped_and_in_the_colours_of_the_page(svg):
    assert 'a<b>&"$x_1$ 手' in text_of(svg)
    root = ElementTree.fromstring(str(svg))
    assert root.attrib["aria-label"] == NAME
    assert "var(--accent)" in svg
    assert not re.search(r"#0[0-9a-f]0[0-9a-f]0[0-9a-f]", svg)
    assert "DejaVu" not in svg


def test_a_histogram_marks_the_median():
    assert "median 0.200" in text_of(for_page("alt", histograms, [("a", np.array([0.1, 0.2, 0.9]))], "x"))


def test_distortions_that_are_all_zero_can_be_drawn():
    assert "median 0" in text_of(for_page("alt", histograms, [("a", np.zeros(3))], "x"))


def test_an_effect_beyond_twenty_is_told_in_words():
    rows = [("near", 16.0, 15.0, 17.0), ("far", 2339.0, 2000.0, 2500.0)]
    text = text_of(for_page("alt", forest, rows, "x"))
    assert "+16" in text
    assert "far beyond every rotation" in text
    assert "2339" not in text


def test_dots_of_effects_have_the_colours_of_the_legend_and_figures_below_each_other_one_axis():
    rows = [("up", 3.0, 2.0, 4.0), ("down", -3.0, -4.0, -2.0), ("none", 0.5, -1.0, 2.0)]
    figure = forest(rows, "x", ["higher", "lower", "none"], reach=9.0)
    colours = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_color() for dot in dots] == [colours[0], colours[1], colours[0]]
    assert [dot.get_markerfacecolor() for dot in dots] == [colours[0], colours[1], colours[4]]
    low, high = figure.axes[0].get_xlim()
    assert low <= -9 and high >= 9


def test_a_figure_tells_its_values_under_the_pointer():
    hovers = []

    def draw():
        figure = forest([("a", 0.0, -1.0, 1.0)], "x")
        figure.axes[0].set_xlim(-2, 2)
        hovers.append(Hover(figure.axes[0], [-2.0, 0.0], ["<low>", "middle"]))
        return figure

    html = with_hover(for_page("alt", draw), hovers)
    told = json.loads(re.search(r"data-hover>(.*?)</script>", html)[1])
    assert told[0]["places"] == [0, 0.5]
    assert told[0]["texts"] == ["<low>", "middle"]
    assert 0 < told[0]["left"] < told[0]["right"] < 1
    assert "<low>" not in html


# Attachments


def test_arrays_are_read_as_they_were_packed():
    arrays = {
        "a": np.arange(7, dtype=np.uint8),
        "b": np.array([[1.5, -2]], np.float32),
        "c": np.zeros((0, 3), np.int32),
    }
    found = unpacked(packed(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_numbers_are_scaled_to_codes_and_none_has_its_own():
    scaled = Scaled.of(np.array([1.0, 100.0, np.nan, 10.0]), logarithmic=True)
    assert scaled.codes.tolist() == [0, 65_534, 65_535, 32_767]
    assert np.exp(scaled.ends).tolist() == pytest.approx([1, 100])
    assert Scaled.of(np.array([np.inf])).codes.tolist() == [65_535]


def test_json_in_a_page_cannot_end_its_element():
    assert "<" not in as_json({"name": "</script><b>&"})
    assert json.loads(as_json({"name": "</script><b>&"})) == {"name": "</script><b>&"}


# Sheets


def test_small_pictures_are_kept_exactly_side_by_side():
    pictures = [np.full((1, 4, 6), i / 255, np.float32) for i in range(20)]
    made = sheets("x", pictures, 20, 1e6)
    assert made.about == {"names": ["x-0"], "width": 6, "height": 4, "count": 20, "columns": 16, "per": 256}
    pixels = np.asarray(Image.open(io.BytesIO(made.attachments[0].content)).convert("L"))
    assert pixels.shape == (8, 96)
    assert [int(pixels[i // 16 * 4, i % 16 * 6]) for i in range(20)] == list(range(20))


def test_pictures_become_smaller_then_fewer_where_there_is_no_room():
    rng = np.random.default_rng(0)
    pictures = [rng.random((3, 80, 40)).astype(np.float32) for _ in range(40)]
    small = sheets("x", pictures, 40, 30_000)
    assert sum(len(a.content) for a in small.attachments) <= 30_000
    assert small.about["height"] < 80
    least = sheets("x", pictures, 40, 2_500)
    assert least.about["height"] == 24
    assert 0 < least.count < 40
