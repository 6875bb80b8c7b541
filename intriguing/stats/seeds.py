"""Differences that are paired by seed: two ways to train, each with the same seeds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from intriguing.errors import InputError


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference over seeds, as Student's t of the paired differences has it."""

    mean: float
    low: float | None
    """Lower end of the interval; None with fewer than two seeds."""
    high: float | None
    """Upper end."""
    p: float | None
    """The two-sided p-value of no difference; None with fewer than two seeds."""
    n: int
    """How many seeds."""


def paired_difference(one: npt.ArrayLike, other: npt.ArrayLike, level: float = 0.95) -> PairedDifference:
    """`one` minus `other`, each (n,), entries of the same seed side by side.

    Differences that are all equal leave an interval of no width; their p-value is 0, or 1 where they are zero.
    A sign-flip test would assume less, but with 5 seeds its smallest p-value is 0.06.

    Raises `InputError` for different lengths, no seeds, or a value that is not finite.
    """
    a, b = (np.asarray(values, np.float64).ravel() for values in (one, other))
    if len(a) != len(b) or not len(a):
        raise InputError(f"Differences paired by seed need as many values on both sides; given {len(a)} and {len(b)}.")
    differences = a - b
    if not np.isfinite(differences).all():
        raise InputError("Differences paired by seed were asked of values that are not finite: leave those seeds out.")
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return PairedDifference(mean, None, None, None, n)
    error = float(differences.std(ddof=1)) / n**0.5
    if error <= 1e-12 * max(abs(mean), 1e-300):
        return PairedDifference(mean, mean, mean, 0.0 if mean else 1.0, n)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return PairedDifference(mean, mean - half, mean + half, p, n)


def mean_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of (n,) values over seeds and Student's interval of it; the ends are the mean with fewer than two."""
    array = np.asarray(values, np.float64).ravel()
    against_zero = paired_difference(array, np.zeros_like(array), level)
    low = against_zero.mean if against_zero.low is None else against_zero.low
    high = against_zero.mean if against_zero.high is None else against_zero.high
    return against_zero.mean, low, high
