"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass
from typing import Any

from intriguing.engine.task import Code, Function
from intriguing.stages.common.parameters import P, TaskFunction
from intriguing.tables.words import EmbeddingKey

_NAME, _TASKS = "intriguing.sweep.tasks.words", "intriguing.stages.words.tasks"
_SOURCES = (_TASKS, "intriguing.words", "intriguing.randomness")
_JUDGED = (*_SOURCES, "intriguing.units", "intriguing.stats")

SOURCE_FILE = Code(f"{_NAME}:source_file", f"{_TASKS}:source_file")


@dataclass(frozen=True)
class Folds:
    """How a text is cut: into how many folds, and the seed of the cut."""

    folds: int
    fold_seed: int


@dataclass(frozen=True)
class EncodeTextParameters:
    """A corpus and how its text is read."""

    corpus: str
    reading: dict[str, Any]


@dataclass(frozen=True)
class TrainWordsParameters:
    """The folds `parts` to train on, the training's seed and arguments."""

    parts: list[int]
    cut: Folds
    seed: int
    training: dict[str, Any]
    threads: int


@dataclass(frozen=True)
class ReadVectorsParameters:
    """How a file of vectors is read."""

    reading: dict[str, Any]


@dataclass(frozen=True)
class CountWordsParameters:
    """The held-out fold to count in, within windows of how many words, and which words count.

    `existing`: whether the vectors come from elsewhere.
    """

    fold: int
    cut: Folds
    window: int
    judged_count: int
    training_min_count: int
    existing: bool


@dataclass(frozen=True)
class DescribeWordsParameters:
    """The embedding to describe."""

    key: EmbeddingKey


@dataclass(frozen=True)
class JudgeWordsParameters:
    """The embedding and condition to judge, and the arguments of the judges."""

    key: EmbeddingKey
    condition: str
    judging: dict[str, Any]
    threads: int


@dataclass(frozen=True)
class WordTestsParameters:
    """The corpus (or vectors) whose embeddings are tested together."""

    corpus: str


def _function(name: str, version: int, covers: tuple[str, ...], parameters: type[P]) -> TaskFunction[P]:
    return TaskFunction(Function(f"{_NAME}:{name}", version, covers, f"{_TASKS}:{name}"), parameters)


ENCODE_TEXT = _function("encode_text", 2, _SOURCES, EncodeTextParameters)
TRAIN_WORDS = _function("train_words", 1, _SOURCES, TrainWordsParameters)
READ_VECTORS = _function("read_vectors", 2, _SOURCES, ReadVectorsParameters)
COUNT_WORDS = _function("count_words", 1, _SOURCES, CountWordsParameters)
DESCRIBE_WORDS = _function("describe_words", 2, _SOURCES, DescribeWordsParameters)
JUDGE_WORDS = _function("judge_words", 2, _JUDGED, JudgeWordsParameters)
TEST_WORDS = _function("word_tests", 5, _JUDGED, WordTestsParameters)
FUNCTIONS = (ENCODE_TEXT, TRAIN_WORDS, READ_VECTORS, COUNT_WORDS, DESCRIBE_WORDS, JUDGE_WORDS, TEST_WORDS)
