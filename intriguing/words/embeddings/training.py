"""Training word vectors: gensim's Word2Vec on an encoded corpus, reproducibly."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from intriguing.errors import DataError, MissingExtraError, SpecError, check_names
from intriguing.randomness import key
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.text.corpus import Corpus

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOptions:
    """All settings of gensim's Word2Vec that change its vectors, with gensim's defaults.

    Only `workers` differs: 1 instead of 3, because with several threads two runs give different vectors.
    """

    vector_size: int = 100
    """Length of the vectors."""
    window: int = 5
    """Context words on each side."""
    min_count: int = 5
    """Words that occur less often get no vector."""
    epochs: int = 5
    """Passes over the text."""
    sg: int = 0
    """0: CBOW (the context predicts the word), 1: skip-gram."""
    hs: int = 0
    """1: hierarchical softmax instead of, or beside, negative sampling."""
    negative: int = 5
    """Noise words per word; 0 without negative sampling."""
    ns_exponent: float = 0.75
    """Noise words are drawn with probability proportional to count to this power."""
    cbow_mean: int = 1
    """1: CBOW averages the context's vectors, 0: it adds them."""
    sample: float = 1e-3
    """Words above this share of the text are thinned out; 0 keeps all."""
    alpha: float = 0.025
    """Learning rate at the start."""
    min_alpha: float = 1e-4
    """Learning rate at the end."""
    shrink_windows: bool = True
    """Draw each window's size from 1 to `window`."""
    max_vocab_size: int | None = None
    """Prune rare words while counting, above this many; None never does."""
    max_final_vocab: int | None = None
    """Raise `min_count` until at most this many words are left; None does not."""
    null_word: int = 0
    """1: add gensim's null word."""
    sorted_vocab: int = 1
    """1: number words by falling count."""
    batch_words: int = 10_000
    """Words handed to a training thread at a time."""
    workers: int = 1
    """Training threads; with more than 1 two runs give different vectors."""

    def __post_init__(self) -> None:
        for name, low in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise SpecError(f"{name} = {value}: Word2Vec needs at least {low}.")
        for name in ("sg", "hs", "cbow_mean", "null_word", "sorted_vocab"):
            if getattr(self, name) not in (0, 1):
                raise SpecError(f"{name} = {getattr(self, name)}: it is 0 or 1.")
        if not 0 < self.min_alpha <= self.alpha:
            raise SpecError(f"alpha = {self.alpha}, min_alpha = {self.min_alpha}: needed is 0 < min_alpha <= alpha.")
        if not self.hs and not self.negative:
            raise SpecError("hs = 0 and negative = 0 train nothing. Set negative = 5, or hs = 1.")

    @classmethod
    def from_mapping(cls, keys: Mapping[str, Any]) -> "TrainingOptions":
        """Options from a spec's keys. Raises: `UnknownNameError` for an unknown key, with the nearest valid ones."""
        check_names("training option", keys, [f.name for f in fields(cls)])
        return cls(**keys)

    @property
    def reproducible(self) -> bool:
        """Whether the same text, options and seed give the same vectors, on one kind of machine."""
        return self.workers == 1


_AT_LEAST = {
    "vector_size": 1,
    "window": 1,
    "min_count": 1,
    "epochs": 1,
    "negative": 0,
    "sample": 0,
    "max_vocab_size": 1,
    "max_final_vocab": 1,
    "batch_words": 1,
    "workers": 1,
}


def train(corpus: Corpus, options: TrainingOptions | None = None, *, seed: int = 0, stream: str = "") -> WordVectors:
    """Word2Vec vectors of `corpus` (Mikolov et al. 2013, arXiv:1301.3781 and 1310.4546; gensim's implementation).

    gensim's own seed is derived from `seed` and `stream`. Embeddings that judge each other need different streams, such
    as the number of the fold. With the same stream, words of equal frequency rank would start from the same vector, and
    the axes of both embeddings would agree by construction.

    Raises: `DataError` if fewer than 2 words reach `min_count`; `MissingExtraError` without gensim.
    """
    options = options or TrainingOptions()
    try:
        from gensim.models import Word2Vec
    except ImportError:
        raise MissingExtraError("Training word vectors needs gensim: pip install gensim") from None
    counts = corpus.counts()
    frequent = int((counts >= options.min_count).sum())
    if frequent < 2:
        raise DataError(
            f"{corpus.name!r}: {len(corpus)} words of text hold {frequent} words that occur at least min_count = "
            f"{options.min_count} times. Give more text, fewer folds, or a lower min_count."
        )
    if not options.reproducible:
        _LOG.warning("workers = %d: these vectors cannot be computed again; use 1 for that.", options.workers)
    model = Word2Vec(
        sentences=_Sentences(corpus),
        seed=key(seed, "word2vec", stream) & 0x7FFFFFFF,
        hashfxn=stable_hash,
        **asdict(options),
    )
    words = tuple(str(word) for word in model.wv.index_to_key)
    index = {word: i for i, word in enumerate(corpus.words)}
    word_counts = np.array([counts[index[w]] if w in index else 0 for w in words], np.int64)
    notes = {"made_by": "gensim Word2Vec", "corpus": corpus.name, "seed": str(seed), "stream": stream}
    return WordVectors(words, np.array(model.wv.vectors, np.float32), word_counts, notes)


def stable_hash(text: str) -> int:
    """A hash that is the same in every process (Python's own depends on PYTHONHASHSEED)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


class _Sentences:
    """The corpus in the form that gensim needs: an iterable that can be read several times."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def __iter__(self) -> Iterator[list[str]]:
        return self.corpus.sentences()
