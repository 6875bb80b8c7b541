"""Figures as they are drawn: names that would lie on each other, values that would squeeze all others."""

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from intriguing.report.drawing import crosses, forest, strips
from intriguing.report.media import for_page


def test_names_of_points_that_lie_together_are_written_apart():
    rng = np.random.default_rng(0)
    names = ["none", "dropout", "weight decay", "input only", "each layer", "top layers", "noise", "pgd"]
    points = []
    for name in names:
        x, y = 0.037 + 0.002 * rng.random(), 6 + 0.3 * rng.random()
        points.append((name, (x, x - 0.01, x + 0.01), (y, y - 1, y + 1)))
    figure = crosses(points, "distortion", "error, %")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    [axis] = figure.axes
    # Of the text alone: an annotation's own extent takes its leader in.
    boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in axis.texts]
    assert sorted(text.get_text() for text in axis.texts) == sorted(names)
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]


def test_a_score_far_outside_stands_as_a_number_and_does_not_squeeze_the_others():
    scores = np.linspace(2.0, 4.0, 101)
    far, none = np.append(scores, [-500.0, 880.0, 400.0]), np.zeros(0)
    [axis] = strips([("kurtosis", [("natural", far), ("gaussian", scores), ("none", none)])]).axes
    assert sorted(text.get_text() for text in axis.texts) == ["2, to 880 ▶", "◀ 1, to −500"]
    low, high = axis.get_xlim()
    # The mean of the natural basis, 10.4, is within, and both ends have room for their number.
    assert 0 < low < 1 and far.mean() + 1 < high < 13


def test_the_number_of_scores_far_outside_leaves_the_mean_free():
    """Such scores draw the mean to the edge, where the number began over it."""
    scores = np.append(np.linspace(3.0, 4.0, 200), [880.0, 12_000.0])
    figure = strips([("kurtosis", [("natural", scores)])])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    [axis], [text] = figure.axes, figure.axes[0].texts
    mean, _ = axis.transData.transform((scores.mean(), 0))
    radius = 5.5 / 2 * figure.dpi / 72
    assert text.get_window_extent(canvas.get_renderer()).x0 > mean + radius


def test_the_farthest_score_is_told_on_either_side_of_zero():
    """Below the others it is the least, also where all are positive, and above them the largest where none is."""
    scores = np.linspace(10.0, 11.0, 101)
    for sign, told in ((1, "◀ 2, to 1"), (-1, "2, to −1 ▶")):
        [axis] = strips([("purity", [("natural", sign * np.append(scores, [1.0, 3.0]))])]).axes
        [text] = axis.texts
        assert text.get_text().replace(".00", "") == told


@pytest.mark.parametrize("values", [[1.0, 2.0, 5.0], [3.0, 3.0], [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 9.0]])
def test_scores_without_outliers_or_without_spread_are_all_drawn(values):
    [axis] = strips([("purity", [("natural", np.array(values))])]).axes
    low, high = axis.get_xlim()
    assert not axis.texts and low < min(values) and max(values) < high


def test_the_page_does_not_follow_settings_of_matplotlib_that_a_model_made():
    """A page was not written at all where a module had asked for LaTeX, and there was none."""
    rows = [("units", 1.0, 0.5, 1.5)]
    usual = for_page("effects", forest, rows, "effect")
    with mpl.rc_context({"text.usetex": True, "font.size": 40, "axes.grid": True, "svg.image_inline": False}):
        assert for_page("effects", forest, rows, "effect") == usual
        assert mpl.rcParams["text.usetex"]
