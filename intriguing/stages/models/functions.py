"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass
from typing import Any

from intriguing.engine.task import Function
from intriguing.stages.common.parameters import Architecture, Compute, ModelKey, TaskFunction

_NAME, _TASKS = "intriguing.sweep.tasks.models", "intriguing.stages.models.tasks"
_DATA = ("intriguing.data", "intriguing.randomness")
SOURCES = ("intriguing.models", "intriguing.basics.torch_modes", *_DATA)
"""What decides how a model is built and fed."""


@dataclass(frozen=True)
class ExamplesParameters:
    """The data set whose inputs are listed, and the hash of their names where they have names."""

    dataset: str
    named: str = ""


@dataclass(frozen=True)
class LoadParameters:
    """A model to build."""

    key: ModelKey
    architecture: Architecture
    compute: Compute


@dataclass(frozen=True)
class TrainParameters:
    """A model to build and train, with the arguments of `TrainOptions`; a part of the split is drawn by `part_seed`.

    recipe: the version of the architecture's recipe (`models.registry.RECIPES`), 0 where it was never changed.
    """

    key: ModelKey
    architecture: Architecture
    compute: Compute
    training: dict[str, Any]
    train_part: str = ""
    part_seed: int = 0
    recipe: int = 0


EXAMPLES = TaskFunction(
    Function(f"{_NAME}:examples", 1, (_TASKS, *_DATA), f"{_TASKS}:examples"),
    ExamplesParameters,
)
TRAIN = TaskFunction(Function(f"{_NAME}:train", 1, (_TASKS, *SOURCES), f"{_TASKS}:train"), TrainParameters)
LOAD = TaskFunction(Function(f"{_NAME}:load", 1, (_TASKS, *SOURCES), f"{_TASKS}:load"), LoadParameters)
FUNCTIONS = (EXAMPLES, TRAIN, LOAD)
