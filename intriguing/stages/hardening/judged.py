"""From the rows of the table `hardening` to what they say of each claim."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from intriguing.hardening.claims import Outcomes, judge

_GOAL = 1.1
"""The error that counts as reached, in mean final errors of the baseline."""
_FIGURES = (
    "outcome",
    "sentence",
    "measure",
    "value",
    "low",
    "high",
    "p",
    "seeds",
    "test_noise",
    "remark",
    "refuted_by",
)


def judged_rows(rows: Iterable[dict[str, Any]], baseline: str, goal: float | None = None) -> list[dict[str, Any]]:
    """The rows of `hardening_claims` (without data set and model) of one model's trainings, those that have ended.

    goal: the error that counts as reached; None: 1.1 times the mean final error of `baseline`. No rows where the
    baseline has not ended.
    """
    curves: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["epoch"]):
        curves.setdefault((row["variant"], row["model_seed"]), []).append(row)
    final = [curve[-1]["error"] for (variant, _), curve in curves.items() if variant == baseline]
    if not final:
        return []
    reached = _GOAL * float(np.mean(final)) if goal is None else goal
    runs: dict[str, dict[int, Outcomes]] = {}
    for (variant, seed), curve in curves.items():
        runs.setdefault(variant, {})[seed] = _outcomes(curve, reached)
    return [
        {name: getattr(one, name) for name in _FIGURES}
        | {"claim": one.claim.name, "variant": one.claim.variant, "against": one.claim.against}
        | {"goal": reached if one.claim.figure == "seconds" else None}
        for one in judge(runs)
    ]


def _outcomes(curve: list[dict[str, Any]], goal: float) -> Outcomes:
    """The end of a training from its rows, the first epoch first."""
    there = next((row for row in curve if row["error"] <= goal), None)
    return Outcomes(
        error=curve[-1]["error"],
        images=curve[-1]["images"],
        rms=curve[-1]["distortion"],
        epochs=None if there is None else there["epoch"],
        seconds=None if there is None else there["cpu_seconds"],
    )
