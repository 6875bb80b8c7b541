"""Corrections for many tests at once."""

import numpy as np

from intriguing.errors import InputError


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values of `p` (n,), which control the family-wise error rate. NaN stays NaN and does not count
    as a test.

    Source: Holm (1979), Scand. J. Statist. 6, 65-70. Raises: `InputError` outside [0, 1].
    """
    values = _checked(p)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    stepped = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1))
    adjusted = np.full(values.shape, np.nan)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values along the last axis of `p` (..., n), which control the false discovery rate. NaN stays NaN and
    does not count as a test.

    Source: Benjamini and Hochberg (1995), J. R. Statist. Soc. B 57, 289-300. Raises: `InputError` outside [0, 1].
    """
    values = _checked(p)
    tests = np.count_nonzero(~np.isnan(values), axis=-1, keepdims=True)
    order = np.argsort(values, axis=-1, kind="stable")  # NaN comes last
    scaled = np.take_along_axis(values, order, axis=-1) * (tests / np.arange(1, values.shape[-1] + 1))
    stepped = np.fmin.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1]
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=-1)
    return np.where(np.isnan(values), np.nan, adjusted)


def _checked(p: np.ndarray) -> np.ndarray:
    values = np.asarray(p, dtype=np.float64)
    if ((values < 0) | (values > 1)).any():
        wrong = values[(values < 0) | (values > 1)]
        raise InputError(f"p-values lie between 0 and 1, not such as {wrong[0]:g}.")
    return values
