"""From the rows of the table `hardening` to what they say of each claim."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from intriguing.hardening.claims import Outcomes, judge

_GOAL = 1.1
"""The error that counts as reached, in mean final errors of the baseline."""
_COARSE = 2.0
"""Another one, which most trainings reach."""
Row = dict[str, Any]
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


def judged_rows(rows: Iterable[Row], baseline: str, goal: float | None = None) -> list[Row]:
    """The rows of `hardening_claims` (without data set and model) of one model's trainings, those that have ended.

    goal: the error that counts as reached; None: 1.1 times the mean final error of `baseline`. No rows where the
    baseline has not ended.
    """
    by_variant = curves(rows)
    if baseline not in by_variant:
        return []
    reached, _ = goals(by_variant[baseline], goal)
    runs = {
        variant: {seed: _outcomes(curve, reached) for seed, curve in seeds.items()}
        for variant, seeds in by_variant.items()
    }
    return [
        {name: getattr(one, name) for name in _FIGURES}
        | {"claim": one.claim.name, "variant": one.claim.variant, "against": one.claim.against}
        | {"goal": reached if one.claim.figure == "seconds" else None}
        for one in judge(runs)
    ]


def curves(rows: Iterable[Row]) -> dict[str, dict[int, list[Row]]]:
    """The rows of each training, the first epoch first, by variant and seed."""
    found: dict[str, dict[int, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: row["epoch"]):
        found.setdefault(row["variant"], {}).setdefault(row["model_seed"], []).append(row)
    return found


def goals(baseline: dict[int, list[Row]], goal: float | None) -> tuple[float, float]:
    """The error that counts as reached, and a coarse one, from the baseline's trainings by seed.

    They are 1.1 and 2 times its mean last error; `goal`, where it is given, takes the place of the first.
    """
    last = float(np.mean([curve[-1]["error"] for curve in baseline.values()]))
    return _GOAL * last if goal is None else goal, _COARSE * last


def reaching(curve: list[Row], goal: float) -> Row | None:
    """The row of the first epoch whose error is at most the goal."""
    return next((row for row in curve if row["error"] <= goal), None)


def _outcomes(curve: list[Row], goal: float) -> Outcomes:
    """The end of a training from its rows, the first epoch first."""
    there = reaching(curve, goal)
    return Outcomes(
        error=curve[-1]["error"],
        images=curve[-1]["images"],
        distortions=distortions(curve[-1]),
        epochs=None if there is None else there["epoch"],
        seconds=None if there is None else there["cpu_seconds"],
    )


def distortions(row: Row) -> np.ndarray:
    """The minimal distortion of each image, from a row of `hardening`; NaN where there is none."""
    return np.array([np.nan if value is None else value for value in row["distortions"] or ()], np.float64)
