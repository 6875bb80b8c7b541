"""Correlation of ranks."""

import numpy as np
import numpy.typing as npt

from intriguing.errors import InputError


def spearman(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Spearman's rank correlation of two (n,) arrays, ties with their mean rank; NaN where one of them is constant.

    Source: Spearman (1904), American Journal of Psychology 15, 72-101. Raises `InputError` for different lengths.
    """
    from scipy.stats import rankdata  # half a second of imports, which a spec and a command need not pay

    first, second = (rankdata(np.asarray(values, np.float64).ravel()) for values in (one, other))
    if len(first) != len(second):
        raise InputError(
            f"A rank correlation needs as many values on both sides; given {len(first)} and {len(second)}."
        )
    if not len(first) or not (spread := first.std() * second.std()):
        return float("nan")
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread)
