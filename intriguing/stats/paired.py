"""Two answers to each of the same questions: the exact test of paired counts."""

import numpy as np
import numpy.typing as npt

from intriguing.errors import InputError


def mcnemar(only_first: npt.ArrayLike, only_second: npt.ArrayLike) -> np.ndarray:
    """The exact two-sided p-value of McNemar's test, for arrays of counts of any shapes that broadcast.

    only_first, only_second: of the pairs whose two answers differ, in how many the first is the error and in how many
    the second. Pairs that agree say nothing. Without a pair that differs p is 1. Given their number, only_first is
    binomial with chance 1/2 if there is no difference. Source: McNemar (1947), Psychometrika 12, 153-157.

    Raises `InputError` for counts below zero or that are not whole.
    """
    from scipy.stats import binom  # half a second of imports, which reading a run need not pay

    first, second = np.broadcast_arrays(np.asarray(only_first), np.asarray(only_second))
    if any((counts < 0).any() or (counts != np.floor(counts)).any() for counts in (first, second)):
        raise InputError("McNemar's test takes whole counts of at least 0.")
    return np.minimum(1.0, 2 * binom.cdf(np.minimum(first, second), first + second, 0.5))
