"""What a plan must know of data sets and models before anything runs, gathered without torch where that can be."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from intriguing.data import load_dataset
from intriguing.data.factories import is_users_code
from intriguing.errors import DataError, IntriguingError, SpecError, WeightsError
from intriguing.sweep.child import Call, in_child
from intriguing.sweep.spec import Spec
from intriguing.sweep.words_spec import EMBEDDED, absolute

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetFacts:
    """A data set as a plan sees it: name in the spec, source, where it lies, hash, split sizes, shape, classes."""

    name: str
    source: str
    root: str | None
    content_hash: str
    sizes: Mapping[str, int]
    shape: tuple[int, int, int]
    classes: int

    @property
    def values(self) -> int:
        """How many numbers an input has."""
        return prod(self.shape)


@dataclass(frozen=True)
class ModelFacts:
    """A model as a plan sees it: the hashes of a user's source and of a weights file, empty where there is none."""

    source_hash: str = ""
    weights_hash: str = ""
    weights_path: str = ""


def gather_datasets(spec: Spec, root: str | None = None) -> dict[str, DatasetFacts]:
    """Load each data set of `spec` once, to learn its facts; `root` is where to look unless the spec says otherwise.

    An optional data set whose files are missing is left out, with a warning that says where they belong.

    Raises:
        DataError: a data set cannot be read, or is not what a data set should be.
    """
    found = {}
    for name, wanted in spec.datasets.items():
        where = wanted.root or root
        where = str(Path(where).expanduser().resolve()) if where else None
        looks = [DatasetLook(source, where, wanted.download) for source in (wanted.source or name, *wanted.instead)]
        try:
            source, seen = _first_there(looks, f"datasets.{name}", spec.compute.task_seconds)
        except DataError as error:
            if not wanted.optional or len(spec.datasets) == 1:
                raise
            log.warning("The sweep goes on without the data set %r: %s", name, error)
            continue
        found[name] = DatasetFacts(name, source, where, *seen)
    return found


@dataclass(frozen=True)
class DatasetLook:
    """A data set to look at: its source, where it lies, and whether it may be fetched."""

    source: str
    root: str | None = None
    download: bool = False


Seen = tuple[str, dict[str, int], tuple[int, int, int], int]
"""What is seen of a data set: content hash, sizes of the splits, shape of an image, number of classes."""


def look_at(look: DatasetLook) -> Seen:
    """Load a data set, and say what it is; raises `DataError` where it cannot be read."""
    dataset = load_dataset(look.source, look.root, look.download)
    sizes = {split: len(rows) for split, rows in dataset.splits.items()}
    return dataset.content_hash, sizes, dataset.shape, dataset.classes


def _first_there(looks: Sequence[DatasetLook], key: str, seconds: float) -> tuple[str, Seen]:
    """The first of `looks` whose files are there, as (source, what it is); the first one's error where none is.

    A function of the user's is called in a process of its own, for at most `seconds`.
    """
    errors = []
    for look in looks:
        try:
            if not is_users_code(look.source):
                return look.source, look_at(look)
            calls = [Call(f"{key} ({look.source})", look)]
            return look.source, in_child("intriguing.sweep.facts:look_at", calls, seconds, DataError)[0]
        except DataError as error:
            errors.append(error)
    raise errors[0]


def gather_models(spec: Spec) -> dict[str, ModelFacts]:
    """The hashes of what users bring: the source of a `module:factory`, and weights files."""
    found = {}
    for name, model in spec.models.items():
        architecture = model.architecture or name
        source = _source_hash(architecture)
        if model.weights is None:
            found[name] = ModelFacts(source)
            continue
        path = Path(model.weights).expanduser().resolve()
        if not path.is_file():
            raise WeightsError(f"models.{name}.weights: there is no file {path}.")
        found[name] = ModelFacts(source, hashlib.sha256(path.read_bytes()).hexdigest(), str(path))
    return found


@dataclass(frozen=True)
class TextFacts:
    """A corpus, or existing word vectors, as a plan sees it: where a worker finds the file, and its hash."""

    source: str
    content_hash: str


def gather_texts(spec: Spec) -> dict[str, TextFacts]:
    """The facts of every corpus and of all existing vectors of the [words] section, by name (no two have the same).

    A look at each file's beginning, and at the arguments of training and judges, refuses most of what cannot work
    before anything runs.

    Raises:
        DataError: a file is missing, damaged, of another encoding or holds nothing; the message names the key.
        SpecError, UnknownNameError: an argument of the training or of the judges cannot be used.
    """
    if spec.words is None:
        return {}
    from intriguing.words import JudgeOptions, TrainingOptions, read_vectors
    from intriguing.words.sources import content_hash, decoded_blocks, locate

    found = {}
    for name, corpus in spec.words.corpora.items():
        with _key(f"words.corpora.{name}"):
            _checked(TrainingOptions, spec.words.training_of(name), "training")
            _checked(JudgeOptions, spec.words.judging_of(name, spec.seed), "judging")
            blocks = decoded_blocks(locate(corpus.source), corpus.encoding, corpus.undecodable)
            if corpus.source != EMBEDDED and not next(blocks, "").strip():
                raise DataError(f"{corpus.source!r} begins with nothing but blanks. Give a file of words.")
            found[name] = TextFacts(absolute(corpus.source), content_hash(corpus.source))
    for name, vectors in spec.words.vectors.items():
        with _key(f"words.vectors.{name}"):
            if not vectors.trust_pickle:
                read_vectors(vectors.source, **{**vectors.reading, "limit": 1})
            found[name] = TextFacts(absolute(vectors.source), content_hash(vectors.source))
    return found


@contextmanager
def _key(key: str) -> Iterator[None]:
    """Errors inside name the spec's key."""
    try:
        yield
    except IntriguingError as error:
        raise type(error)(f"{key}: {error}") from error


def _checked(options: Any, given: Mapping[str, Any], key: str) -> None:
    with suppress(TypeError):  # a value of another type: the next check says so in words
        options.from_mapping(given)
    try:
        TypeAdapter(options).validate_json(json.dumps(dict(given), default=str), strict=True)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(str(part) for part in wrong["loc"])
        raise SpecError(f"{key}.{place}: {wrong['msg']} (given: {wrong['input']!r})") from None


def _source_hash(architecture: str) -> str:
    if ":" not in architecture or architecture.startswith("torchvision:"):
        return ""
    from intriguing.models import source_hash

    return source_hash(architecture)
