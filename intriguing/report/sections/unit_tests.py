"""Scores of single units and of random directions, and the rotation tests that compare them."""

from typing import Any

import numpy as np
import pandas as pd

from intriguing.report.figures import forest, strips
from intriguing.report.section import Context, Section, render
from intriguing.report.text import verdict

_LAYER = ["dataset", "model", "model_seed", "layer", "condition"]


def section(context: Context) -> Section | None:
    """Verdicts, effects and scores per layer; None where nothing was scored or tested."""
    tests = context.run.pandas("rotation_tests")
    scores = context.run.pandas("unit_scores")
    if tests.empty and scores.empty:
        return None
    html = render("unit_tests.html", verdicts=_verdicts(context, tests), figure=_effects(context, tests), scores=_scores(context, scores))
    return Section("unit-tests", "Are single units special? The tests", html)


def _verdicts(context: Context, tests: pd.DataFrame) -> list[dict[str, Any]]:
    """One line per test, natural basis first, in the order of the spec."""
    rows = []
    for test in tests.sort_values([*_LAYER, "metric", "control", "alpha"]).to_dict("records"):
        outcome, sentence = verdict(test)
        rows.append(test | {"outcome": outcome, "sentence": sentence, "name": _name(context, test)})
    return rows


def _effects(context: Context, tests: pd.DataFrame) -> Any:
    """The effects of the tests of the natural basis, with intervals, in null standard deviations."""
    natural = tests[(tests.alpha == 0) & tests.effect.notna() & (tests.null_sd > 0)]
    rows = [
        (
            f"{_name(context, test)} · {test['metric']}" + ("" if test["control"] == "trained" else f" ({test['control']})"),
            test["effect"],
            *(test["effect"] if np.isnan(test[end]) else test[end] / test["null_sd"] for end in ("low", "high")),
        )
        for test in natural.sort_values([*_LAYER, "metric", "control"]).to_dict("records")
    ]
    alt = "Effect of each rotation test with its 95 % interval; the figures are in the table below."
    return forest(rows, "natural basis minus random rotations, in standard deviations of the rotations", alt) if rows else None


def _scores(context: Context, scores: pd.DataFrame) -> list[dict[str, Any]]:
    """Per layer and metric, the scores of each basis as a figure and as mean, spread and count."""
    blocks = []
    for key, rows in scores.groupby([*_LAYER, "metric"]):
        named = dict(zip([*_LAYER, "metric"], key, strict=True))
        order = sorted(set(rows.basis), key=lambda basis: (basis != "natural", basis))
        bases = [(basis, rows.value[(rows.basis == basis) & rows.value.notna()].to_numpy(float)) for basis in order]
        lines = [{"basis": b, "n": len(v), "mean": v.mean() if len(v) else None, "sd": v.std(ddof=1) if len(v) > 1 else None} for b, v in bases]
        alt = f"{named['metric']} of every direction, one row per basis, means marked; the means are in the table."
        blocks.append(named | {"name": _name(context, named), "lines": lines, "figure": strips([("", bases)], alt)})
    return blocks


def _name(context: Context, row: dict[str, Any]) -> str:
    """Model and layer, with data set and condition where they tell anything."""
    name = f"{context.label(row['dataset'], row['model'], row['model_seed'])} · {row['layer']}"
    return name + (f" · {row['condition']}" if row["condition"] not in ("raw", "") else "")
