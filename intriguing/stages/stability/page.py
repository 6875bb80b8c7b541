"""Stability on the page: what is proven beside what was found, and the norms of every layer."""

import math

import numpy as np
import pandas as pd

from intriguing.report.drawing import brackets
from intriguing.report.media import for_page
from intriguing.report.parts import Context, PagePart, Row, render
from intriguing.report.room import fewer_of, rendered
from intriguing.report.text import count, figure, number, percent, plural

_MODEL = ("dataset", "model", "model_seed")
_PANELS, _POINTS = 24, 4_000
"""Models and searches of a figure of the page."""
_BYTES = 400_000
"""What the table of norms takes of one file at most."""
_ROUNDING = 1e-5
"""What a found norm may lie below its bound by rounding: it is stored in float32."""
_METHODS = {
    "exact": "exact",
    "lines": "linear bounds",
    "coupled": "semidefinite",
    "local": "norms near the image",
    "product": "norms",
    "none": "nothing",
}


Series = tuple[str, np.ndarray, np.ndarray]
"""A model's name, and of its searches what was found and what is proven."""


def parts(context: Context) -> list[PagePart]:
    """The brackets of the searches, and the layers' norms; no part for what the run has not."""
    made = (_brackets(context), _norms(context))
    return [part for part in made if part is not None]


def headline(context: Context) -> list[tuple[str, str]]:
    """How many of the found changes are proven to be the smallest."""
    rows = context.query(
        "select count(*) filter (is_optimal) as optimal, count(*) as found from certificates where status = 'found'"
    )
    if not rows or not rows[0]["found"]:
        return []
    optimal, found = rows[0]["optimal"], rows[0]["found"]
    return [figure(optimal, "change", f" of {count(found)} proven to be the smallest")] if optimal else []


def _brackets(context: Context) -> PagePart | None:
    columns = [
        *_MODEL,
        "target_rule",
        "grade",
        "status",
        "l2",
        "lower_bound",
        "share",
        "is_optimal",
        "method",
        "reason",
    ]
    rows = context.run.table("certificates", columns=columns)
    if not rows.num_rows:
        return None
    keys = [*_MODEL, "target_rule", "grade"]
    searches = [
        dict(zip(keys, values, strict=True)) | {"searches": part}
        for values, part in rows.to_pandas().groupby(keys, sort=False)
    ]
    groups = []
    for key, of_key in context.grouped(searches, "dataset", "target_rule", "grade"):
        models = [(context.label(one), part["searches"]) for one, [part] in context.grouped(of_key, *_MODEL)]
        alt = (
            f"Certified lower bound against the norm found on {key['dataset']} ({key['target_rule']}, grade "
            f"{key['grade']}), a panel per model; on the diagonal both are equal."
        )
        series = bracket_series(models)
        drawn, searches_drawn = _drawn(series)
        lines = [_row(label, part) for label, part in models]
        alarm = ", ".join(f"{line['model']} ({count(line['below'])})" for line in lines if line["below"])
        groups.append(
            key
            | {"figure": for_page(alt, brackets, drawn) if drawn else None, "rows": lines, "alarm": alarm}
            | {"drawn": searches_drawn}
        )
    html = render("stages/stability/page.html", groups=groups, norms=None)
    return PagePart("brackets", "How much smaller could a change be?", html)


def bracket_series(models: list[tuple[str, pd.DataFrame]]) -> list[Series]:
    """What was found and what is proven, as (label, found, proven), of the models that have both."""
    series = [(label, *_both_ends(part)) for label, part in models]
    return [one for one in series if len(one[1])]


def _drawn(series: list[Series]) -> tuple[list[Series], str]:
    """The panels of the page, and what they leave out, as a sentence: a point is a hundred bytes of the file."""
    shown, each = series[:_PANELS], max(50, _POINTS // max(1, min(len(series), _PANELS)))
    thinned = [(label, *_spread(found, proven, each)) for label, found, proven in shown]
    points, all_points = (sum(len(found) for _, found, _ in part) for part in (thinned, series))
    said = f"{count(points)} of {count(all_points)} searches are drawn, at even steps of what was found."
    models = f" {plural(len(series) - _PANELS, 'more model')} in the table below." if len(series) > _PANELS else ""
    return thinned, "" if points == all_points else said + models


def _spread(found: np.ndarray, proven: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most so many of the searches of a model, the nearest and the farthest among them."""
    order = np.argsort(found, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))]
    return found[chosen], proven[chosen]


def _both_ends(searches: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What was found, and what is proven, of searches that have both."""
    chosen = searches[(searches["status"] == "found") & searches["lower_bound"].notna()]
    return np.asarray(chosen["l2"], float), np.asarray(chosen["lower_bound"], float)


def _row(label: str, searches: pd.DataFrame) -> Row:
    """A model's line of the table."""
    found = searches[searches["status"] == "found"]
    l2, bound = _both_ends(searches)
    share = bound / l2
    low, middle, high = np.quantile(share, [0.05, 0.5, 0.95]) if len(share) else [None] * 3
    return {
        "model": label,
        "found": len(found),
        "proven": len(bound),
        "median_l2": _median(np.asarray(found["l2"], float)),
        "median_bound": _median(bound),
        "share": middle,
        "low": low,
        "high": high,
        "optimal": float(np.mean(np.asarray(found["is_optimal"], float))) if len(found) else math.nan,
        "below": int(np.sum(l2 * (1 + _ROUNDING) < bound)),
        "methods": ", ".join(_METHODS.get(str(m), str(m)) for m in found["method"].value_counts().index),
        "reason": "; ".join(str(r) for r in found["reason"].unique() if r),
    }


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


def _norms(context: Context) -> PagePart | None:
    rows = context.query("select * from operator_norms order by position")
    if not rows:
        return None
    models = [
        key
        | {
            "name": context.label(key),
            "layers": [_layer(one) for one in layers],
            "product": layers[-1]["product_bound"],
        }
        for key, layers in context.grouped(rows, *_MODEL)
    ]
    several = len({model["dataset"] for model in models}) > 1
    versions = (
        {"groups": None, "several": several, "norms": models[:n], "left_out": len(models) - n}
        for n in (len(models), *fewer_of(models))
    )
    html = rendered("stages/stability/page.html", context.limit(_BYTES), versions)
    return PagePart("norms", "How far a change can carry, layer by layer", html)


def _layer(row: Row) -> Row:
    """A layer as the table shows it."""
    shown = {name: _shown(row[name]) for name in ("norm", "upper_bound", "printed", "product_bound")}
    stride = " x ".join(str(s) for s in row["stride"])
    share = row["share"]
    return row | shown | {"stride": stride, "share": "–" if share is None or math.isnan(share) else percent(share)}


def _shown(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else number(value, 4)
