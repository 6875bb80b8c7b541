"""How large the smallest changes are, per model."""

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from intriguing.report.drawing import Robustness, histograms, robustness
from intriguing.report.media import Hover, for_page, with_hover
from intriguing.report.parts import Context, PagePart, Row, render
from intriguing.report.text import count, number, percent
from intriguing.stages.blind_spots.figures import MOST_PANELS, XLABEL, panels
from intriguing.stages.blind_spots.robustness import ANY_CLASS, robust_accuracy

_DRAWN = 40
"""Models whose distortions are drawn."""
_MODEL = ("dataset", "model", "model_seed")
_SEARCH = ("target_rule", "grade", "status", "distortion", "forward_passes", "backward_passes")


def part(context: Context) -> PagePart | None:
    """Histograms of distortions and a table of how the searches ended; None without searches."""
    searches = context.run.table("distortions", columns=[*_MODEL, *_SEARCH])
    if not searches.num_rows:
        return None
    keys = [*_MODEL, "target_rule", "grade"]
    parts = [
        dict(zip(keys, values, strict=True)) | {"searches": part}
        for values, part in searches.to_pandas().groupby(keys, sort=False)
    ]
    groups = []
    for key, rows in context.grouped(parts, "dataset", "target_rule", "grade"):
        models = [(context.label(one), part["searches"]) for one, [part] in context.grouped(rows, *_MODEL)]
        distortions = [(label, _distortions(part)) for label, part in models]
        series = [(label, values) for label, values in distortions if len(values)]
        alt = (
            f"Histograms of distortion on {key['dataset']} ({key['target_rule']}, grade {key['grade']}), one per model."
        )
        figure = for_page(alt, histograms, series[:_DRAWN], XLABEL) if series else None
        rows = [_row(label, part) for label, part in models]
        drawn = {"figure": figure, "more": max(0, len(series) - _DRAWN)}
        unneeded = all(row["status"].keys() == {"misclassified"} for row in rows)
        why_none = f"No search was needed: in all of them {_needless({key['target_rule']})}." if unneeded else ""
        groups.append(key | drawn | {"rows": rows, "robust": _robust(context, key), "why_none": why_none})
    needless = _needless({group["target_rule"] for group in groups})
    html = render("stages/blind_spots/page/distortions.html", groups=groups, needless=needless)
    return PagePart("distortions", "How small the changes are", html)


def _robust(context: Context, key: Row) -> Row | None:
    """Robust accuracy by model, as a figure and a sentence; None for searches that ask for one class."""
    if key["target_rule"] not in ANY_CLASS:
        return None
    frame = robust_accuracy(context.run, **key)
    models = panels(context, key["dataset"], frame)
    if not models:
        return None
    alt = (
        f"Robust accuracy by distortion on {key['dataset']} ({key['target_rule']}, grade {key['grade']}), a panel per "
        "model with its 95 % interval."
    )
    first: Any = frame.groupby(["model", "model_seed"])["left_out"].first()
    left_out = int(first.sum())
    counts = sorted({int(n) for n in frame["n"]})
    return {
        "figure": _with_hover(alt, models[:MOST_PANELS]),
        "proven": any(model.proven is not None for model in models),
        "more": max(0, len(models) - MOST_PANELS),
        "images": f"{count(counts[0])}" + (f" to {count(counts[-1])}" if len(counts) > 1 else ""),
        "left_out": left_out,
    }


def _with_hover(alt: str, models: list[Robustness]) -> Markup:
    hovers: list[Hover] = []

    def draw() -> Figure:
        figure = robustness(models, XLABEL)
        hovers[:] = [
            Hover(axes, model.sizes.tolist(), [_told(model, i) for i in range(len(model.sizes))])
            for axes, model in zip(figure.axes, models, strict=False)
        ]
        return figure

    return with_hover(for_page(alt, draw), hovers)


def _told(model: Robustness, at: int) -> str:
    interval = f"{percent(model.low[at])} to {percent(model.high[at])}"
    proven = "" if model.proven is None else f"\nproven: {percent(model.proven[at])} %"
    return (
        f"{model.label}\ndistortion {number(model.sizes[at])}: {percent(model.share[at])} % right ({interval}){proven}"
    )


def _needless(rules: set[str]) -> str:
    """When a search has nothing to do (status misclassified), for these target rules."""
    reasons = []
    if rules - {"random"}:
        reasons.append("the model gives a wrong class on the unchanged image")
    if "random" in rules:
        reasons.append("the model gives the target on the unchanged image" + (" (random)" if reasons else ""))
    return ", or ".join(reasons)


def _distortions(searches: pd.DataFrame) -> np.ndarray:
    return np.asarray(searches["distortion"][searches["status"] == "found"], np.float64)


def _unsearched(searches: pd.DataFrame) -> str:
    """How many searches could not be made, by what was in the way."""
    counts = searches["status"].value_counts()
    in_the_way = counts.drop(labels=["found", "misclassified", "not_found"], errors="ignore").sort_index()
    return ", ".join(f"{count(number)} {str(status).replace('_', ' ')}" for status, number in in_the_way.items()) or "0"


def _row(label: str, searches: pd.DataFrame) -> Row:
    """A model's line of the table."""
    values = _distortions(searches)
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95]) if len(values) else (None, None, None)
    return {
        "model": label,
        "searches": len(searches),
        "status": searches["status"].value_counts().to_dict(),
        "unsearched": _unsearched(searches),
        "mean": values.mean() if len(values) else None,
        "median": middle,
        "low": low,
        "high": high,
        "forward": searches["forward_passes"].mean(),
        "backward": searches["backward_passes"].mean(),
    }
