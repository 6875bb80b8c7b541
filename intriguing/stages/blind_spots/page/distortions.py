"""How large the smallest changes are, per model."""

import numpy as np
import pandas as pd

from intriguing.report.figures import histograms
from intriguing.report.parts import Context, PagePart, Row, render
from intriguing.report.text import count

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
        figure = histograms(series, "distortion, sqrt(Σ r² / n)", alt) if series else None
        groups.append(key | {"figure": figure, "rows": [_row(label, part) for label, part in models]})
    needless = _needless({group["target_rule"] for group in groups})
    html = render("stages/blind_spots/page/distortions.html", groups=groups, needless=needless)
    return PagePart("distortions", "How small the changes are", html)


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
