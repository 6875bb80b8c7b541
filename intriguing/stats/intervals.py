"""Intervals for error rates and medians."""

from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from intriguing.errors import InputError

_COUNTED = 10_000
"""Up to so many values the rank of a median's interval is counted in whole numbers, which takes milliseconds."""


def wilson(k: npt.ArrayLike, n: npt.ArrayLike, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The Wilson score interval of a proportion: `k` errors among `n` inputs, arrays of any shapes that broadcast.

    Returns (low, high), float64 fractions in [0, 1]; NaN where n is 0. Unlike the normal interval it is never empty or
    outside [0, 1], also for 0 or n errors. Source: Wilson (1927), J. Amer. Statist. Assoc. 22, 209-212.

    Raises `InputError` unless 0 <= k <= n and 0 < level < 1.
    """
    if not 0 < level < 1:
        raise InputError(f"An interval of level {level} was asked for: give a level between 0 and 1, such as 0.95.")
    errors, count = np.broadcast_arrays(np.asarray(k, np.float64), np.asarray(n, np.float64))
    if not ((errors >= 0) & (errors <= count)).all():
        raise InputError("Each k must lie between 0 and its n: k errors among n inputs.")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = errors / count
        centre = p + z * z / (2 * count)
        half = z * np.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
        low, high = ((centre - half) / (1 + z * z / count), (centre + half) / (1 + z * z / count))
    # In exact arithmetic these ends are 0 and 1; rounding would leave them just inside or outside.
    low = np.where(errors == 0, np.where(count > 0, 0.0, np.nan), low)
    return low, np.where((errors == count) & (count > 0), 1.0, high)


def median_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a median, by order statistics: no assumption but that the (n,) `values` are independent.

    Returns (low, high), two of the values; (-inf, inf) where so few values (5 or fewer, for 95 %) decide nothing. Its
    coverage is at least `level`. Source: Conover (1999), Practical Nonparametric Statistics, section 3.2.

    Raises `InputError` unless 0 < level < 1, or for NaN.
    """
    if not 0 < level < 1:
        raise InputError(f"An interval of level {level} was asked for: give a level between 0 and 1, such as 0.95.")
    ordered = np.sort(np.asarray(values, np.float64).ravel())
    if np.isnan(ordered).any():
        raise InputError("A median's interval was asked of values with NaN: leave these out.")
    k = _rank(len(ordered), (1 - level) / 2)
    return (float(ordered[k - 1]), float(ordered[-k])) if k > 0 else (-np.inf, np.inf)


@lru_cache(4096)
def _rank(n: int, tail: float) -> int:
    """The largest k with P(X < k) <= `tail` for a binomial X of `n` trials with chance 1/2."""
    if n > _COUNTED:
        from scipy.special import bdtr  # a fifth of a second to import, which a command need not pay

        k, above = 0, n + 1
        while above - k > 1:
            middle = (k + above) // 2
            k, above = (middle, above) if bdtr(middle - 1, n, 0.5) <= tail else (k, middle)
        return k
    # In whole numbers: of the 2 ** n outcomes, those with fewer than k successes.
    most = int(Fraction(tail) * 2**n)
    k, ways, fewer = 0, 1, 0
    while fewer + ways <= most:
        fewer += ways
        ways = ways * (n - k) // (k + 1)
        k += 1
    return k


def newcombe(
    k: npt.ArrayLike, n: npt.ArrayLike, other_k: npt.ArrayLike, other_n: npt.ArrayLike, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of the difference k / n - other_k / other_n of two independent proportions.

    Arrays of any shapes that broadcast. Returns (low, high), float64 in [-1, 1]; NaN where an n is 0. It is made of the
    two Wilson intervals, so it holds for few inputs and for 0 or n errors too. Source: Newcombe (1998), Statistics in
    Medicine 17, 873-890, method 10.

    Raises `InputError` as `wilson`.
    """
    first, second = wilson(k, n, level), wilson(other_k, other_n, level)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.asarray(k, np.float64) / np.asarray(n, np.float64)
        q = np.asarray(other_k, np.float64) / np.asarray(other_n, np.float64)
    below = np.hypot(p - first[0], second[1] - q)
    above = np.hypot(first[1] - p, q - second[0])
    return p - q - below, p - q + above
