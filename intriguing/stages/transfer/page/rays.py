"""How large a change made for one network must be to fool another: the curve at every size, and its middle."""

from itertools import chain

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from intriguing.report.drawing import curve_sheets
from intriguing.report.media import Hover, for_page, with_hover
from intriguing.report.parts import Context, PagePart, Row
from intriguing.report.room import fewer_of, rendered
from intriguing.report.text import number, percent, plural
from intriguing.stages.transfer.grades import compared
from intriguing.stages.transfer.similarity import by_similarity

_BYTES = 1_600_000
"""What the part takes of one file at most."""
_MOST_PANELS, _MOST_LINES = 12, 12
"""Models whose curves are drawn; the others stand in the table alone."""


def part(context: Context) -> PagePart | None:
    """Per data set, rule and grade: the matrix of sizes that fool half of the time, and the curves; None without."""
    followed = context.grouped(context.groups("rays"), "dataset", "target_rule", "grade")
    groups = [{**key, **_group(context, key)} for key, _ in followed]
    if not groups:
        return None
    told: Row = {"grades": compared(context)}
    versions = (told | {"groups": groups, "curves": each, "left_out": 0} for each in (True, False))
    fewer = (told | {"groups": groups[:n], "curves": False, "left_out": len(groups) - n} for n in fewer_of(groups))
    html = rendered("stages/transfer/page/rays.html", context.limit(_BYTES), chain(versions, fewer))
    return PagePart("amplification", "How large must a change be to fool another model?", html)


def _group(context: Context, key: Row) -> Row:
    run = context.run
    matrix = run.half_rms(**key)
    curve: list[Row] = [{str(k): v for k, v in row.items()} for row in run.amplification(**key).to_dict("records")]
    targets = rates(curve)
    order = by_similarity(matrix)
    tables = [_table(matrix, "in the order of the spec")]
    if order != list(matrix.columns):
        tables.append(_table(matrix.loc[[m for m in order if m in matrix.index], order], "alike networks together"))
    tables[0]["open"] = True
    return {
        "tables": tables,
        "never": _never(matrix),
        "figure": _figure(targets, key),
        "drawn": _drawn(targets),
        "targets": targets,
        "shorter": _shorter(curve),
    }


def _table(matrix: pd.DataFrame, title: str) -> Row:
    """The matrix as rows of cells, with its target's own median and noise below."""
    shown = matrix.to_numpy(float)
    most = np.nanmax(np.where(np.isfinite(shown), shown, np.nan), initial=0.0) or 1.0
    frames = {name: matrix.attrs[name].loc[matrix.index, matrix.columns] for name in ("low", "high", "n", "never")}
    rows = []
    for source in matrix.index:
        cells = []
        for target in matrix.columns:
            value = float(matrix.loc[source, target])
            cell = {name: float(frame.loc[source, target]) for name, frame in frames.items()}
            dark = float(np.clip(1 - value / (1.05 * most), 0, 1)) if np.isfinite(value) else 0.0
            cells.append({"value": value, "p": dark, "own": source == target, **cell})
        rows.append({"source": source, "cells": cells})
    below = [
        ("its own searches", [float(matrix.attrs["own"][target]) for target in matrix.columns]),
        ("Gaussian noise", [float(matrix.attrs["noise"][target]) for target in matrix.columns]),
    ]
    return {"title": title, "targets": list(matrix.columns), "rows": rows, "below": below, "open": False}


def _never(matrix: pd.DataFrame) -> str:
    """How many images never fool a model to the end of their ray, over all pairs."""
    never, n = int(matrix.attrs["never"].to_numpy().sum()), int(matrix.attrs["n"].to_numpy().sum())
    left = int(matrix.attrs["left_out"].to_numpy().sum())
    out = f" {plural(left, 'ray')} of images that source or target had wrong before are left out." if left else ""
    if not never:
        return f"Each of the {plural(n, 'ray')} fools its model somewhere inside the box.{out}"
    return (
        f"Of {plural(n, 'ray')}, {never:,} never {'fools' if never == 1 else 'fool'} the model, even where every pixel "
        f"that changes has become 0 or 1; they count as larger than all others.{out}"
    )


def _shorter(curve: list[Row]) -> str:
    """Where rays end before the size asked for, so that what was fed is smaller."""
    short = [row for row in curve if row["rms"] < 0.99 * row["size"]]
    if not short:
        return "At every size the images fed were changed by as much as that size says."
    least = min(row["rms"] / row["size"] for row in short)
    return (
        f"From RMS {number(min(row['size'] for row in short), 2)} on some rays end inside the box before they are as "
        f"large: the mean RMS as fed falls to {number(100 * least, 2)} % of the size asked for."
    )


CURVE_AXES = ("RMS of the change, after clipping", "errors, %")


def _figure(targets: list[Row], key: Row) -> str:
    alt = (
        f"Error rates against the size of the change on {key['dataset']} ({key['target_rule']}, grade {key['grade']}), "
        "a panel per model fed, a line per model that the images were made for, noise dashed."
    )
    hovers: list[Hover] = []

    def draw() -> Figure:
        figure = curve_sheets(*sheet_series(targets), *CURVE_AXES)
        hovers[:] = [
            Hover(axes, target["sizes"], [_told(target, i) for i in range(len(target["sizes"]))])
            for axes, target in zip(figure.axes, targets, strict=False)
        ]
        return figure

    return with_hover(for_page(alt, draw), hovers)


def _told(target: Row, at: int) -> str:
    """The errors of a model fed at one size, with their intervals, a line per model that the images were made for."""
    lines = [f"{target['target']} at RMS {number(target['sizes'][at], 2)}"]
    for row in target["rows"][:_MOST_LINES]:
        cell = row["cells"][at]
        lines.append(f"{row['source']}: {percent(cell['rate'])} % ({percent(cell['low'])} to {percent(cell['high'])})")
    return "\n".join([*lines, f"noise: {percent(target['noise'][at])} %"])


Sheet = tuple[str, list[tuple[str, np.ndarray]], np.ndarray]


def sheet_series(targets: list[Row]) -> tuple[np.ndarray, list[Sheet]]:
    """The sizes, and per model fed (its name, [(source, error rates), ...], those of noise)."""
    drawn = [
        (
            target["target"],
            [(r["source"], np.array([c["rate"] for c in r["cells"]])) for r in target["rows"][:_MOST_LINES]],
            np.array(target["noise"]),
        )
        for target in targets[:_MOST_PANELS]
    ]
    return np.array(targets[0]["sizes"]), drawn


def _drawn(targets: list[Row]) -> str:
    """Which curves the figure leaves out."""
    if len(targets) <= min(_MOST_PANELS, _MOST_LINES):
        return ""
    return f"Drawn are the first {_MOST_PANELS} of {len(targets)} models; the tables below have all."


def rates(curve: list[Row]) -> list[Row]:
    """The curves of each model fed, as a table: a row per source, and the mean of noise on the others' images."""
    targets = []
    for target in dict.fromkeys(row["target"] for row in curve):
        rows = [row for row in curve if row["target"] == target]
        sizes = sorted({row["size"] for row in rows})
        by_source = [(s, [row for row in rows if row["source"] == s]) for s in dict.fromkeys(r["source"] for r in rows)]
        noise = [
            [r["noise_rate"] for r in rows if r["size"] == size and r["source"] != target and r["noise_n"]]
            for size in sizes
        ]
        lines = [{"source": source, "own": source == target, "cells": cells} for source, cells in by_source]
        means = [float(np.mean(each)) if each else float("nan") for each in noise]
        targets.append({"target": target, "sizes": sizes, "rows": lines, "noise": means})
    return targets
