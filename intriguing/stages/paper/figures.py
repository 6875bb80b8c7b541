"""Figures of the comparison with the paper: errors by the size of the change."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from intriguing.report.drawing import curves
from intriguing.report.named_figures import Choice, NamedFigure
from intriguing.report.parts import Context
from intriguing.results import Run
from intriguing.stages.paper.page import CURVE_AXES, curve_series
from intriguing.stages.paper.reading import readings


def errors_by_size(run: Run, dataset: str) -> Figure:
    """Errors by the size of the change, over all pairs of networks, and on noise of that size."""
    reading = next(reading for reading in readings(run) if reading.dataset == dataset)
    return curves(curve_series(Context(run), reading), *CURVE_AXES)


def _choices(run: Run) -> Sequence[Choice]:
    context = Context(run)
    return [{"dataset": reading.dataset} for reading in readings(run) if curve_series(context, reading)]


def figures() -> tuple[NamedFigure, ...]:
    """The figures of this stage."""
    return (NamedFigure("errors_by_size", "Errors by the size of the change, noise beside.", errors_by_size, _choices),)
