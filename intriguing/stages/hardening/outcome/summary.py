"""The trainings of a run, variant by variant: what page, `intriguing show` and the job's document share."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from intriguing.hardening.claims import distortion_ratio
from intriguing.results import Run
from intriguing.stages.hardening.outcome.judged import Row, curves, distortions, goals, judged_rows, reaching
from intriguing.stats.seeds import PairedDifference, mean_interval, paired_difference

Interval = tuple[float, float, float]
"""Mean, and the ends of its 95 % interval over seeds."""


@dataclass(frozen=True)
class Reached:
    """How soon the trainings of a variant reach an error."""

    goal: float
    """The error, as a fraction."""
    seeds: int
    """How many trainings there are."""
    there: int
    """How many of them reach it."""
    epochs: float | None
    """Epochs until then, the mean over those that reach it."""
    seconds: float | None
    """CPU-seconds of training until then, likewise."""


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
    """Over the images that a network gets right."""
    lower_bound: float | None
    fooled: Interval | None
    cpu_seconds: float
    """Of one training, the mean over seeds."""
    searching: float
    """The part of `cpu_seconds` that searches took, in CPU-seconds."""
    against: PairedDifference | None
    """Its error minus the baseline's, paired by seed; None for the baseline itself."""
    robust: PairedDifference | None
    """The logarithm of its distortion over the baseline's, paired by seed, over the images that both get right."""
    reached: list[Reached]
    """How soon it reaches the goal, and a coarse one."""
    pool_rms: list[float | None]
    """The root mean square of the changes in use at the end, per layer of `layers`."""
    curve: np.ndarray
    """(epochs, 4): epoch, mean error, smallest and largest error over seeds."""
    distortion_curve: np.ndarray
    """(n, 4): the same of the mean distortion, over those of the images searched after every epoch that the network of
    the epoch gets right; epochs without one are left out."""


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

    def control_sizes(self, noise: VariantSummary) -> tuple[str, list[float | None]] | None:
        """How large the changes of a variant `noise` are, as shares of those of the variant that it is a control of.

        That is the one with pools of the same layers; its name, and a share per layer. None where there is none.
        """
        pooled = [v for v in self.variants if v.method == "pools" and v.layers == noise.layers]
        if noise.method != "noise" or not pooled:
            return None
        pairs = zip(noise.pool_rms, pooled[0].pool_rms, strict=False)
        return pooled[0].name, [mine / other if mine and other else None for mine, other in pairs]


def summaries(run: Run) -> list[ModelSummary]:
    """One per data set and model that has a training of the baseline, with the trainings that have ended."""
    rows, claims = _ended(run, run.table("hardening").to_pylist()), run.table("hardening_claims").to_pylist()
    section = run.section("hardening")
    baseline, goal = section.get("baseline", "weight decay"), section.get("goal")
    said = []
    for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in rows):
        mine = [row for row in rows if (row["dataset"], row["model"]) == (dataset, model)]
        trained = curves(mine)
        if baseline not in trained:
            continue
        names = [name for name in section.get("variants", {}) if name in trained]
        names += [name for name in trained if name not in names]
        reach = goals(trained[baseline], goal)
        base = trained[baseline]
        variants = [_variant(name, trained[name], None if name == baseline else base, reach) for name in names]
        own = [row for row in claims if (row["dataset"], row["model"]) == (dataset, model)]
        own = own or judged_rows(mine, baseline, goal)  # not all trainings have ended yet
        said.append(ModelSummary(dataset, model, mine[0]["split"], mine[0]["images"], baseline, variants, own))
    return said


def _ended(run: Run, rows: list[Row]) -> list[Row]:
    """The rows of trainings that are measured whole: after the last epoch, which `models` tells, and all before it."""
    models = run.table("models", columns=["dataset", "model", "model_seed"]).to_pylist()
    last = {tuple(row.values()) for row in models}
    epochs: dict[tuple[str, str, int], list[int]] = {}
    for row in rows:
        epochs.setdefault(_network(row), []).append(row["epoch"])
    whole = {network for network, counted in epochs.items() if network in last and len(counted) == max(counted)}
    return [row for row in rows if _network(row) in whole]


def _network(row: Row) -> tuple[str, str, int]:
    return row["dataset"], row["network"], row["model_seed"]


def _variant(
    name: str,
    trained: dict[int, list[Row]],
    baseline: dict[int, list[Row]] | None,
    reach: tuple[float, float],
) -> VariantSummary:
    """The summary of the trainings of one variant, by seed; `baseline`: those that it is compared with."""
    last = [curve[-1] for curve in trained.values()]
    base = baseline or {}
    pairs = [(curve[-1], base[seed][-1]) for seed, curve in trained.items() if seed in base]
    against = robust = None
    if pairs:
        against = paired_difference([a["error"] for a, _ in pairs], [b["error"] for _, b in pairs])
        robust = distortion_ratio([distortions(a) for a, _ in pairs], [distortions(b) for _, b in pairs])
    rows = [row for curve in trained.values() for row in curve]
    return VariantSummary(
        name=name,
        method=last[0]["method"],
        below=last[0]["below"],
        layers=last[0]["layers"],
        seeds=sorted(trained),
        epochs=max(row["epoch"] for row in last),
        train_error=float(np.mean([row["train_error"] for row in last])),
        error=mean_interval([row["error"] for row in last]),
        distortion=_known(row["distortion"] for row in last),
        lower_bound=_mean(row["lower_bound"] for row in last),
        fooled=_known(row["fooled"] for row in last),
        cpu_seconds=float(np.mean([row["cpu_seconds"] for row in last])),
        searching=float(np.mean([row["search_seconds"] for row in last])),
        against=against,
        robust=robust,
        reached=[_reached(list(trained.values()), goal) for goal in reach],
        pool_rms=[_mean(values) for values in zip(*(row["pool_rms"] for row in last), strict=False)],
        curve=_curve((row["epoch"], row["error"]) for row in rows),
        distortion_curve=_curve(_distortions_by_epoch(rows)),
    )


def _reached(trained: list[list[Row]], goal: float) -> Reached:
    there = [row for curve in trained if (row := reaching(curve, goal)) is not None]
    epochs, seconds = (_mean(row[name] for row in there) for name in ("epoch", "cpu_seconds"))
    return Reached(goal, len(trained), len(there), epochs, seconds)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _known(values: Iterable[float | None]) -> Interval | None:
    known = [value for value in values if value is not None]
    return mean_interval(known) if known else None


def _distortions_by_epoch(rows: list[Row]) -> list[tuple[int, float]]:
    """(epoch, mean distortion) of each row, over as many of the images as were searched after every epoch."""
    found = [(row["epoch"], distortions(row)) for row in rows]
    count = min((len(one) for _, one in found), default=0)
    firsts = [(epoch, one[:count][one[:count] > 0]) for epoch, one in found]
    return [(epoch, float(first.mean())) for epoch, first in firsts if len(first)]


def _curve(points: Iterable[tuple[int, float]]) -> np.ndarray:
    """(n, 4): epoch, mean, smallest and largest of the values of each epoch that has any."""
    values: dict[int, list[float]] = {}
    for epoch, value in points:
        values.setdefault(epoch, []).append(value)
    return np.array([[n, np.mean(v), min(v), max(v)] for n, v in sorted(values.items())]).reshape(-1, 4)
