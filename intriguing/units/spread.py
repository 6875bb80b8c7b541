"""How the projections on many directions are spread: a histogram of each."""

from dataclasses import dataclass

import numpy as np

from intriguing.basics.text.brief import brief

BINS = 32
_AT_ONCE = 256


@dataclass(frozen=True)
class Spread:
    """A histogram of each of m directions, its bins equally wide from `low` to `high`."""

    __repr__ = brief

    low: np.ndarray
    """The smallest projection on each, float32 (m,)."""
    high: np.ndarray
    """The largest, float32 (m,)."""
    counts: np.ndarray
    """Inputs per bin, int32 (m, bins). Where all projections are equal, the first bin has them."""
    zeros: np.ndarray
    """Inputs whose projection is exactly 0, int64 (m,)."""


def spread(vectors: np.ndarray, columns: np.ndarray | None = None, bins: int = BINS) -> Spread:
    """How the projections of `vectors`, float32 (n, dim) with n > 0, on the `columns` (dim, m) are spread.

    Without `columns` each unit is counted by itself.
    """
    parts = []
    count = vectors.shape[1] if columns is None else columns.shape[1]
    for start in range(0, count, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        parts.append(_counted(vectors[:, part] if columns is None else vectors @ columns[:, part], bins))
    return Spread(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("low", "high", "counts", "zeros")))


def _counted(values: np.ndarray, bins: int) -> Spread:
    """The histograms of the columns of `values` (n, m)."""
    low, high = values.min(axis=0), values.max(axis=0)
    width = np.where(high > low, high.astype(np.float64) - low, 1.0)
    place = np.minimum((values - low.astype(np.float64)) / width * bins, bins - 1).astype(np.int64)
    place += np.arange(values.shape[1]) * bins
    counts = np.bincount(place.ravel(), minlength=values.shape[1] * bins).reshape(-1, bins)
    return Spread(low, high, counts.astype(np.int32), (values == 0).sum(axis=0))
