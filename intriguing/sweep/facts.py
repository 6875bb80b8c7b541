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

from intriguing.data import Dataset, load_dataset
from intriguing.errors import DataError, IntriguingError, SpecError, WeightsError
from intriguing.sweep.spec import Spec
from intriguing.sweep.words_spec import EMBEDDED, absolute

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetFacts:
    """A data set as a plan sees it: name in the spec, source, where it lies, hash, split sizes, shape, classes.

    `names_hash` is over the names of classes and examples; empty where there are none.
    """

    name: str
    source: str
    root: str | None
    content_hash: str
    sizes: Mapping[str, int]
    shape: tuple[int, int, int]
    classes: int
    names_hash: str = ""

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
        try:
            source, dataset = _first_there([wanted.source or name, *wanted.instead], where, wanted.download)
        except DataError as error:
            if not wanted.optional or len(spec.datasets) == 1:
                raise
            log.warning("The sweep goes on without the data set %r: %s", name, error)
            continue
        sizes = {split: len(rows) for split, rows in dataset.splits.items()}
        found[name] = DatasetFacts(
            name, source, where, dataset.content_hash, sizes, dataset.shape, dataset.classes, dataset.names_hash
        )
    return found


def _first_there(sources: Sequence[str], root: str | None, download: bool) -> tuple[str, Dataset]:
    """The first of `sources` whose files are there, as (source, data set); the first one's error where none is."""
    errors = []
    for source in sources:
        try:
            return source, load_dataset(source, root, download)
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
