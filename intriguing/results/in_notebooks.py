"""What a notebook shows of a run and of a transfer matrix."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from intriguing import tables
from intriguing.basics.text.markup import Cell, table

if TYPE_CHECKING:
    from intriguing.results.run import Run

_MOST = 50


class Matrix(pd.DataFrame):
    """A transfer matrix: a frame whose cells a notebook shades, in percent, with interval and count.

    What is computed from it (a slice, a sum, a copy) is a plain frame.
    """

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        low, high, n = (self.attrs.get(name) for name in ("low", "high", "n"))
        whole = all(isinstance(frame, pd.DataFrame) and frame.shape == self.shape for frame in (low, high, n))
        values = self.to_numpy(float)

        def cell(i: int, j: int) -> Cell:
            value = float(values[i, j])
            if np.isnan(value):
                return Cell("–", "no image")
            if not whole:
                return Cell(f"{100 * value:.1f}", shade=value)
            ends = f"{100 * low.iat[i, j]:.1f} to {100 * high.iat[i, j]:.1f}"  # pyright: ignore[reportOptionalMemberAccess]
            return Cell(f"{100 * value:.1f}", f"{ends} of {n.iat[i, j]:,}", value)  # pyright: ignore[reportOptionalMemberAccess]

        names, columns = [str(name) for name in self.index[:_MOST]], [str(name) for name in self.columns[:_MOST]]
        rows = [[name, *(cell(i, j) for j in range(len(columns)))] for i, name in enumerate(names)]
        cut = [f"{len(self)} x {len(self.columns)}: the first {_MOST} are shown."] if max(self.shape) > _MOST else []
        below = ["Below an error its 95 % interval, and of how many images."] if whole else []
        notes = ["Rows: made for. Columns: fed to.", *below, *cut]
        return table(self._caption(), ["", *columns], rows, notes)

    def _caption(self) -> str:
        chosen = self.attrs.get("selection")
        if chosen is None:
            return "Errors, %"
        parts = (chosen.kind, chosen.dataset, chosen.target_rule, chosen.grade and f"grade {chosen.grade}")
        return f"Errors, %: {', '.join(filter(None, parts))}, among {chosen.among}"


def run_as_html(run: "Run") -> str:
    """A run's name and folder, its data sets and models, and the tables that it has."""
    models = ", ".join(map(str, run.section("models"))) or "none"
    notes = [f"folder: {run.path}", f"data sets: {', '.join(run.datasets) or 'none'}", f"models: {models}"]
    rows = [[name, Cell(f"a row is {tables.TABLES[name].row}")] for name in run.tables()]
    return table(f"Run {run.name}: {run.tasks:,} tasks", ["table", "what"], rows, notes)
