"""How much of one class a direction's top inputs are (U1): purity, entropy, enrichment.

n_c is how many of a direction's top K are of class c. Purity is the field's usual figure; enrichment asks of each class
whether it is there more often than a random draw would have it, and so does not mind unequal classes.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from intriguing.brief import brief
from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.units.multiple import benjamini_hochberg


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """n_c: how often each class is among the last axis of `labels` (..., K): (..., classes)."""
    given = np.asarray(labels)
    if given.size and (given.min() < 0 or given.max() >= classes):
        raise InputError(
            f"Labels of {classes} classes lie from 0 to {classes - 1}, not {given.min()} to {given.max()}."
        )
    lines = given.reshape(-1, given.shape[-1])
    flat = (np.arange(len(lines))[:, None] * classes + lines).ravel()
    return np.bincount(flat, minlength=len(lines) * classes).reshape(*given.shape[:-1], classes)


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
        drawn = np.arange(k + 1)
        return cls(np.stack([stats.hypergeom.sf(drawn - 1, total, int(size), k) for size in sizes]))

    def p_values(self, counts: np.ndarray) -> np.ndarray:
        """For each direction and class, `counts` (..., classes): P(Hypergeometric >= n_c), not yet corrected."""
        return self.table[np.arange(counts.shape[-1]), counts]

    def best(self, counts: np.ndarray) -> np.ndarray:
        """Each direction's smallest p-value, with Bonferroni's correction over the classes: (...)."""
        return np.minimum(self.p_values(counts).min(axis=-1) * counts.shape[-1], 1.0)

    def enriched(self, counts: np.ndarray, level: float = 0.05) -> np.ndarray:
        """Which directions (..., directions) are enriched in some class, of `counts` (..., directions, classes):
        Bonferroni over the classes, then Benjamini and Hochberg over the directions of a basis at `level`.
        """
        return benjamini_hochberg(self.best(counts)) <= level

    def distinct(self, counts: np.ndarray, level: float = 0.05) -> np.ndarray:
        """D_uniq (...): how many classes are the most enriched one of some enriched direction of a basis.

        The label analogue of Network Dissection's "unique detectors".
        """
        top = self.p_values(counts).argmin(axis=-1)
        named = (top[..., None] == np.arange(counts.shape[-1])) & self.enriched(counts, level)[..., None]
        return named.any(axis=-2).sum(axis=-1)


def chance(sizes: np.ndarray, k: int, *, draws: int = 10_000, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of purity and entropy of `k` random inputs of classes of these `sizes`.

    By `draws` of the multivariate hypergeometric distribution.
    """
    drawn = generator(seed, "chance purity").multivariate_hypergeometric(np.asarray(sizes, dtype=np.int64), k, draws)
    return {
        name: (float(score(drawn).mean()), float(score(drawn).std()))
        for name, score in [("purity", purity), ("entropy", entropy)]
    }


def shuffled(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """The control: the same `labels` in a random order that has nothing to do with the inputs."""
    return np.asarray(labels)[generator(seed, "shuffled labels").permutation(len(labels))]


def _share(counts: np.ndarray) -> np.ndarray:
    given = np.asarray(counts, dtype=np.float64)
    total = given.sum(axis=-1, keepdims=True)
    return np.divide(given, total, out=np.full(given.shape, np.nan), where=total > 0)
