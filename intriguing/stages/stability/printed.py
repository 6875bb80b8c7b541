"""What `intriguing show RUN stability` prints: the layers of every model, and the brackets."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from intriguing.basics.text.printable import filled
from intriguing.report.text import number, percent, shorten
from intriguing.results import Run
from intriguing.results.matrices import labels_of

_MODEL = ["dataset", "model", "model_seed"]
_NAME, _FIGURE = 30, 11


def printed(run: Run) -> str:
    """The norms of every layer of every model, then the bracket of every model's searches."""
    norms = run.pandas("operator_norms").sort_values("position", ignore_index=True)
    columns = [*_MODEL, "target_rule", "grade", "share", "is_optimal"]
    searches = run.pandas("certificates", columns=columns, status="found")
    names = _names(run, norms, searches)
    layers = dict(list(norms.groupby(_MODEL)))
    parts = [_layers(name, layers[key].to_dict("records")) for key, name in names.items() if key in layers]
    for _, rows in searches.groupby(["target_rule", "grade"], sort=False):
        title = ", ".join(str(rows[name].iloc[0]) for name in ("target_rule", "grade"))
        parts.append(_brackets(title, rows, names))
    return "\n\n".join(parts)


def _names(run: Run, *frames: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    """What each data set's models are called, as the spec lists them; seed and data set where there are several."""
    keys = {key for frame in frames for key in frame[_MODEL].itertuples(index=False, name=None)}
    labels, datasets = labels_of({key[1:] for key in keys}), sorted({key[0] for key in keys})
    ordered = [(dataset, *model) for model in run.in_order(labels) for dataset in datasets]
    return {
        key: f"{key[0]}, {labels[key[1:]]}" if len(datasets) > 1 else labels[key[1:]] for key in ordered if key in keys
    }


def _layers(name: str, rows: list[dict[Any, Any]]) -> str:
    lines = [shorten(name, 2 * _NAME), _line("layer", ["norm", "bound", "share %", "product", "printed"])]
    for row in rows:
        name = f"{row['layer']} ({row['kind']})"
        figures = [_shown(row["norm"]), _shown(row["upper_bound"]), percent(_plain(row["share"]))]
        lines.append(_line(name, [*figures, _shown(row["product_bound"]), _shown(row["printed"])]))
    return "\n".join(lines)


def _brackets(title: str, searches: pd.DataFrame, names: dict[tuple[Any, ...], str]) -> str:
    lines = [f"proven / found: {title}", _line("model", ["found", "proven", "median", "5 %", "optimal %"])]
    of_models = dict(list(searches.groupby(_MODEL)))
    for key, name in names.items():
        if key not in of_models:
            continue
        rows = of_models[key]
        share = rows["share"].dropna().to_numpy(float)
        ends = [np.median(share), np.quantile(share, 0.05)] if len(share) else [np.nan, np.nan]
        optimal = float(np.mean(rows["is_optimal"].to_numpy(float)))
        figures = [f"{len(rows)}", f"{len(share)}", *(number(float(e)) for e in ends), percent(optimal)]
        lines.append(_line(name, figures))
    return "\n".join(lines)


def _line(name: str, figures: Iterable[str]) -> str:
    return filled(shorten(name, _NAME), _NAME) + "".join(f"{figure:>{_FIGURE}}" for figure in figures)


def _plain(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value


def _shown(value: float | None) -> str:
    return "∞" if value is not None and np.isposinf(value) else number(value, 4)
