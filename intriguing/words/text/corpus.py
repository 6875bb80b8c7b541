"""A corpus as numbers: the distinct words, the running text as indices into them, and the ends of sentences.

Text is read once, in blocks. Folds, training and counting use the numbers, so that memory is four bytes per running
word.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from intriguing.basics.text.brief import brief
from intriguing.errors import DataError, InputError
from intriguing.randomness import generator
from intriguing.words.packing import pack, pack_strings, unpack, unpack_strings
from intriguing.words.text.sources import EMBEDDED, decoded_blocks, locate, open_binary

SENTENCE_WORDS = 10_000
_ENCODED_BLOCK = 1 << 20


@dataclass(frozen=True)
class Corpus:
    """An encoded text.

    `words` (V distinct ones, in order of first appearance), `tokens` (n,) int32 indices into them, `ends` (s,) int64:
    where each sentence ends in `tokens` (exclusive, increasing, the last one is n). `skipped` counts omissions and
    changes while reading: ``empty_lines``, ``undecodable_words``, ``split_lines`` (longer than the largest sentence).
    """

    __repr__ = brief

    name: str
    words: tuple[str, ...]
    tokens: np.ndarray
    ends: np.ndarray
    skipped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of running words."""
        return len(self.tokens)

    def counts(self) -> np.ndarray:
        """How often each of `words` occurs: (V,) int64."""
        return np.bincount(self.tokens, minlength=len(self.words))

    def sentences(self) -> Iterator[list[str]]:
        """The text as one list of words per sentence."""
        words = np.array(self.words, dtype=object)
        for start, end in zip(self.starts().tolist(), self.ends.tolist(), strict=True):
            yield words[self.tokens[start:end]].tolist()

    def starts(self) -> np.ndarray:
        """Where each sentence starts in `tokens`: (s,) int64."""
        return np.concatenate([np.zeros(min(1, len(self.ends)), np.int64), self.ends[:-1]])

    def to_bytes(self) -> bytes:
        """The corpus as safetensors bytes, for a store; `from_bytes` reads it back."""
        arrays = {"tokens": self.tokens, "ends": self.ends} | pack_strings("words", self.words)
        return pack(arrays, {"name": self.name, "skipped": json.dumps(self.skipped, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Corpus":
        """The corpus that `to_bytes` wrote. Raises: `DataError` for other bytes."""
        arrays, notes = unpack(data, "corpus", ("tokens", "ends"))
        return cls(
            notes["name"],
            unpack_strings("words", arrays),
            arrays["tokens"],
            arrays["ends"],
            json.loads(notes["skipped"]),
        )


def read_corpus(
    source: str = EMBEDDED,
    *,
    layout: str = "auto",
    encoding: str = "utf-8",
    undecodable: str = "error",
    lowercase: bool = False,
    sentence_words: int = SENTENCE_WORDS,
) -> Corpus:
    """Read and encode the text behind `source` (see `intriguing.words.text.sources`).

    `layout`: ``text8`` (one endless line, cut into sentences of `sentence_words`), ``lines`` (a sentence per line;
    empty lines are skipped and counted, longer ones cut) or ``auto`` (``text8`` when the first 4 MiB hold no line
    break). Words are what white space separates. gensim itself cuts sentences at 10,000 words, hence the default.

    Raises: `DataError` for a missing, unreadable, wrongly encoded or empty text.
    """
    if layout not in ("auto", "text8", "lines"):
        raise InputError(f"layout={layout!r}: use 'auto', 'text8' or 'lines'.")
    if not 1 <= sentence_words <= SENTENCE_WORDS:
        raise InputError(f"sentence_words={sentence_words}: gensim takes sentences of 1 to {SENTENCE_WORDS} words.")
    encoder = _Encoder(sentence_words)
    if source == EMBEDDED:
        for article in _wikipedia_sample():
            encoder.sentence(article)
    else:
        blocks = _running_text(decoded_blocks(locate(source), encoding, undecodable), source)
        _read_text(encoder, (b.lower() for b in blocks) if lowercase else blocks, layout)
    corpus = encoder.finish(source)
    if not len(corpus):
        raise DataError(f"{source!r} holds no words. Give a text file with words separated by white space.")
    return corpus


def select_folds(corpus: Corpus, which: Sequence[int], *, folds: int, seed: int = 0) -> Corpus:
    """The running text of the folds `which`, out of `folds` contiguous ones of equal length (to one word).

    The text is treated as a circle, and `seed` decides where the first fold starts. Sentences end at the seams (between
    parts that are not neighbours, and where the circle closes), so that no context crosses them. `words` and their
    indices are those of the whole corpus.

    Raises: `InputError` for fold numbers that do not exist or repeat; `DataError` for fewer words than folds.
    """
    n = len(corpus)
    if folds < 2 or not which or len(set(which)) != len(which) or not set(which) <= set(range(folds)):
        raise InputError(
            f"Folds {list(which)} of {folds}: give different numbers from 0 to folds - 1, folds at least 2."
        )
    if n < folds:
        raise DataError(f"{corpus.name!r} has {n} words, fewer than {folds} folds. Use fewer folds or a larger corpus.")
    offset = int(generator(seed, "corpus folds", folds).integers(n))
    spans: list[list[int]] = []
    for fold in sorted(which):
        start, stop = offset + fold * n // folds, offset + (fold + 1) * n // folds
        for lap in (0, n):
            a, b = max(start, lap) - lap, min(stop, lap + n) - lap
            if a < b and spans and spans[-1][1] == a:
                spans[-1][1] = b
            elif a < b:
                spans.append([a, b])
    return _cut(corpus, spans)


def _cut(corpus: Corpus, spans: list[list[int]]) -> Corpus:
    ends, length = [], 0
    for start, stop in spans:
        inside = corpus.ends[(corpus.ends > start) & (corpus.ends < stop)]
        ends += [inside - start + length, np.array([stop - start + length], np.int64)]
        length += stop - start
    tokens = np.concatenate([corpus.tokens[start:stop] for start, stop in spans])
    return Corpus(corpus.name, corpus.words, tokens, np.concatenate(ends), corpus.skipped)


class _Encoder:
    """Turns words into numbers, sentence by sentence, in blocks of about a million running words."""

    def __init__(self, sentence_words: int) -> None:
        self.sentence_words = sentence_words
        self.index = _Index()
        self.blocks: list[np.ndarray] = []
        self.pending: list[list[str]] = []
        self.pending_words = 0
        self.lengths: list[int] = []
        self.skipped = {"empty_lines": 0, "undecodable_words": 0, "split_lines": 0}

    def sentence(self, words: list[str]) -> None:
        """Add the words of a line, split into sentences if there are too many for one."""
        decodable = [w for w in words if "\ufffd" not in w] if any("\ufffd" in w for w in words) else words
        self.skipped["undecodable_words"] += len(words) - len(decodable)
        if not decodable:
            self.skipped["empty_lines"] += not words
            return
        self.skipped["split_lines"] += len(decodable) > self.sentence_words
        self._append(decodable)

    def running(self, words: list[str]) -> list[str]:
        """Add all full sentences of the words of an endless line; the remaining words are returned."""
        decodable = [w for w in words if "\ufffd" not in w]
        self.skipped["undecodable_words"] += len(words) - len(decodable)
        whole = len(decodable) - len(decodable) % self.sentence_words
        self._append(decodable[:whole])
        return decodable[whole:]

    def _append(self, words: list[str]) -> None:
        size = self.sentence_words
        self.lengths += [min(size, len(words) - start) for start in range(0, len(words), size)]
        self.pending.append(words)
        self.pending_words += len(words)
        if self.pending_words >= _ENCODED_BLOCK:
            self._flush()

    def _flush(self) -> None:
        running = chain.from_iterable(self.pending)
        self.blocks.append(np.fromiter(map(self.index.__getitem__, running), np.int32, self.pending_words))
        self.pending, self.pending_words = [], 0

    def finish(self, name: str) -> Corpus:
        """The corpus of all words so far."""
        self._flush()
        ends = np.cumsum(np.array(self.lengths, np.int64))
        return Corpus(name, tuple(self.index), np.concatenate(self.blocks), ends, dict(self.skipped))


class _Index(dict[str, int]):
    """Numbers words in the order of their first appearance."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


def _running_text(blocks: Iterator[str], source: str) -> Iterator[str]:
    """The same blocks. Raises: `DataError` if the first looks like JSON, as gensim's other data sets do."""
    first = next(blocks, "")
    if first.lstrip()[:2] in ('{"', '["', "[{"):
        raise DataError(
            f"{source!r} holds JSON, not running text. Write its text to a file, a sentence per line. Of the data sets "
            "of gensim.downloader, gensim:text8 is running text."
        )
    yield first
    yield from blocks


def _read_text(encoder: _Encoder, blocks: Iterator[str], layout: str) -> None:
    first = next(blocks, "")
    if layout == "auto":
        layout = "lines" if "\n" in first.rstrip() or "\r" in first.rstrip() else "text8"
    rest, words = "", []
    line_ends = io.IncrementalNewlineDecoder(None, translate=True)
    for block in chain([first], blocks):
        text = rest + (line_ends.decode(block) if layout == "lines" else block)  # old Macs end lines with \r
        if layout == "lines":
            *lines, rest = text.split("\n")
            for line in lines:
                encoder.sentence(line.split())
        else:
            pieces = text.split()
            # The last piece may continue in the next block.
            rest = pieces.pop() if pieces and not text[-1].isspace() else ""
            words = encoder.running(words + pieces)
    if layout == "lines":
        if rest:
            encoder.sentence(rest.split())
    else:
        rest_of_line = encoder.running([*words, rest] if rest else words)
        if rest_of_line:
            encoder.sentence(rest_of_line)


def _wikipedia_sample() -> Iterator[list[str]]:
    """The articles of the sample in gensim's wheel, in gensim's own tokenisation (lower case, 2 to 15 letters)."""
    from gensim.corpora import wikicorpus

    extract_pages: Any = wikicorpus.extract_pages
    with open_binary(locate(EMBEDDED)) as file:
        for _, text, _ in extract_pages(file, ("0",)):
            words = wikicorpus.tokenize(wikicorpus.filter_wiki(text), 2, 15, True)
            # Leave out redirects and stubs, as gensim's WikiCorpus does.
            if len(words) >= wikicorpus.ARTICLE_MIN_WORDS:
                yield words
