"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass
from typing import Any

from intriguing.engine.task import Function
from intriguing.stages.common.parameters import Architecture, Compute, ModelKey, TaskFunction
from intriguing.stages.models.functions import SOURCES

_NAME = _TASKS = "intriguing.stages.hardening.tasks"
_SEARCH = (
    "intriguing.stages.hardening.resources",
    "intriguing.hardening",
    "intriguing.blind_spots",
    "intriguing.activations.layers",
)


@dataclass(frozen=True)
class Training:
    """How a variant trains: `layers` are those of the spec, `chosen` says which of them have a pool.

    mixed: the arguments of `HardeningOptions` but the layers. training: those of `TrainOptions`. held_out: training
    images that are left out, by a draw that `seed` keys.
    """

    variant: str
    layers: tuple[str, ...]
    chosen: str
    mixed: dict[str, Any]
    training: dict[str, Any]
    held_out: int
    seed: int


@dataclass(frozen=True)
class EpochParameters:
    """One epoch, counted from 0, of one training."""

    key: ModelKey
    architecture: Architecture
    training_of: Training
    compute: Compute
    epoch: int


@dataclass(frozen=True)
class MeasureParameters:
    """What to measure after one epoch, counted from 0, of one training.

    network: its name after the last epoch. fed: whether it is fed the baseline's adversarial images. images: how many
    are searched. certified: how many of these have their bound proven. last: whether it is the last epoch.
    """

    key: ModelKey
    architecture: Architecture
    training_of: Training
    compute: Compute
    network: str
    epoch: int
    last: bool
    fed: bool
    images: int
    certified: int
    grade: str


@dataclass(frozen=True)
class ClaimsParameters:
    """The claims about the variants of one model on one data set."""

    dataset: str
    model: str
    baseline: str
    goal: float | None = None


EPOCH = TaskFunction(Function(f"{_NAME}:epoch", 3, (_TASKS, *_SEARCH, *SOURCES), f"{_TASKS}:epoch"), EpochParameters)
MEASURE = TaskFunction(
    Function(f"{_NAME}:measure", 11, (_TASKS, *_SEARCH, "intriguing.stability", *SOURCES), f"{_TASKS}:measure_epoch"),
    MeasureParameters,
)
CLAIMS = TaskFunction(
    Function(
        f"{_NAME}:claims",
        3,
        (_TASKS, "intriguing.stages.hardening.outcome.judged", "intriguing.hardening.claims", "intriguing.stats"),
        f"{_TASKS}:claims",
    ),
    ClaimsParameters,
)
FUNCTIONS = (EPOCH, MEASURE, CLAIMS)
