"""The unit question in text: the verdict of every test, the effects, model or data, and the top inputs."""

import math
from typing import Any

import pandas as pd

from intriguing.report.parts import LAYER, Context
from intriguing.report.text import grid, number, score_label, shorten
from intriguing.results import Run
from intriguing.stages.units.controls import shared
from intriguing.stages.units.names import FIGURES, RANDOM
from intriguing.stats.findings import FAR
from intriguing.stats.signs import signed

_NAME = 30
_MOST = 100
"""Layers that are printed, of all data sets and models together."""
_CHOSEN = """
    (dataset, model, layer) in (select unnest($datasets), unnest($models), unnest($layers))"""
_PURITY = """
with listed as (select dataset, model, model_seed, layer, condition, basis, rotation_seed, direction,
                       list(label) as labels
                from topk where sign = 1 and label is not null and {chosen} group by all)
select * exclude (direction, rotation_seed, labels), count(*) as directions,
       avg(list_max(map_values(list_histogram(labels))) / len(labels)) as share
from listed group by all"""


_READ = [*LAYER, "metric", "judge", "verdict"]
Layer = tuple[str, str, str]
"""The data set, model and name of a layer; its seeds are printed together."""


def printed(run: Run) -> str:
    """The sentence of each test of a trained network, effects by layer and control, "model or data?", top inputs.

    Of a run with more than 100 layers the first of these, and a sentence that says so.
    """
    context = Context(run)
    layers = _layers(context)
    chosen = None if len(layers) <= _MOST else layers[:_MOST]
    parts = (
        _tests(context, chosen),
        _effects(run, chosen),
        _controls(context, chosen),
        _answers(run),
        _top(context, chosen),
    )
    return "\n\n".join(filter(None, (*parts, "" if chosen is None else _cut(len(layers)))))


def _layers(context: Context) -> list[Layer]:
    """The layers that were tested, or else those that have top inputs, as the spec lists them."""
    listed = "select distinct dataset, model, layer from {} where {}"
    rows = context.query(listed.format("rotation_tests", "alpha = 0 and control = 'trained'"))
    rows = rows or context.query(listed.format("topk", "sign = 1"))
    return [tuple(key.values()) for key, _ in context.grouped(rows, "dataset", "model", "layer")]  # type: ignore[misc]


def _cut(layers: int) -> str:
    return (
        f"The first {_MOST} of {layers:,} layers are shown. `intriguing show RUN verdicts` is of all, `intriguing show "
        "RUN rotation_tests --csv` gives their rows, and `intriguing report RUN --site FOLDER` their page."
    )


def _among(chosen: list[Layer] | None) -> tuple[str, dict[str, list[str]]]:
    """The condition, in SQL, that a row is of a chosen layer, and its values; None: all are."""
    if chosen is None:
        return "true", {}
    return _CHOSEN, dict(zip(("datasets", "models", "layers"), map(list, zip(*chosen, strict=True)), strict=True))


def _tests(context: Context, chosen: list[Layer] | None) -> str:
    rows = _rows_of(context, _READ, "trained", chosen)
    lines = []
    for key, tests in context.grouped(rows, *LAYER):
        condition = "" if key["condition"] == "raw" else f" · {key['condition']}"
        lines.append(f"{shorten(context.label(key), _NAME)} · {shorten(key['layer'], _NAME)}{condition}")
        lines += [f"  {score_label(test)}: {test['verdict']}" for test in tests]
    unit = "Effects, and the smallest that a test could detect, are in standard deviations of the rotations."
    return "\n".join([*lines, *([unit] if lines else [])])


def _controls(context: Context, chosen: list[Layer] | None) -> str:
    """That models share an untrained control, where they do."""
    columns = [*FIGURES, "model", "model_seed", "control"]
    return shared(context, _rows_of(context, columns, RANDOM, chosen))


def _rows_of(context: Context, columns: list[str], control: str, chosen: list[Layer] | None) -> list[dict[str, Any]]:
    """The tests of the natural basis of one control, of the chosen layers."""
    rows = context.run.table("rotation_tests", columns=columns, control=control, alpha=0.0).to_pylist()
    if chosen is None:
        return rows
    among = set(chosen)
    return [row for row in rows if (row["dataset"], row["model"], row["layer"]) in among]


def _top(context: Context, chosen: list[Layer] | None) -> str:
    condition, values = _among(chosen)
    rows = context.query(_PURITY.format(chosen=condition), **values)
    if not rows:
        return ""
    lines = [
        [
            shorten(context.label(key), _NAME),
            shorten(key["layer"], _NAME),
            key["basis"],
            f"{row['directions']:,}",
            number(row["share"]),
        ]
        for key, (row, *_) in context.grouped(rows, *LAYER, "basis")
    ]
    header = ("model", "layer", "basis", "directions", "mean share")
    return f"Top inputs of each direction: the share of their commonest class\n{grid(header, lines, texts=3)}"


def _effects(run: Run, chosen: list[Layer] | None) -> str:
    """Natural minus rotated, in null standard deviations: a row per layer and score, a column per control.

    Layers with dead or saturated units have a row without these, too (condition `live`).
    """
    condition, values = _among(chosen)
    table = run.own_query(
        "select metric, judge, dataset, model, layer, condition, control, avg(effect) as mean, min(effect) as low, "
        "max(effect) as high from rotation_tests where alpha = 0 and condition in ('raw', 'live') "
        f"and effect is not null and {condition} group by all order by all",
        values or None,
    )
    if table.empty:
        return ""
    table["effect"] = [_effect(*row) for row in table[["mean", "low", "high"]].to_numpy()]
    table["score"] = [score_label(row) for row in _rows(table)]
    rows = ["score", "dataset", "model", "layer", "condition"]
    shown = table.pivot_table("effect", rows, "control", aggfunc="first", fill_value="")
    return f"Mean effects over the seeds, in null standard deviations (smallest to largest):\n{_table(shown)}"


def _table(frame: pd.DataFrame) -> str:
    """A frame as a table for a terminal: the names of its rows to the left, its values to the right."""
    rows = [
        [*(shorten(str(part), _NAME) for part in (name if isinstance(name, tuple) else (name,))), *cells]
        for name, *cells in frame.itertuples()
    ]
    return grid([*map(str, frame.index.names), *map(str, frame.columns)], rows, texts=frame.index.nlevels)


def _effect(mean: float, low: float, high: float) -> str:
    """A mean, with the smallest and the largest where seeds differ. Beyond `FAR` deviations a figure says no more."""

    def told(value: float) -> str:
        return signed(value, ".1f") if abs(value) <= FAR else f"beyond {signed(math.copysign(FAR, value), '.0f')}"

    return told(mean) if low == high else f"{told(mean)} ({told(low)} to {told(high)})"


def _answers(run: Run) -> str:
    """Model or data? A table of the shares of the spread, and a sentence per score."""
    found = run.pandas("model_or_data")
    if found.empty:
        return ""
    shares = found.query("figure == 'share' and value == value")
    figures = zip(shares["value"], shares["low"], shares["high"], shares["p"], strict=True)
    told = [
        f"{value:.0%} ({low:.0%} to {high:.0%})" + (f" p = {p:.2g}" if p == p else "")
        for value, low, high, p in figures
    ]
    shares = shares.assign(share=told, score=[score_label(row) for row in _rows(shares)])
    table = shares.pivot_table("share", ["score", "condition"], "name", aggfunc="first", fill_value="")
    table = table.reindex(columns=[name for name in ("model", "data", "both", "seed") if name in table])
    sentences = "\n".join(dict.fromkeys(found["sentence"]))
    return f"Where the spread of the effects comes from:\n{_table(table)}\n\n{sentences}"


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, with None for what is missing."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")
