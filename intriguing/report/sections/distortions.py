"""How large the smallest changes are, per model."""

from typing import Any

import pandas as pd

from intriguing.report.figures import histograms
from intriguing.report.section import Context, Section, render

_COMPARED = ["dataset", "target_rule", "grade"]


def section(context: Context) -> Section | None:
    """Histograms of distortions and a table of how the searches ended; None without searches."""
    columns = ["dataset", "model", "model_seed", "target_rule", "grade", "status", "distortion"]
    columns += ["forward_passes", "backward_passes"]
    searches = context.run.pandas("distortions", columns=columns)
    if searches.empty:
        return None
    groups = []
    for (dataset, rule, grade), rows in searches.groupby(_COMPARED):
        models, seeds = rows.model, rows.model_seed
        ordered = [m for m in context.run.models(dataset) if ((models == m[0]) & (seeds == m[1])).any()]
        ordered += sorted(set(zip(models, seeds, strict=True)) - set(ordered))
        parts = [(context.label(dataset, *m), rows[(models == m[0]) & (seeds == m[1])]) for m in ordered]
        series = [(label, part.distortion[part.status == "found"].to_numpy(float)) for label, part in parts]
        found = [(label, values) for label, values in series if len(values)]
        alt = f"Histograms of distortion on {dataset}, {rule}, grade {grade}: one row per model; medians are in the table."
        groups.append(
            {
                "dataset": dataset,
                "rule": rule,
                "grade": grade,
                "figure": histograms(found, "distortion, sqrt(Σ r² / n)", alt) if found else None,
                "rows": [_row(label, part) for label, part in parts],
            }
        )
    return Section("distortions", "How small the changes are", render("distortions.html", groups=groups))


def _row(label: str, part: pd.DataFrame) -> dict[str, Any]:
    """A model's line of the table."""
    distortion = part.distortion[part.status == "found"]
    low, middle, high = distortion.quantile([0.05, 0.5, 0.95]) if len(distortion) else (None, None, None)
    return {
        "model": label,
        "searches": len(part),
        "status": part.status.value_counts().to_dict(),
        "mean": distortion.mean() if len(distortion) else None,
        "median": middle,
        "low": low,
        "high": high,
        "forward": part.forward_passes.mean(),
        "backward": part.backward_passes.mean(),
    }
