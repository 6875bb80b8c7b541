"""What `intriguing show RUN stability` prints: the layers of every model, and the brackets."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from intriguing.report.text import number, percent
from intriguing.results import Run

_MODEL = ["dataset", "model", "model_seed"]
_NAME, _FIGURE = 30, 11


def printed(run: Run) -> str:
    """The norms of every layer of every model, then the bracket of every model's searches."""
    norms = run.pandas("operator_norms").sort_values([*_MODEL, "position"], ignore_index=True)
    parts = [_layers(rows.to_dict("records")) for _, rows in norms.groupby(_MODEL, sort=False)]
    searches = run.pandas("certificates", status="found")
    if len(searches):
        parts.append(_brackets(searches))
    return "\n\n".join(parts)


def _layers(rows: list[dict[Any, Any]]) -> str:
    lines = [rows[0]["model"], _line("layer", ["norm", "bound", "share %", "product", "printed"])]
    for row in rows:
        name = f"{row['layer']} ({row['kind']})"
        figures = [_shown(row["norm"]), _shown(row["upper_bound"]), percent(_plain(row["share"]))]
        lines.append(_line(name, [*figures, _shown(row["product_bound"]), _shown(row["printed"])]))
    return "\n".join(lines)


def _brackets(searches: pd.DataFrame) -> str:
    lines = [_line("proven / found", ["found", "proven", "median", "5 %", "optimal %"])]
    for _, rows in searches.groupby([*_MODEL, "target_rule", "grade"], sort=False):
        share = rows["share"].dropna().to_numpy(float)
        ends = [np.median(share), np.quantile(share, 0.05)] if len(share) else [np.nan, np.nan]
        optimal = float(np.mean(rows["is_optimal"].to_numpy(float)))
        figures = [f"{len(rows)}", f"{len(share)}", *(number(float(e)) for e in ends), percent(optimal)]
        lines.append(_line(" ".join(str(rows[name].iloc[0]) for name in ("model", "target_rule", "grade")), figures))
    return "\n".join(lines)


def _line(name: str, figures: Iterable[str]) -> str:
    short = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
    return f"{short:<{_NAME}}" + "".join(f"{figure:>{_FIGURE}}" for figure in figures)


def _plain(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value


def _shown(value: float | None) -> str:
    return "∞" if value is not None and np.isposinf(value) else number(value, 4)
