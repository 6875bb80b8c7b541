"""The trainings of a run, variant by variant: what page, `intriguing show` and the job's document share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from intriguing.results import Run
from intriguing.stages.hardening.judged import judged_rows
from intriguing.stats.seeds import PairedDifference, mean_interval, paired_difference

Row = dict[str, Any]
Interval = tuple[float, float, float]
"""Mean, and the ends of its 95 % interval over seeds."""


@dataclass(frozen=True)
class VariantSummary:
    """One variant of one model on one data set, after the last epoch; every figure over its seeds."""

    name: str
    method: str
    below: str
    layers: list[str]
    seeds: list[int]
    epochs: int
    train_error: float
    error: Interval
    distortion: Interval | None
    lower_bound: float | None
    fooled: Interval | None
    cpu_seconds: float
    """Of one training, the mean over seeds."""
    searching: float
    """The part of `cpu_seconds` that searches took, in CPU-seconds."""
    against: PairedDifference | None
    """Its error minus the baseline's, paired by seed; None for the baseline itself."""
    robust: PairedDifference | None
    """The logarithm of its distortion over the baseline's, paired by seed."""
    curve: np.ndarray
    """(epochs, 4): epoch, mean error, smallest and largest error over seeds."""


@dataclass(frozen=True)
class ModelSummary:
    """All variants of one model on one data set."""

    dataset: str
    model: str
    split: str
    images: int
    baseline: str
    variants: list[VariantSummary]
    claims: list[Row]
    """Rows of `hardening_claims`; before it is there, what the trainings say that have ended."""

    @property
    def test_noise(self) -> float:
        """The binomial standard deviation of the baseline's error, as a fraction."""
        error = next(v.error[0] for v in self.variants if v.name == self.baseline)
        return (error * (1 - error) / self.images) ** 0.5

    @property
    def seeds(self) -> list[int]:
        """The seeds that every variant has."""
        return sorted(set.intersection(*(set(v.seeds) for v in self.variants)))


def summaries(run: Run) -> list[ModelSummary]:
    """One per data set and model that has a finished training of the baseline."""
    rows, claims = run.table("hardening").to_pylist(), run.table("hardening_claims").to_pylist()
    section = run.section("hardening")
    baseline = section.get("baseline", "weight decay")
    said = []
    for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in rows):
        mine = [row for row in rows if (row["dataset"], row["model"]) == (dataset, model)]
        names = [name for name in section.get("variants", {}) if any(row["variant"] == name for row in mine)]
        names += [n for n in dict.fromkeys(row["variant"] for row in mine) if n not in names]
        if baseline not in names:
            continue
        ends = {name: _ends(row for row in mine if row["variant"] == name) for name in names}
        variants = [_variant(name, ends[name], ends[baseline], mine, name == baseline) for name in names]
        own = [row for row in claims if (row["dataset"], row["model"]) == (dataset, model)]
        own = own or judged_rows(mine, baseline, section.get("goal"))  # not all trainings have ended yet
        said.append(ModelSummary(dataset, model, mine[0]["split"], mine[0]["images"], baseline, variants, own))
    return said


def _ends(rows: Iterable[Row]) -> dict[int, Row]:
    """The row of the last epoch, by seed."""
    return {row["model_seed"]: row for row in sorted(rows, key=lambda row: row["epoch"])}


def _variant(
    name: str, ends: dict[int, Row], baseline: dict[int, Row], rows: list[Row], is_baseline: bool
) -> VariantSummary:
    seeds = sorted(ends)
    last = [ends[seed] for seed in seeds]
    pairs = [(ends[seed], baseline[seed]) for seed in seeds if seed in baseline]
    measured = [(a["distortion"], b["distortion"]) for a, b in pairs if a["distortion"] and b["distortion"]]
    against = None
    if pairs and not is_baseline:
        against = paired_difference([a["error"] for a, _ in pairs], [b["error"] for _, b in pairs])
    robust = None
    if measured and not is_baseline:
        robust = paired_difference(np.log([a for a, _ in measured]), np.log([b for _, b in measured]))
    return VariantSummary(
        name=name,
        method=last[0]["method"],
        below=last[0]["below"],
        layers=last[0]["layers"],
        seeds=seeds,
        epochs=max(row["epoch"] for row in last),
        train_error=float(np.mean([row["train_error"] for row in last])),
        error=mean_interval([row["error"] for row in last]),
        distortion=_known(row["distortion"] for row in last),
        lower_bound=(_known(row["lower_bound"] for row in last) or (None,))[0],
        fooled=_known(row["fooled"] for row in last),
        cpu_seconds=float(np.mean([row["cpu_seconds"] for row in last])),
        searching=float(np.mean([row["search_seconds"] for row in last])),
        against=against,
        robust=robust,
        curve=_curve([row for row in rows if row["variant"] == name]),
    )


def _known(values: Iterable[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return mean_interval(known) if known else None


def _curve(rows: list[Row]) -> np.ndarray:
    errors: dict[int, list[float]] = {}
    for row in rows:
        errors.setdefault(row["epoch"], []).append(row["error"])
    return np.array([[n, np.mean(e), min(e), max(e)] for n, e in sorted(errors.items())])


def value_in_words(claim: Row) -> tuple[str, str]:
    """A claim's figure and its interval, as texts; "–" and "" where there are none.

    Differences of errors are in percentage points, with their sign; ratios have none.
    """
    value, low, high = claim["value"], claim["low"], claim["high"]
    if value is None:
        return "–", ""
    points = claim["measure"].startswith("difference")
    shown = [None if x is None else (f"{100 * x:+.2f}" if points else f"{x:.2f}") for x in (value, low, high)]
    unit = " points" if points else ""
    interval = f"95 % interval {shown[1]} to {shown[2]}" if low is not None else "one seed, no interval"
    return f"{shown[0]}{unit}".replace("-", "\u2212"), interval.replace("-", "\u2212")
