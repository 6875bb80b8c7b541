"""Figures of transfer: the matrices of errors and of sizes, and the amplification curves."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from intriguing.report.drawing import curve_sheets, heat
from intriguing.report.named_figures import Choice, NamedFigure, distinct
from intriguing.report.text import number, percent
from intriguing.results import Run
from intriguing.results.matrices import WITHOUT_SOURCE
from intriguing.stages.transfer.page.rays import CURVE_AXES, rates, sheet_series

_KEY = ("dataset", "target_rule", "grade")


def transfer(run: Run, kind: str, dataset: str, target_rule: str, grade: str) -> Figure:
    """Errors in percent: images made for the model of a row, fed to the model of a column."""
    matrix = run.transfer_matrix(kind, grade, target_rule, dataset)
    return _matrix(matrix, lambda value: percent(value), f"errors, %, fed to ({kind})")


def half_rms(run: Run, dataset: str, target_rule: str, grade: str) -> Figure:
    """How large a change made for the model of a row must be to fool the model of a column half of the time."""
    matrix = run.half_rms(grade, target_rule, dataset)
    return _matrix(
        matrix, lambda value: "never" if np.isinf(value) else number(value, 2), "RMS that fools half, fed to"
    )


def amplification(run: Run, dataset: str, target_rule: str, grade: str) -> Figure:
    """Errors against the size of the change: a panel per model fed, a line per model made for, noise dashed."""
    rows = run.amplification(grade, target_rule, dataset).to_dict("records")
    sizes, sheets = sheet_series(rates([{str(key): value for key, value in row.items()} for row in rows]))
    return curve_sheets(sizes, sheets, *CURVE_AXES)


def _matrix(matrix: pd.DataFrame, written: Callable[[float], str], what: str) -> Figure:
    values = matrix.to_numpy(float)
    texts = np.array([["" if np.isnan(value) else written(value) for value in row] for row in values])
    return heat(list(matrix.index), list(matrix.columns), np.where(np.isinf(values), np.nan, values), texts, what)


def _kinds(run: Run) -> Sequence[Choice]:
    listed = ", ".join(f"'{kind}'" for kind in WITHOUT_SOURCE)
    return distinct(run, "transfer", "kind", *_KEY, where=f"kind not in ({listed})")


def _rays(run: Run) -> Sequence[Choice]:
    return distinct(run, "rays", *_KEY, where="kind = 'adversarial'")


def figures() -> tuple[NamedFigure, ...]:
    """The figures of this stage."""
    return (
        NamedFigure("transfer", "Errors of every model on the images made for every model.", transfer, _kinds),
        NamedFigure("half_rms", "How large a change must be to fool another model half of the time.", half_rms, _rays),
        NamedFigure("amplification", "Errors against the size of the change, noise beside.", amplification, _rays),
    )
