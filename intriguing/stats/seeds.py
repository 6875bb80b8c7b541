"""Differences that are paired by seed: two ways to train, each with the same seeds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intriguing.errors import InputError

_ROUNDING = 1e-12
"""A spread below this share of the largest value is rounding."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference over seeds, as Student's t of the paired differences has it."""

    mean: float
    low: float | None
    """Lower end of the interval; None where it cannot be told: with fewer than two seeds, or where all differences are
    equal."""
    high: float | None
    """Upper end."""
    p: float | None
    """The two-sided p-value of no difference; None where there is no interval."""
    n: int
    """How many seeds."""

    @property
    def interval(self) -> tuple[float, float, float]:
        """The mean and the ends of its interval; where it has none, its ends are the mean."""
        return self.mean, self.mean if self.low is None else self.low, self.mean if self.high is None else self.high


def paired_difference(one: npt.ArrayLike, other: npt.ArrayLike, level: float = 0.95) -> PairedDifference:
    """`one` minus `other`, each (n,), entries of the same seed side by side.

    Differences that are all equal, such as two seeds that gain the same three images, say nothing of their spread: they
    leave no interval and no p-value, rather than an interval of no width. A sign-flip test would assume less, but with
    5 seeds its smallest p-value is 0.06.

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
    if error <= _ROUNDING * max(np.abs(a).max(), np.abs(b).max()):
        return PairedDifference(mean, None, None, None, n)
    from scipy.special import stdtr, stdtrit  # scipy.stats takes half a second to import, which `show` need not pay

    half = float(stdtrit(n - 1, 0.5 + level / 2)) * error
    p = float(2 * stdtr(n - 1, -abs(mean) / error))
    return PairedDifference(mean, mean - half, mean + half, p, n)


def mean_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of (n,) values over seeds and Student's interval of it; where it has none, its ends are the mean."""
    array = np.asarray(values, np.float64).ravel()
    return paired_difference(array, np.zeros_like(array), level).interval
