"""Judges of word lists, which use other text than the training of the vectors.

A panel has two judges: NPMI from held-out text, and an embedding trained on other text from another start. It scores
lists of top words, one list per line (one end of a direction); the statistic of a basis is the mean over its lines.

- ``npmi``: mean pairwise NPMI of the top K words, averaged over K = 5, 10, 15, 20 (Lau and Baldwin 2016). -
``npmi_matched``: that minus its expectation for random words of the same counts. Frequent words occur near all others,
so only this metric can be compared between raw and normalised vectors. - ``cosine``: mean pairwise cosine of the top 10
words in the independent embedding. - ``intrusion_npmi``, ``intrusion_cosine``: whether the intruder among the top 5 is
the word of the six that is least similar to the others (Chang et al. 2009, "Reading tea leaves"; chance 1/6). -
``dist_ratio``: mean distance of the top 5 to the intruder over their mean distance to each other, Euclidean between
unit vectors of the independent embedding (Sun et al. 2016, "Sparse word embeddings using l1 regularized online
learning").
"""

from dataclasses import dataclass

import numpy as np

from intriguing.basics.text.brief import brief
from intriguing.errors import DataError
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.judging.frequency import strata
from intriguing.words.text.cooccurrence import Cooccurrence, npmi_of_counts

TOP_WORDS = 20
LEAST_WORDS = 10 * TOP_WORDS
"""The fewest words that can be judged."""
CHANCE = 1 / 6
_COHERENCE_WORDS = (5, 10, 15, 20)
_COSINE_WORDS = 10
_INTRUSION_WORDS = 5
_INTRUSION_PAIRS = _INTRUSION_WORDS * (_INTRUSION_WORDS - 1) // 2
_PIECE = 1 << 20
_TRIES = 16
# A table of 64 MiB has the pairs of the most frequent words; the others are searched.
_DENSE = 4096
# Sorted by the second word, so that the pairs of the first K words come first.
_SECOND, _FIRST = np.tril_indices(TOP_WORDS, -1)


@dataclass(frozen=True)
class Panel:
    """The data of the judges for N words, in the order of falling held-out counts.

    `rows` (N,): the words' rows in the vectors under judgement; `counts` (N,): their held-out counts; `pairs` (Z,)
    int64 and `closeness` (Z,) float32: the pairs that the held-out text holds, as N i + j for i < j, sorted, then a
    sentinel, and their NPMI; `seen` (N N / 8,) uint8: a bit for each pair, set where the text holds it; `dense` (F, F)
    float32, upper triangle: NPMI of the F most frequent words; `unit` (N, E)
    float32: their vectors in the independent embedding, at unit length; `stratum` (N,) and `expected` (S, S): strata of
    like count, and the mean NPMI of random pairs between them; `left_out`: words of the vectors that a judge lacks.
    """

    __repr__ = brief

    words: tuple[str, ...]
    rows: np.ndarray
    counts: np.ndarray
    pairs: np.ndarray
    closeness: np.ndarray
    seen: np.ndarray
    dense: np.ndarray
    unit: np.ndarray
    stratum: np.ndarray
    expected: np.ndarray
    left_out: int

    def npmi(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """NPMI of the words `first` with the words `second` (equal shapes, no word with itself)."""
        side = len(self.dense)
        low, high = np.minimum(first, second), np.maximum(first, second)
        rare = high >= side
        values = np.full(np.shape(low), -1.0)
        values[~rare] = self.dense[low[~rare], high[~rare]]
        values[rare] = self._searched(low[rare], high[rare])
        return values

    def _searched(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        pairs = low * len(self.words) + high
        values = np.full(len(pairs), -1.0)
        # One bit separates the many pairs that are in no window from the few that must be searched.
        held = np.flatnonzero(self.seen[pairs >> 3] >> (pairs & 7).astype(np.uint8) & 1)
        # Searching in sorted order reads the table from start to end, which is several times faster.
        held = held[np.argsort(pairs[held])]
        values[held] = self.closeness[np.searchsorted(self.pairs, pairs[held])]
        return values


def build_panel(
    judged: WordVectors, held_out: Cooccurrence, independent: WordVectors, *, most: int | None = None
) -> Panel:
    """The panel for the words of `judged` that both judges know, the `most` frequent of them (None: all).

    Raises: `DataError` if fewer than `LEAST_WORDS` remain.
    """
    row = dict(zip(judged.words, range(len(judged.words)), strict=True))
    theirs = independent.rows_of(held_out.words)
    judged_by_both = np.array([word in row for word in held_out.words]) & (theirs >= 0)
    at = np.flatnonzero(judged_by_both)[:most]
    if len(at) < LEAST_WORDS:
        raise DataError(
            f"{len(at)} of {len(judged.words)} words are known to the held-out text ({len(held_out.words)} words) and "
            f"to the independent embedding ({len(independent.words)}); the judges need {LEAST_WORDS}. Give more "
            "text, of the same language and letter case, fewer folds, or a lower min_count."
        )
    pairs, closeness = _pairs_of(held_out, at)
    stratum = strata(held_out.occurrences[at])
    vectors = independent.vectors[theirs[at]].astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    words = tuple(held_out.words[i] for i in at.tolist())
    return Panel(
        words=words,
        rows=np.array([row[word] for word in words], np.int64),
        counts=held_out.occurrences[at],
        pairs=pairs,
        closeness=closeness,
        seen=_bits(pairs, len(at)),
        dense=_dense(pairs, closeness, len(at)),
        unit=(vectors / np.where(norms > 0, norms, 1.0)).astype(np.float32),
        stratum=stratum,
        expected=_expected(stratum, pairs, closeness),
        left_out=len(judged.words) - len(at),
    )


def _pairs_of(held_out: Cooccurrence, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of the words `at` that occur in the text, as `Panel.pairs`, and their NPMI; in pieces, for memory."""
    n = len(at)
    within = held_out.pairs if n == len(held_out.words) else held_out.pairs[at][:, at].tocsr()
    singles, row_sizes = held_out.singles[at], np.diff(within.indptr)
    pairs = np.append(np.repeat(np.arange(n, dtype=np.int64) * n, row_sizes), np.int64(n) * n)
    closeness = np.full(within.nnz + 1, -1.0, np.float32)
    for start in range(0, within.nnz, _PIECE):
        piece = slice(start, min(start + _PIECE, within.nnz))
        second = within.indices[piece]
        first = pairs[piece] // n
        closeness[piece] = npmi_of_counts(within.data[piece], singles[first], singles[second], held_out.windows)
        pairs[piece] += second
    return pairs, closeness


def _bits(pairs: np.ndarray, n: int) -> np.ndarray:
    """One bit for each pair of N words: N N / 8 bytes, of which only the half above the diagonal is used."""
    bits = np.zeros(n * n // 8 + 1, np.uint8)
    for start in range(0, len(pairs) - 1, _PIECE):
        piece = pairs[start : min(start + _PIECE, len(pairs) - 1)]
        byte, bit = piece >> 3, np.left_shift(np.uint8(1), (piece & 7).astype(np.uint8))
        heads = np.flatnonzero(np.concatenate([[True], byte[1:] != byte[:-1]]))
        bits[byte[heads]] |= np.bitwise_or.reduceat(bit, heads)
    return bits


def _dense(pairs: np.ndarray, closeness: np.ndarray, n: int) -> np.ndarray:
    side = min(n, _DENSE)
    table = np.full((side, side), -1.0, np.float32)
    last = int(np.searchsorted(pairs, side * n))
    first, second = np.divmod(pairs[:last], n)
    frequent = second < side
    table[first[frequent], second[frequent]] = closeness[:last][frequent]
    return table


def _expected(stratum: np.ndarray, pairs: np.ndarray, closeness: np.ndarray) -> np.ndarray:
    """The exact mean NPMI (S, S) over all pairs of different words, one of each of two strata."""
    n, sizes = len(stratum), np.bincount(stratum).astype(np.float64)
    many = len(sizes)
    sums = np.zeros(many * many)
    for start in range(0, len(pairs) - 1, _PIECE):
        piece = pairs[start : min(start + _PIECE, len(pairs) - 1)]
        cell = stratum[piece // n] * many + stratum[piece % n]
        sums += np.bincount(cell, closeness[start : start + len(piece)].astype(np.float64) + 1, many * many)
    sums = sums.reshape(many, many)
    sums = sums + sums.T
    pairs = np.outer(sizes, sizes) - np.diag(sizes)
    return sums / np.maximum(pairs, 1) - 1.0


def score(of: Panel, top: np.ndarray, intruders: np.ndarray, tie: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of `METRICS` for every line: (L,) float64 each.

    top: (L, 20), a line's top words, best first; intruders: (R, L), R intruders per line, over which the last three
    metrics are averaged; both are indices into the panel's words. tie: (R, L, 6), random numbers that decide between
    words of equal similarity (all unseen pairs have an NPMI of -1).
    """
    # Row-major copies, so that the order of addition within a line does not depend on the number of lines.
    first, second = np.take(top, _FIRST, axis=1), np.take(top, _SECOND, axis=1)
    likeness = of.npmi(first, second)
    excess = likeness - of.expected[of.stratum[first], of.stratum[second]]
    listed = top[:, :_INTRUSION_WORDS]
    vectors, foreign = of.unit[listed], of.unit[intruders]
    npmis, cosines = np.zeros((2, *listed.shape, _INTRUSION_WORDS))
    for pair, (b, a) in enumerate(zip(_SECOND[:_INTRUSION_PAIRS], _FIRST[:_INTRUSION_PAIRS], strict=True)):
        npmis[:, a, b] = npmis[:, b, a] = likeness[:, pair]
        cosines[:, a, b] = cosines[:, b, a] = (vectors[:, a] * vectors[:, b]).sum(axis=1)
    to_npmi = of.npmi(np.broadcast_to(listed, (*intruders.shape, _INTRUSION_WORDS)), intruders[:, :, None])
    to_cosine = np.stack([(foreign * vectors[:, a]).sum(axis=2) for a in range(_INTRUSION_WORDS)], axis=2)
    apart = np.flatnonzero(~np.eye(_INTRUSION_WORDS, dtype=bool))
    within = np.take(_distance(cosines).reshape(len(top), -1), apart, axis=1).mean(axis=1)
    return {
        "npmi": _coherence(likeness),
        "npmi_matched": _coherence(excess),
        "cosine": _mean_cosine(of.unit[top[:, :_COSINE_WORDS]]),
        "intrusion_npmi": intruder_found(npmis, to_npmi, tie).mean(axis=0),
        "intrusion_cosine": intruder_found(cosines, to_cosine, tie).mean(axis=0),
        "dist_ratio": (_distance(to_cosine.astype(np.float64)).mean(axis=2) / np.maximum(within, 1e-6)).mean(axis=0),
    }


def intruder_found(among: np.ndarray, foreign: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Whether the intruder has the lowest mean similarity to the other five of six words: (R, L) of 0 and 1.

    among: (L, 5, 5), similarities of the top words to each other, 0 on the diagonal; foreign: (R, L, 5), their
    similarities to the intruder; tie: (R, L, 6), random numbers; of equal words that of the lowest number is chosen.
    """
    others = np.concatenate([among.sum(axis=2) + foreign, foreign.sum(axis=2, keepdims=True)], axis=2)
    return (np.lexsort((tie, np.round(others, 6)), axis=-1)[..., 0] == foreign.shape[2]).astype(np.float64)


def _distance(cosine: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0))


def _coherence(pairs: np.ndarray) -> np.ndarray:
    return np.mean([pairs[:, : k * (k - 1) // 2].mean(axis=1) for k in _COHERENCE_WORDS], axis=0)


def _mean_cosine(vectors: np.ndarray) -> np.ndarray:
    total = vectors.sum(axis=1, dtype=np.float64)
    own = np.square(vectors, dtype=np.float64).reshape(len(vectors), -1).sum(axis=1)
    k = vectors.shape[1]
    return ((total * total).sum(axis=1) - own) / (k * (k - 1))


def draw_intruders(scores: np.ndarray, rng: np.random.Generator, draws: int = 1) -> np.ndarray:
    """Intruders for both ends of every direction: (draws, 2 M) row numbers of `scores`, first for the M upper ends.

    scores: (P, M), projections of a pool of P words on the M directions of a basis. A line's intruder is a random word
    of the top tenth of one end of a random other direction. Draws are repeated until the word is in the line's bottom
    half; after 16 draws the one with the lowest projection is used.
    """
    lines = np.ascontiguousarray(scores.T)
    many, pool = lines.shape
    tenth, half = max(1, pool // 10), pool // 2
    order = np.argpartition(lines, (tenth - 1, half - 1, half, pool - tenth), axis=1)
    far = np.stack([order[:, pool - tenth :], order[:, :tenth]])
    here = np.arange(many)
    middle = lines[here[:, None], order[:, [half - 1, half]]]
    shape = (draws, 2, many)
    # With only one direction the intruder comes from its other end.
    other = (here + rng.integers(1, many, size=shape)) % many if many > 1 else np.zeros(shape, np.int64)
    end = rng.integers(2, size=shape) if many > 1 else np.broadcast_to([[[1], [0]]], shape)
    tried = far[end[..., None], other[..., None], rng.integers(tenth, size=(*shape, _TRIES))]
    # Distance into the bottom half of its line, with the sign such that it is positive there for both ends.
    depth = lines[here[:, None], tried]
    depth = np.stack([middle[:, :1] - depth[:, 0], depth[:, 1] - middle[:, 1:]], axis=1)
    fits = depth >= 0
    choice = np.where(fits.any(axis=-1), fits.argmax(axis=-1), depth.argmax(axis=-1))
    return np.take_along_axis(tried, choice[..., None], axis=-1).reshape(draws, 2 * many)
