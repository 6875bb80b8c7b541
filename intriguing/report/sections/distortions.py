"""How large the smallest changes are, per model."""

from collections import Counter

import numpy as np

from intriguing.report.figures import histograms
from intriguing.report.section import Context, Row, Section, render
from intriguing.report.text import count

_MODEL = ("dataset", "model", "model_seed")
_SEARCH = ("target_rule", "grade", "status", "distortion", "forward_passes", "backward_passes")


def section(context: Context) -> Section | None:
    """Histograms of distortions and a table of how the searches ended; None without searches."""
    searches = context.run.table("distortions", columns=[*_MODEL, *_SEARCH]).to_pylist()
    if not searches:
        return None
    groups = []
    for key, rows in context.grouped(searches, "dataset", "target_rule", "grade"):
        models = [(context.label(one), part) for one, part in context.grouped(rows, *_MODEL)]
        found = [(label, _distortions(part)) for label, part in models]
        series = [(label, values) for label, values in found if len(values)]
        alt = (
            f"Histograms of distortion on {key['dataset']} ({key['target_rule']}, grade {key['grade']}), one per model."
        )
        figure = histograms(series, "distortion, sqrt(Σ r² / n)", alt) if series else None
        groups.append(key | {"figure": figure, "rows": [_row(label, part) for label, part in models]})
    return Section("distortions", "How small the changes are", render("distortions.html", groups=groups))


def _distortions(rows: list[Row]) -> np.ndarray:
    return np.array([row["distortion"] for row in rows if row["status"] == "found"], float)


def _unsearched(rows: list[Row]) -> str:
    """How many searches could not be made, by what was in the way."""
    counts = Counter(row["status"] for row in rows if row["status"] not in ("found", "misclassified", "not_found"))
    return ", ".join(f"{count(number)} {status.replace('_', ' ')}" for status, number in sorted(counts.items())) or "0"


def _row(label: str, rows: list[Row]) -> Row:
    """A model's line of the table."""
    values = _distortions(rows)
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95]) if len(values) else (None, None, None)
    return {
        "model": label,
        "searches": len(rows),
        "status": Counter(row["status"] for row in rows),
        "unsearched": _unsearched(rows),
        "mean": values.mean() if len(values) else None,
        "median": middle,
        "low": low,
        "high": high,
        "forward": np.mean([row["forward_passes"] for row in rows]),
        "backward": np.mean([row["backward_passes"] for row in rows]),
    }
