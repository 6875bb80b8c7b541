"""Corrections for many tests at once."""

import numpy as np

from intriguing.errors import InputError


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values of `p` (n,): the chance of any false rejection is held (Holm 1979). NaN stays NaN."""
    values = _checked(p)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    stepped = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1))
    adjusted = np.full(values.shape, np.nan)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values along the last axis of `p`: the false discovery rate is held (Benjamini and Hochberg 1995)."""
    values = _checked(p)
    n = values.shape[-1]
    order = np.argsort(values, axis=-1, kind="stable")
    scaled = np.take_along_axis(values, order, axis=-1) * (n / np.arange(1, n + 1))
    stepped = np.minimum.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1]
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=-1)
    return adjusted


def _checked(p: np.ndarray) -> np.ndarray:
    values = np.asarray(p, dtype=np.float64)
    if ((values < 0) | (values > 1)).any():
        raise InputError("p-values lie between 0 and 1.")
    return values
