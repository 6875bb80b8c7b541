"""Count the words that occur near each other, and compute NPMI.

Each running word ends one window: it and the words before it, at most `width` in all, within its sentence. A window
counts a word, or a pair of words, at most once.

Source: Roeder, Both and Hinneburg 2015, "Exploring the space of topic coherence measures" (Boolean sliding window).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from intriguing.basics.text.brief import brief
from intriguing.errors import DataError, InputError
from intriguing.words.packing import pack, pack_strings, unpack, unpack_strings
from intriguing.words.text.corpus import Corpus

WINDOW = 10
_CHUNK = 1 << 20
# Half of all pairs are of the most frequent words: a small dense table counts them without sorting.
_DENSE = 2048


@dataclass(frozen=True)
class Cooccurrence:
    """In how many of `windows` windows each word and each pair of words occurs.

    `words` (V,) by falling count; `occurrences` (V,) int64, running words; `singles` (V,) int64, windows with the
    word; `pairs` (V, V) CSR of integers, upper triangle, windows with both; `unmatched`: words asked for that the text
    lacks or has too rarely.
    """

    __repr__ = brief

    words: tuple[str, ...]
    occurrences: np.ndarray
    singles: np.ndarray
    pairs: sparse.csr_array
    windows: int
    unmatched: int = 0

    def together(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Number of windows with both words; first, second: indices of equal shapes, no word with itself."""
        if not first.size:
            return np.zeros(first.shape, np.int64)
        low, high = np.minimum(first, second).ravel(), np.maximum(first, second).ravel()
        return np.asarray(self.pairs[low, high]).reshape(first.shape)

    def to_bytes(self) -> bytes:
        """The counts as safetensors bytes, for a store; `from_bytes` reads them back."""
        arrays = {"occurrences": self.occurrences, "singles": self.singles, "data": self.pairs.data}
        arrays |= {"indices": self.pairs.indices, "indptr": self.pairs.indptr} | pack_strings("words", self.words)
        return pack(arrays, {"windows": str(self.windows), "unmatched": str(self.unmatched)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Cooccurrence":
        """The counts that `to_bytes` wrote. Raises: `DataError` for other bytes."""
        arrays, notes = unpack(data, "co-occurrence", ("occurrences", "singles", "data", "indices", "indptr"))
        words = unpack_strings("words", arrays)
        pairs = sparse.csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), (len(words), len(words)))
        pairs.has_canonical_format = True
        singles, unmatched = arrays["singles"], int(notes["unmatched"])
        return cls(words, arrays["occurrences"], singles, pairs, int(notes["windows"]), unmatched)


def count_windows(
    corpus: Corpus, words: Sequence[str], *, width: int = WINDOW, min_count: int = 5, chunk: int = _CHUNK
) -> Cooccurrence:
    """Count the windows of `width` words of `corpus` that hold each of `words`, and each pair of them.

    Words that occur fewer than `min_count` times in this text are left out and counted in `unmatched`, because so few
    occurrences are not enough for an estimate. The text is processed in chunks of `chunk` running words. Memory: the
    pairs of a chunk (`width` - 1 numbers of 8 bytes per word) and the result.

    Raises: `DataError` if fewer than 2 words remain.
    """
    if not 2 <= width <= 1 << 8:
        raise InputError(f"width={width}: a window holds 2 to 256 words.")
    number_of = {word: i for i, word in enumerate(corpus.words)}
    numbers = np.array([number_of.get(word, -1) for word in words], np.int64)
    counts = corpus.counts()
    rows = np.flatnonzero((numbers >= 0) & (counts[numbers] >= min_count))
    rows = rows[np.argsort(-counts[numbers[rows]], kind="stable")]
    if len(rows) < 2:
        raise DataError(
            f"Of {len(words)} words {len(rows)} occur at least {min_count} times in the {len(corpus)} words of "
            f"{corpus.name!r} that are to judge them. Give more text, of the same language and letter case."
        )
    renumber = np.full(len(corpus.words), -1, np.int64)
    renumber[numbers[rows]] = np.arange(len(rows))
    size = len(rows)
    rare = sparse.csr_array((size, size), dtype=np.int64)
    dense = np.zeros(min(size, _DENSE) ** 2)
    singles = np.zeros(size, np.int64)
    for start in range(0, len(corpus), chunk):
        ids, room = _stretch(corpus, renumber, start, chunk, width)
        own = min(chunk, len(corpus) - start)
        reach = np.minimum(room, _next_same(ids, width))
        counted = ids[:own] >= 0
        singles += np.bincount(ids[:own][counted], reach[:own][counted], size).astype(np.int64)
        rare = rare + _pairs_of(ids, reach, own, width, size, dense)
    side = min(size, _DENSE)
    frequent = sparse.csr_array(dense.reshape(side, side).astype(np.int64))
    frequent.resize((size, size))
    pairs = sparse.csr_array(rare + frequent)
    if pairs.nnz == 0 or pairs.data.max() < 2**31:
        pairs.data = pairs.data.astype(np.int32)
    kept_words = tuple(str(words[i]) for i in rows.tolist())
    return Cooccurrence(kept_words, counts[numbers[rows]], singles, pairs, len(corpus), len(words) - size)


def _stretch(corpus: Corpus, renumber: np.ndarray, start: int, chunk: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a chunk's words and of the 2 x width words after it (-1: not counted), and for each the number of
    words from it to the end of its sentence, at most `width`.
    """
    stop = min(len(corpus), start + chunk + 2 * width)
    ids = renumber[corpus.tokens[start:stop]]
    room = np.full(stop - start, width, np.int64)
    ends = corpus.ends[(corpus.ends > start) & (corpus.ends < stop + width)] - start
    for back in range(1, width):
        at = ends - back
        at = at[(at >= 0) & (at < len(room))]
        room[at] = np.minimum(room[at], back)
    return ids, room


def _next_same(ids: np.ndarray, width: int) -> np.ndarray:
    """For each word the distance to its next occurrence, at most `width`."""
    distance = np.full(len(ids), width, np.int64)
    for d in range(min(width, len(ids)) - 1, 0, -1):
        distance[:-d][ids[:-d] == ids[d:]] = d
    return distance


def _pairs_of(
    ids: np.ndarray, reach: np.ndarray, own: int, width: int, size: int, dense: np.ndarray
) -> sparse.csr_array:
    """The pairs whose earlier word is one of the first `own` words; those of two frequent words are added to `dense`.

    A window with both words is counted once, at the last occurrences a and b > a in it. Its end e satisfies
    b <= e < a + reach[a] and e < b + reach[b], where reach ends at the word's next occurrence, at the end of the
    sentence, and after `width` words. So the pair (a, b) counts min(a + reach[a], b + reach[b]) - b windows.
    """
    bits = int(width).bit_length()
    side = round(len(dense) ** 0.5)
    codes, cells, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for d in range(1, min(width, len(ids))):
        many = min(own, len(ids) - d)
        weight = np.minimum(reach[:many] - d, reach[d : d + many])
        low = np.minimum(ids[:many], ids[d : d + many])
        high = np.maximum(ids[:many], ids[d : d + many])
        keep = (weight > 0) & (low >= 0)
        frequent = keep & (high < side)
        cells.append(low[frequent] * side + high[frequent])
        weights.append(weight[frequent])
        keep &= high >= side
        codes.append(((low[keep] * size + high[keep]) << bits) | weight[keep])
    dense += np.bincount(np.concatenate(cells), np.concatenate(weights), len(dense))
    packed = np.concatenate(codes)
    packed.sort()
    keys, sizes = packed >> bits, packed & ((1 << bits) - 1)
    heads = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
    totals = np.add.reduceat(sizes, heads) if len(heads) else sizes
    keys = keys[heads]
    indptr = np.searchsorted(keys, np.arange(size + 1) * size)
    result = sparse.csr_array((totals, keys % size, indptr), (size, size))
    result.has_canonical_format = True
    return result


def npmi(counts: Cooccurrence, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """NPMI of words `first` with words `second` (indices into `counts.words`, equal shapes): values in [-1, 1].

    NPMI = log(p_ij / (p_i p_j)) / -log p_ij, with probabilities over windows. It is -1 for a pair that is in no window
    (the limit), and 1 for a pair that is in all. Nothing is added to the probabilities.

    Source: Bouma 2009.
    """
    return npmi_of_counts(counts.together(first, second), counts.singles[first], counts.singles[second], counts.windows)


def npmi_of_counts(together: np.ndarray, first: np.ndarray, second: np.ndarray, windows: int) -> np.ndarray:
    """NPMI from window counts: with both words, with the first, with the second, and in all."""
    observed = together > 0
    p = np.where(observed, together, 1) / windows
    lift = np.log(p) - np.log(first / windows) - np.log(second / windows)
    always = p >= 1
    value = lift / np.where(always, 1.0, -np.log(np.where(always, 0.5, p)))
    return np.where(observed, np.where(always, 1.0, value), -1.0)
