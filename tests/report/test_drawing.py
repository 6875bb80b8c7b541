"""Figures as they are drawn: names that would lie on each other."""

from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from intriguing.report.drawing import crosses


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
