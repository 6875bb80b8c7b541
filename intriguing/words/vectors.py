"""Word vectors as one N x D table, whatever made them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from intriguing.brief import brief
from intriguing.errors import DataError, InputError
from intriguing.words.corpus import Corpus
from intriguing.words.packing import pack, pack_strings, unpack, unpack_strings


@dataclass(frozen=True)
class WordVectors:
    """`words` (N distinct ones), `vectors` (N, D) float32, `counts` (N,) int64: how often each word occurs in the text
    that the vectors were trained on, -1 where that is not known. `notes` says where they come from.
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
        """The words of `rows` (indices) alone, in that order."""
        words = tuple(self.words[i] for i in rows.tolist())
        return WordVectors(words, self.vectors[rows], self.counts[rows], self.notes)

    def rows_of(self, words: Sequence[str]) -> np.ndarray:
        """The row of each of `words`, -1 for those without a vector: (len(words),) int64."""
        index = {word: row for row, word in enumerate(self.words)}
        return np.array([index.get(word, -1) for word in words], np.int64)

    def counted_in(self, corpus: Corpus) -> "WordVectors":
        """The same vectors with `counts` from `corpus` (0 for words that it lacks), for vectors that bring none.

        Raises `DataError` when the corpus holds none of the words.
        """
        counts = dict(zip(corpus.words, corpus.counts().tolist(), strict=True))
        found = np.array([counts.get(word, 0) for word in self.words], np.int64)
        if not found.any():
            raise DataError(
                f"{corpus.name!r} holds none of the {len(self.words)} words of these vectors (first: "
                f"{', '.join(self.words[:3])}). Give a corpus of the same language and letter case."
            )
        return WordVectors(self.words, self.vectors, found, self.notes)

    def to_bytes(self) -> bytes:
        """The table in one piece (safetensors), for a store; `from_bytes` reads it back."""
        return pack({"vectors": self.vectors, "counts": self.counts} | pack_strings("words", self.words), self.notes)

    @classmethod
    def from_bytes(cls, data: bytes) -> "WordVectors":
        """The table that `to_bytes` wrote; raises `DataError` for other bytes."""
        arrays, notes = unpack(data, "word vectors", ("vectors", "counts"))
        return cls(unpack_strings("words", arrays), arrays["vectors"], arrays["counts"], notes)
