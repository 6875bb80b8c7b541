"""Word vectors as one N x D table."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from intriguing.basics.text.brief import brief
from intriguing.errors import DataError, InputError
from intriguing.words.packing import pack, pack_strings, unpack, unpack_strings
from intriguing.words.text.corpus import Corpus


@dataclass(frozen=True)
class WordVectors:
    """`words` (N distinct ones), `vectors` (N, D) float32, `counts` (N,) int64: how often each word occurs in the text
    that the vectors were trained on, -1 if unknown. `notes` describe their source.
    """

    __repr__ = brief

    words: tuple[str, ...]
    vectors: np.ndarray
    counts: np.ndarray
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.words)
        if self.vectors.ndim != 2 or self.vectors.shape[0] != n or self.counts.shape != (n,) or n == 0:
            raise InputError(
                f"{n} words with vectors of shape {self.vectors.shape} and counts of shape {self.counts.shape}: "
                "needed are (N, D) and (N,) for N words."
            )
        if len(set(self.words)) != n:
            raise InputError(f"{n - len(set(self.words))} of {n} words repeat earlier ones. Give every word once.")
        if not np.isfinite(self.vectors).all():
            raise InputError("Some vectors hold NaN or infinity. Leave those words out.")

    @property
    def dim(self) -> int:
        """The length D of every vector."""
        return self.vectors.shape[1]

    def take(self, rows: np.ndarray) -> "WordVectors":
        """Only the words of `rows` (indices), in that order."""
        words = tuple(self.words[i] for i in rows.tolist())
        return WordVectors(words, self.vectors[rows], self.counts[rows], self.notes)

    def rows_of(self, words: Sequence[str]) -> np.ndarray:
        """The row of each of `words`, -1 for those without a vector: (len(words),) int64."""
        index = {word: row for row, word in enumerate(self.words)}
        return np.array([index.get(word, -1) for word in words], np.int64)

    def spelled_as_in(self, corpus: Corpus) -> "WordVectors":
        """The same vectors with the spelling of `corpus` for words that differ only in the Unicode normal form.

        (An accent may be a separate character.) `notes` counts them as words_in_another_normal_form.
        """
        there = set(corpus.words)
        theirs: dict[str, str] = {}
        for word in corpus.words:
            if not word.isascii():
                theirs.setdefault(unicodedata.normalize("NFC", word), word)
        spellings, words, changed = set(self.words), list(self.words), 0
        for row, word in enumerate(self.words):
            other = None if word.isascii() or word in there else theirs.get(unicodedata.normalize("NFC", word))
            if other is not None and other not in spellings:
                words[row], changed = other, changed + 1
                spellings.add(other)
        if not changed:
            return self
        notes = self.notes | {"words_in_another_normal_form": str(changed)}
        return WordVectors(tuple(words), self.vectors, self.counts, notes)

    def counted_in(self, corpus: Corpus) -> "WordVectors":
        """The same vectors with `counts` from `corpus` (0 for words that it lacks), for vectors without counts.

        Raises: `DataError` if the corpus has none of the words.
        """
        counts = dict(zip(corpus.words, corpus.counts().tolist(), strict=True))
        own_counts = np.array([counts.get(word, 0) for word in self.words], np.int64)
        if not own_counts.any():
            raise DataError(
                f"{corpus.name!r} holds none of the {len(self.words)} words of these vectors (first: "
                f"{', '.join(self.words[:3])}). Give a corpus of the same language and letter case."
            )
        return WordVectors(self.words, self.vectors, own_counts, self.notes)

    def remarks(self) -> dict[str, int]:
        """Counts, where not 0, of properties that make top words arbitrary: constant_vectors (all numbers are equal, as
        in a row of zeros), repeated_vectors (equal to an earlier word's), constant_dimensions (the same for all words);
        and the counts of reading and matching the words.
        """
        many, dim = self.vectors.shape
        same = {axis: int((self.vectors.max(axis) == self.vectors.min(axis)).sum()) for axis in (0, 1)}
        remarks = {
            "constant_vectors": same[1] if dim > 1 else 0,
            "repeated_vectors": many - len({hash(row) for row in self._row_bytes()}),
            "constant_dimensions": same[0] if many > 1 else 0,
        }
        noted = ("words_in_another_normal_form", "unended_lines")
        return {k: n for k, n in remarks.items() if n} | {k: int(self.notes[k]) for k in noted if k in self.notes}

    def _row_bytes(self) -> Iterator[bytes]:
        for start in range(0, len(self.words), 1 << 14):
            for row in self.vectors[start : start + (1 << 14)] + np.float32(0):  # -0.0 becomes 0.0
                yield row.tobytes()

    def to_bytes(self) -> bytes:
        """The table as safetensors bytes, for a store; `from_bytes` reads it back."""
        return pack({"vectors": self.vectors, "counts": self.counts} | pack_strings("words", self.words), self.notes)

    @classmethod
    def from_bytes(cls, data: bytes) -> "WordVectors":
        """The table that `to_bytes` wrote. Raises: `DataError` for other bytes."""
        arrays, notes = unpack(data, "word vectors", ("vectors", "counts"))
        return cls(unpack_strings("words", arrays), arrays["vectors"], arrays["counts"], notes)
