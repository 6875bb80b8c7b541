"""Figures of hardening: error against distortion, and errors by epoch."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure

from intriguing.report.drawing import crosses, panels
from intriguing.report.named_figures import Choice, NamedFigure
from intriguing.results import Run
from intriguing.stages.hardening.outcome.summary import ModelSummary, summaries
from intriguing.stages.hardening.page import CROSS_AXES, cross_points, epoch_curves


def hardening(run: Run, dataset: str, model: str) -> Figure:
    """Error against mean minimal distortion, a point per way of training with its intervals over seeds."""
    return crosses(cross_points(_of(run, dataset, model)), *CROSS_AXES)


def epochs(run: Run, dataset: str, model: str) -> Figure:
    """Error by epoch, a panel per way of training."""
    found = epoch_curves(_of(run, dataset, model))
    assert found is not None
    return panels(*found, "epoch", "error, %")


def _of(run: Run, dataset: str, model: str) -> ModelSummary:
    return next(m for m in summaries(run) if (m.dataset, m.model) == (dataset, model))


def _choices(is_there: Callable[[ModelSummary], Any]) -> Callable[[Run], Sequence[Choice]]:
    return lambda run: [{"dataset": m.dataset, "model": m.model} for m in summaries(run) if is_there(m)]


def figures() -> tuple[NamedFigure, ...]:
    """The figures of this stage."""
    return (
        NamedFigure(
            "hardening",
            "Error against minimal distortion, a point per way of training.",
            hardening,
            _choices(cross_points),
        ),
        NamedFigure("epochs", "Error by epoch, a panel per way of training.", epochs, _choices(epoch_curves)),
    )
