"""Control for word frequency.

Frequent words have long vectors and occur near all other words, so the top words of all directions of raw vectors look
similar. To allow for this, this module forms strata of words of similar counts, draws random words from the same
strata, and measures how the norms of vectors depend on counts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from intriguing.basics.text.brief import brief
from intriguing.errors import InputError

STRATUM_WORDS = 40


def strata(counts: np.ndarray, smallest: int = STRATUM_WORDS) -> np.ndarray:
    """The stratum (N,) int64, from 0 for the most frequent, of words with `counts` (N,).

    A stratum spans a factor of two in count, and more where it would hold fewer than `smallest` words.
    """
    counts = np.asarray(counts, np.int64)
    order = np.argsort(-counts, kind="stable")
    octave = np.floor(np.log2(np.maximum(counts[order], 1))).astype(np.int64)
    starts = [0]
    for position in np.flatnonzero(np.diff(octave)) + 1:
        if position - starts[-1] >= smallest:
            starts.append(int(position))
    if len(starts) > 1 and len(counts) - starts[-1] < smallest:
        starts.pop()
    stratum = np.empty(len(counts), np.int64)
    stratum[order] = np.searchsorted(starts, np.arange(len(counts)), side="right") - 1
    return stratum


def matched_draws(stratum: np.ndarray, sets: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Random sets (draws, L, K) in place of `sets` (L, K): words of the same strata, no word twice in a set.

    stratum: (N,), that of each word. Raises: `InputError` if a stratum has too few words for a set.
    """
    members = np.argsort(stratum, kind="stable")
    sizes = np.bincount(stratum)
    starts = np.cumsum(sizes) - sizes
    strata_of_sets = stratum[sets]
    needed = np.max([np.bincount(row, minlength=len(sizes)) for row in strata_of_sets], axis=0)
    if (needed > sizes).any():
        raise InputError("A stratum holds fewer words than a set takes from it. Use larger strata or fewer words.")
    words = np.empty((draws, *sets.shape), np.int64)
    redraw = np.ones(words.shape, bool)
    while redraw.any():
        which = np.broadcast_to(strata_of_sets, words.shape)[redraw]
        words[redraw] = members[starts[which] + rng.integers(sizes[which])]
        order = np.argsort(words, axis=-1, kind="stable")
        repeats = np.diff(np.take_along_axis(words, order, axis=-1), axis=-1, prepend=-1) == 0
        redraw = np.zeros(words.shape, bool)
        np.put_along_axis(redraw, order, repeats, axis=-1)
    return words


@dataclass(frozen=True)
class NormCount:
    """How the norms of vectors follow their words' counts.

    `spearman`: the rank correlation over `n` words, with its two-sided `p`. Per stratum (S,): `count_low`,
    `count_high`, `words`, and the 10 %, 50 % and 90 % quantiles of the norm, `low`, `median`, `high`.
    """

    __repr__ = brief

    spearman: float
    p: float
    n: int
    count_low: np.ndarray
    count_high: np.ndarray
    words: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


def norm_count(vectors: np.ndarray, counts: np.ndarray) -> NormCount:
    """The relation of the norms of `vectors` (N, D) to the `counts` (N,), over the words with a count above 0.

    Raises: `InputError` if these are fewer than 3.
    """
    counted = np.flatnonzero(counts > 0)
    if len(counted) < 3:
        raise InputError(f"{len(counted)} of {len(counts)} words have a count: take counts from a corpus first.")
    norms, counts_known = np.linalg.norm(vectors[counted].astype(np.float64), axis=1), counts[counted]
    varied = np.ptp(norms) > 0 and np.ptp(counts_known) > 0
    result: Any = stats.spearmanr(norms, counts_known) if varied else (np.nan, np.nan)
    groups = strata(counts_known)
    inside = [groups == g for g in range(groups.max() + 1)]
    quantiles = np.array([np.quantile(norms[i], [0.1, 0.5, 0.9]) for i in inside])
    return NormCount(
        spearman=float(result[0]),
        p=float(result[1]),
        n=len(counted),
        count_low=np.array([counts_known[i].min() for i in inside]),
        count_high=np.array([counts_known[i].max() for i in inside]),
        words=np.array([i.sum() for i in inside]),
        low=quantiles[:, 0],
        median=quantiles[:, 1],
        high=quantiles[:, 2],
    )
