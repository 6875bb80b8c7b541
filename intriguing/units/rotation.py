"""The rotation test: is the natural basis special, or would any rotation of it do?

T(Q) is the mean of a score over the directions of a basis Q. If no basis is special, the natural basis is like one more
random rotation, so its rank among Haar rotations gives an exact p-value. A whole basis is drawn at a time, because
units share their inputs: a test that treats units as independent is invalid. (Network Dissection, section 3.2, also
draws rotations, but gives no p-value.)

A rotation depends only on the seed and its number. So `null_statistics` of the numbers 0 to 499 and 500 to 998,
computed on any machines, together are those of 0 to 998.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.stats.comparison import Comparison, compare_with_draws
from intriguing.stats.halves import standard_errors
from intriguing.stats.multiple import holm
from intriguing.units.directions import haar
from intriguing.units.scoring.metrics import Scorer
from intriguing.units.scoring.views import Inputs, View

MOST_COLUMNS = 512
DOSES = (0.2, 0.4, 0.6, 0.8, 1.0)
_PURPOSE = "rotation test"


@dataclass(frozen=True)
class RotationTest:
    """One score's test; the fields are those of the table `rotation_tests`."""

    metric: str
    """The score whose mean over a basis is the statistic."""
    alpha: float
    """0: the natural basis; else the mean of Q^alpha over some rotations Q."""
    natural: float | None
    """The statistic."""
    null_mean: float | None
    """Its mean over random rotations."""
    null_sd: float | None
    """Its standard deviation over random rotations."""
    low: float | None
    """Lower end of the 95 % interval of natural minus null_mean."""
    high: float | None
    """Upper end."""
    rotations: int
    """Number of rotations in the null."""
    p_high: float | None
    """(1 + rotations with a statistic at least as large) / (rotations + 1)."""
    p_low: float | None
    """The same for at most as large."""
    p_two: float | None
    """min(1, 2 min(p_high, p_low))."""
    effect: float | None
    """(natural - null_mean) / null_sd."""
    detectable_effect: float | None
    """The smallest effect that this test finds with 80 % power."""
    n: int
    """Number of inputs."""
    p_holm: float | None = None
    """p_two after Holm's correction; set by `corrected`."""

    @classmethod
    def of(cls, metric: str, comparison: Comparison, n: int, alpha: float = 0.0) -> "RotationTest":
        """The test of `metric` whose figures are those of the `comparison`, over `n` inputs."""
        return cls(metric=metric, alpha=alpha, n=n, **comparison.row())

    @classmethod
    def without_figures(cls, metric: str, n: int) -> "RotationTest":
        """A test without numbers, for a score that cannot be computed from the `n` inputs."""
        return cls.of(metric, Comparison(), n)

    def row(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class RotationOptions:
    """How a basis is tested."""

    rotations: int = 999
    """Number of random rotations in the null. More resolve smaller p-values; cost grows with it."""
    seed: int = 0
    """Seed of the rotations and of the random halves."""
    sign: Literal[1, -1] = 1
    """-1 tests the units' smallest values, against the same null: -Q is as likely as Q. The dose curve has sign 1."""
    subsamples: int = 100
    """Number of random halves behind each interval; 0 for no interval."""
    doses: Sequence[float] = ()
    """Powers of a rotation, in (0, 1], of the dose curve; none for no curve."""
    dose_rotations: int = 20
    """Number of rotations of the dose curve."""


def basis(dim: int, number: int, seed: int = 0) -> np.ndarray:
    """The directions (dim, m) of rotation `number`, or of the natural basis for number -1; m is at most 512.

    Above 512 units both are sampled: 512 columns of the rotation, 512 units.
    """
    m = min(dim, MOST_COLUMNS)
    if number >= 0:
        return haar(dim, m, seed, f"{_PURPOSE} {number}")
    units = np.arange(dim) if m == dim else generator(seed, "sampled units", dim).permutation(dim)[:m]
    columns = np.zeros((dim, m))
    columns[np.sort(units), np.arange(m)] = 1.0
    return columns


def null_statistics(
    inputs: Inputs, scores: Sequence[Scorer], rotations: Iterable[int], *, seed: int = 0
) -> dict[str, np.ndarray]:
    """The statistics (rotations,) by score of the rotations with these numbers, in their order.

    Without scores, as with too few inputs, no rotation is drawn.
    """
    statistics: dict[str, list[float]] = {score.name: [] for score in scores}
    for number in rotations if scores else ():
        view = View(inputs, basis(inputs.dim, number, seed), number, seed)
        for score in scores:
            statistics[score.name].append(score.mean(view))
    return {name: np.asarray(values) for name, values in statistics.items()}


def natural_statistics(inputs: Inputs, scores: Sequence[Scorer], *, seed: int = 0, sign: int = 1) -> dict[str, float]:
    """The statistics of the natural basis e_1, ... by score; of -e_1, ... with `sign` -1."""
    view = View(inputs, sign * basis(inputs.dim, -1, seed), -1, seed)
    return {score.name: score.mean(view) for score in scores}


def subsample_spread(
    inputs: Inputs,
    scores: Sequence[Scorer],
    *,
    seed: int = 0,
    sign: int = 1,
    subsamples: int = 100,
    rotations: int | None = None,
) -> dict[str, float]:
    """The standard error, by score, of natural minus null_mean over the choice of inputs (`stats.halves`).

    On a half, a score of the top K uses the top K / 2 (`Metric.halving`), the same share of the inputs. rotations: size
    of the null; by default enough for 256 directions, at least 8.

    Compared with the spread over fresh inputs, simulations (16 units, 1,000 inputs; planted, rotated and rectified)
    gave 0.9 to 1.2 times (with the top K, 0.7 to 1.3 times). In other simulations judged scores gave 0.7 to 1.5 times,
    AUROC of saturated units 1.5 times, and kurtosis, which depends on few inputs in the tails, 0.7 times.
    """
    rotations = max(8, 256 // min(inputs.dim, MOST_COLUMNS)) if rotations is None else rotations
    bases = [basis(inputs.dim, number, seed) for number in range(-1, rotations)]
    bases[0] = sign * bases[0]

    def statistics_of_half(draw: int) -> dict[str, list[float]]:
        half = inputs.half(generator(seed, "half-subsample", draw))
        views = [View(half, directions, number, seed) for number, directions in enumerate(bases, start=-1)]
        return {score.name: [score.of_half.mean(view) for view in views] for score in scores}

    return standard_errors(statistics_of_half(draw) for draw in range(subsamples))


def powers(q: np.ndarray, alphas: Sequence[float]) -> list[np.ndarray]:
    """Q^alpha for each of the `alphas`, of a rotation `q` (dim, dim) with determinant 1: each plane of Q is rotated by
    alpha times its angle.

    The eigenvectors of Q are those of a Hermitian mixture of its symmetric and antisymmetric part, which is faster than
    a Schur form and equally stable. Source: Network Dissection, section 3.2.
    """
    turned = torch.from_numpy(q)
    mixed = torch.complex((turned + turned.T) / 2, 0.7390851332151607 * (turned.T - turned) / 2)
    _, vectors = torch.linalg.eigh(mixed)
    angles = torch.angle((vectors.conj() * (turned.to(vectors.dtype) @ vectors)).sum(dim=0))
    raised = (vectors * torch.polar(torch.ones_like(angles), alpha * angles) for alpha in alphas)
    return [(part @ vectors.conj().T).real.contiguous().numpy() for part in raised]


def dose_statistics(
    inputs: Inputs,
    scores: Sequence[Scorer],
    *,
    seed: int = 0,
    doses: Sequence[float] = DOSES,
    rotations: int = 20,
) -> dict[str, np.ndarray]:
    """The statistics of Q^alpha, by score: (doses, rotations). Above 512 units the curve is that of 512 of them."""
    dim = inputs.dim
    if dim > MOST_COLUMNS:
        raise InputError(f"The dose curve turns whole bases of at most {MOST_COLUMNS} units, not {dim}.")
    statistics = {score.name: np.empty((len(doses), rotations)) for score in scores}
    for number in range(rotations):
        q = haar(dim, dim, seed, f"dose {number}")
        if np.linalg.slogdet(q)[0] < 0:
            q[:, 0] = -q[:, 0]
        milder = iter(powers(q, [alpha for alpha in doses if alpha != 1]) if min(doses) < 1 else ())
        for i, alpha in enumerate(doses):
            view = View(inputs, q if alpha == 1 else next(milder), number, seed)
            for score in scores:
                statistics[score.name][i, number] = score.mean(view)
    return statistics


def dose_curve(test: RotationTest, doses: Sequence[float], values: np.ndarray, null: np.ndarray) -> list[RotationTest]:
    """The dose curve of a `test`, one row per alpha: the mean over `values` (doses, rotations), its interval from the
    spread of the rotations, and its p-values among the `null`.
    """
    rows = []
    for alpha, line in zip(doses, values, strict=True):
        mean = float(line.mean())
        comparison = compare_with_draws(mean, null, float(line.std(ddof=1) / np.sqrt(len(line))))
        rows.append(RotationTest.of(test.metric, replace(comparison, detectable_effect=None), test.n, float(alpha)))
    return rows


def rotation_test(
    inputs: Inputs,
    scores: Sequence[Scorer],
    options: RotationOptions | None = None,
    null: Mapping[str, np.ndarray] | None = None,
) -> list[RotationTest]:
    """The test of every score: p-values, effect, interval, detectable effect; behind each, the rows of its dose curve.

    null: statistics from `null_statistics`, by score; None: they are computed here. A score that cannot be computed (no
    labels, no judge, too few inputs) gives a test without figures, for which `unusable` gives the reason.
    """
    options = options or RotationOptions()
    seed, sign = options.seed, options.sign
    usable = [score for score in scores if not unusable(inputs, score)]
    draws = null if null is not None else null_statistics(inputs, usable, range(options.rotations), seed=seed)
    natural = natural_statistics(inputs, usable, seed=seed, sign=sign)
    spread, curve = {}, {}
    if options.subsamples:
        halves = [score for score in usable if len(inputs) // 2 >= score.least]
        spread = subsample_spread(inputs, halves, seed=seed, sign=sign, subsamples=options.subsamples)
    if len(options.doses):
        curve = dose_statistics(inputs, usable, seed=seed, doses=options.doses, rotations=options.dose_rotations)
    tests = []
    for score in scores:
        name = score.name
        if score not in usable:
            tests.append(RotationTest.without_figures(name, len(inputs)))
            continue
        test = RotationTest.of(name, compare_with_draws(natural[name], draws[name], spread.get(name)), len(inputs))
        tests.append(test)
        tests += dose_curve(test, options.doses, curve[name], draws[name]) if name in curve else []
    return tests


def unusable(inputs: Inputs, score: Scorer) -> str:
    """Why `score` cannot be computed from `inputs`, as a clause; empty if it can."""
    for part in score.metric.needs:
        if getattr(inputs, part) is None:
            return f"there are no {part}" if part == "labels" else f"there is no {part}"
    needed = least_inputs(score)
    return f"too few images ({len(inputs)}; {needed} are needed)" if len(inputs) < needed else ""


def least_inputs(score: Scorer) -> int:
    """Smallest number of inputs for a test of `score`: ten times the top K, at least 100."""
    return score.metric.least_tested(score.least)


def corrected(tests: Sequence[RotationTest]) -> list[RotationTest]:
    """The tests with Holm's correction over all tests with alpha 0."""
    p = [t.p_two if t.alpha == 0 and t.p_two is not None else np.nan for t in tests]
    adjusted = holm(np.asarray(p, dtype=np.float64))
    return [replace(t, p_holm=None if np.isnan(a) else float(a)) for t, a in zip(tests, adjusted, strict=True)]
