"""Intervals for error rates."""

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from intriguing.errors import InputError


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
