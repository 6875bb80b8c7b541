"""Scores of the labels of a direction's top inputs: purity, entropy, enrichment.

n_c is the number of a direction's top K inputs of class c. Purity is the usual score. Enrichment tests for each class
whether n_c is larger than in a random draw, so it allows for classes of unequal sizes.
"""

from dataclasses import dataclass

import numpy as np

from intriguing.basics.text.brief import brief
from intriguing.errors import InputError
from intriguing.stats.findings import LEVEL
from intriguing.stats.multiple import benjamini_hochberg


def numbered(labels: np.ndarray, among: np.ndarray | None = None) -> tuple[np.ndarray, int]:
    """`labels` (...) as numbers from 0 of the classes that occur in `among` (default: in themselves), and how many do.

    A class that no input has is no hypothesis and no outcome. It would cost every other class a part of its chance in
    `Enrichment`, and `entropy` a part of its range. (Tarone 1990, Biometrics 46, 515-522: a test that cannot be
    significant needs no place in Bonferroni's correction.) Each of the `labels` has to occur in `among`.
    """
    classes = np.unique(labels if among is None else among)
    return np.searchsorted(classes, labels), len(classes)


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """n_c (..., classes): number of entries of each class along the last axis of `labels` (..., K)."""
    values = np.asarray(labels)
    if values.size and (values.min() < 0 or values.max() >= classes):
        raise InputError(
            f"Labels of {classes} classes lie from 0 to {classes - 1}, not {values.min()} to {values.max()}."
        )
    lines = values.reshape(-1, values.shape[-1])
    flat = (np.arange(len(lines))[:, None] * classes + lines).ravel()
    return np.bincount(flat, minlength=len(lines) * classes).reshape(*values.shape[:-1], classes)


def purity(counts: np.ndarray) -> np.ndarray:
    """max_c n_c / K of `counts` (..., classes): from 1 / min(K, classes) to 1; NaN where all counts are 0."""
    return _share(counts).max(axis=-1)


def entropy(counts: np.ndarray) -> np.ndarray:
    """-sum_c (n_c / K) log(n_c / K) / log(classes) of `counts` (..., classes): 0 for one class, 1 for equal counts.

    Give counts of classes that occur (`numbered`): no others can be among the top K.
    """
    share = _share(counts)
    terms = share * np.log(np.where(share > 0, share, 1.0))
    return np.abs(terms.sum(axis=-1)) / np.log(max(counts.shape[-1], 2))


@dataclass(frozen=True)
class Enrichment:
    """Table of the probability that K inputs drawn without replacement contain class c at least n_c times.

    It is built once from the sizes of the classes; the p-values of a basis are then read from the table.
    """

    __repr__ = brief

    table: np.ndarray
    """P(n_c or more), (classes, K + 1)."""

    @classmethod
    def of(cls, sizes: np.ndarray, k: int) -> "Enrichment":
        """For classes of these `sizes` (classes,) and the top `k` of all their inputs."""
        from scipy.stats import hypergeom  # a second of imports, which collecting and scanning need not pay

        total = int(np.sum(sizes))
        if not 0 < k <= total:
            raise InputError(f"The top {k} of {total} inputs cannot be drawn.")
        hits = np.arange(k + 1)
        return cls(np.stack([hypergeom.sf(hits - 1, total, int(size), k) for size in sizes]))

    def p_values(self, counts: np.ndarray) -> np.ndarray:
        """For each direction and class, `counts` (..., classes): P(Hypergeometric >= n_c), not yet corrected."""
        return self.table[np.arange(counts.shape[-1]), counts]

    def best(self, counts: np.ndarray) -> np.ndarray:
        """The smallest p-value of each direction (...), with Bonferroni's correction over the classes."""
        return np.minimum(self.p_values(counts).min(axis=-1) * counts.shape[-1], 1.0)

    def enriched(self, counts: np.ndarray, level: float = LEVEL) -> np.ndarray:
        """Mask (..., directions) of the directions that are enriched in some class; counts: (..., directions, classes).

        Bonferroni's correction over the classes, then that of Benjamini and Hochberg over a basis at `level`.
        """
        return benjamini_hochberg(self.best(counts)) <= level

    def distinct(self, counts: np.ndarray, level: float = LEVEL) -> np.ndarray:
        """D_uniq (...): number of classes that are the most enriched class of at least one enriched direction.

        The label analogue of Network Dissection's "unique detectors".
        """
        top = self.p_values(counts).argmin(axis=-1)
        named = (top[..., None] == np.arange(counts.shape[-1])) & self.enriched(counts, level)[..., None]
        return named.any(axis=-2).sum(axis=-1)


def _share(counts: np.ndarray) -> np.ndarray:
    numbers = np.asarray(counts, dtype=np.float64)
    total = numbers.sum(axis=-1, keepdims=True)
    return np.divide(numbers, total, out=np.full(numbers.shape, np.nan), where=total > 0)
