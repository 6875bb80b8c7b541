"""How much of one class a direction's top inputs are (U1): purity, entropy, enrichment.

n_c is how many of a direction's top K are of class c. Purity is the field's usual figure; enrichment asks of each class
whether it is there more often than a random draw would have it, and so does not mind unequal classes.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from intriguing.basics.brief import brief
from intriguing.errors import InputError
from intriguing.stats.findings import LEVEL
from intriguing.stats.multiple import benjamini_hochberg


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """n_c: how often each class is among the last axis of `labels` (..., K): (..., classes)."""
    values = np.asarray(labels)
    if values.size and (values.min() < 0 or values.max() >= classes):
        raise InputError(
            f"Labels of {classes} classes lie from 0 to {classes - 1}, not {values.min()} to {values.max()}."
        )
    lines = values.reshape(-1, values.shape[-1])
    flat = (np.arange(len(lines))[:, None] * classes + lines).ravel()
    return np.bincount(flat, minlength=len(lines) * classes).reshape(*values.shape[:-1], classes)


def purity(counts: np.ndarray) -> np.ndarray:
    """max_c n_c / K of `counts` (..., classes): from 1 / min(K, classes) to 1. NaN where nothing was counted."""
    return _share(counts).max(axis=-1)


def entropy(counts: np.ndarray) -> np.ndarray:
    """-sum_c (n_c / K) log(n_c / K) / log(classes) of `counts` (..., classes): 0 for one class, 1 for all alike."""
    share = _share(counts)
    terms = share * np.log(np.where(share > 0, share, 1.0))
    return np.abs(terms.sum(axis=-1)) / np.log(max(counts.shape[-1], 2))


@dataclass(frozen=True)
class Enrichment:
    """The chance that K inputs drawn without replacement hold class c at least n_c times, for every c and n_c.

    Built once from the classes' sizes; a whole basis is then a look-up.
    """

    __repr__ = brief

    table: np.ndarray
    """P(n_c or more), (classes, K + 1)."""

    @classmethod
    def of(cls, sizes: np.ndarray, k: int) -> "Enrichment":
        """For classes of these `sizes` (classes,) and the top `k` of all their inputs."""
        total = int(np.sum(sizes))
        if not 0 < k <= total:
            raise InputError(f"The top {k} of {total} inputs cannot be drawn.")
        hits = np.arange(k + 1)
        return cls(np.stack([stats.hypergeom.sf(hits - 1, total, int(size), k) for size in sizes]))

    def p_values(self, counts: np.ndarray) -> np.ndarray:
        """For each direction and class, `counts` (..., classes): P(Hypergeometric >= n_c), not yet corrected."""
        return self.table[np.arange(counts.shape[-1]), counts]

    def best(self, counts: np.ndarray) -> np.ndarray:
        """Each direction's smallest p-value, with Bonferroni's correction over the classes: (...)."""
        return np.minimum(self.p_values(counts).min(axis=-1) * counts.shape[-1], 1.0)

    def enriched(self, counts: np.ndarray, level: float = LEVEL) -> np.ndarray:
        """Which directions (..., directions) are enriched in some class, of `counts` (..., directions, classes):
        Bonferroni over the classes, then Benjamini and Hochberg over the directions of a basis at `level`.
        """
        return benjamini_hochberg(self.best(counts)) <= level

    def distinct(self, counts: np.ndarray, level: float = LEVEL) -> np.ndarray:
        """D_uniq (...): how many classes are the most enriched one of some enriched direction of a basis.

        The label analogue of Network Dissection's "unique detectors".
        """
        top = self.p_values(counts).argmin(axis=-1)
        named = (top[..., None] == np.arange(counts.shape[-1])) & self.enriched(counts, level)[..., None]
        return named.any(axis=-2).sum(axis=-1)


def _share(counts: np.ndarray) -> np.ndarray:
    numbers = np.asarray(counts, dtype=np.float64)
    total = numbers.sum(axis=-1, keepdims=True)
    return np.divide(numbers, total, out=np.full(numbers.shape, np.nan), where=total > 0)
