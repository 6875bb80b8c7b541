"""What a plan must know of texts and vectors before anything runs."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from intriguing.errors import DataError, IntriguingError, SpecError
from intriguing.stages.common.stage import Inspection, Outside
from intriguing.stages.words.spec import EMBEDDED, WordsSpec, absolute

CORPUS = "INTRIGUING_CORPUS"


def inspect(section: WordsSpec, outside: Outside) -> Inspection:
    """The section, with the text that INTRIGUING_CORPUS names in place of an embedded one, and what its files hold."""
    corpus = absolute(outside.environment.get(CORPUS, ""))
    followed = section.with_corpus(corpus) if corpus else section
    environment = {CORPUS: corpus} if followed != section else {}
    return Inspection(followed, text_files(followed), environment)


@dataclass(frozen=True)
class TextFile:
    """A corpus, or existing word vectors, as a plan sees it: where a worker finds the file, and its hash."""

    source: str
    content_hash: str


def text_files(section: WordsSpec) -> dict[str, TextFile]:
    """The file of every corpus and of all existing vectors of the section, by name (no two have the same).

    A look at each file's beginning (at all of a small file of vectors), and at the arguments of training and judges,
    refuses most of what cannot work before anything runs.

    Raises:
        DataError: a file is missing, damaged, of another encoding or holds nothing; the message names the key.
        SpecError, UnknownNameError: an argument of the training or of the judges cannot be used.
    """
    from intriguing.words import JudgeOptions, TrainingOptions
    from intriguing.words.embeddings.formats import check_vectors
    from intriguing.words.judging.judges import LEAST_WORDS
    from intriguing.words.text.sources import content_hash, decoded_blocks, locate

    files = {}
    for name, corpus in section.corpora.items():
        with _key(f"words.corpora.{name}"):
            _checked(TrainingOptions, section.training_of(name), "training")
            _checked(JudgeOptions, section.judging_of(name, seed=0), "judging")
            blocks = decoded_blocks(locate(corpus.source), corpus.encoding, corpus.undecodable)
            if corpus.source != EMBEDDED and not next(blocks, "").strip():
                raise DataError(f"{corpus.source!r} begins with nothing but blanks. Give a file of words.")
            files[name] = TextFile(absolute(corpus.source), content_hash(corpus.source))
    for name, vectors in section.vectors.items():
        with _key(f"words.vectors.{name}"):
            if not vectors.trust_pickle:
                check_vectors(vectors.source, least=LEAST_WORDS, **vectors.reading)
            files[name] = TextFile(absolute(vectors.source), content_hash(vectors.source))
    return files


@contextmanager
def _key(key: str) -> Iterator[None]:
    """Errors inside name the spec's key."""
    try:
        yield
    except IntriguingError as error:
        raise type(error)(f"{key}: {error}") from error


def _checked(options: Any, values: Mapping[str, Any], key: str) -> None:
    """Refuse values that the dataclass `options` cannot be built from: of a wrong type, unknown, or out of range."""
    hints = get_type_hints(options)
    for name in values.keys() & hints.keys():
        try:
            TypeAdapter(hints[name]).validate_json(json.dumps(values[name], default=str), strict=True)
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise SpecError(f"{key}.{name}: {message} (given: {values[name]!r})") from None
    options.from_mapping(values)
