"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass

from intriguing.engine.task import Function
from intriguing.stages.common.parameters import AttackedInputs, Compute, ModelKey, Shard, TaskFunction
from intriguing.stages.models.functions import SOURCES

_NAME, _TASKS = "intriguing.sweep.tasks.transfer", "intriguing.stages.transfer.tasks"
_COVERS = (_TASKS, "intriguing.stages.transfer.feeding", "intriguing.transfer", *SOURCES)


@dataclass(frozen=True)
class UnchangedParameters:
    """The model to feed with a shard of the attacked inputs, unchanged."""

    key: ModelKey
    attacked: AttackedInputs
    shard: Shard
    compute: Compute


@dataclass(frozen=True)
class ChangedParameters:
    """The model to feed with what was found for the source model: in which kinds, and how far amplified."""

    key: ModelKey
    compute: Compute
    source_model: str
    source_seed: int
    split: str
    kinds: tuple[str, ...]
    amplified_rms: float
    seed: int


@dataclass(frozen=True)
class NoiseParameters:
    """The model to feed with a shard of the attacked inputs plus noise: of fixed sizes, and along rays."""

    key: ModelKey
    attacked: AttackedInputs
    shard: Shard
    compute: Compute
    noise: tuple[float, ...]
    sizes: tuple[float, ...]


@dataclass(frozen=True)
class RaysParameters:
    """The model to feed with points of the rays through what was found for the source model."""

    key: ModelKey
    compute: Compute
    source_model: str
    source_seed: int
    split: str
    sizes: tuple[float, ...]


# The names are those of an earlier house: they go into fingerprints and stay.
PREDICT_UNCHANGED = TaskFunction(
    Function(f"{_NAME}:clean", 3, (*_COVERS, "intriguing.stages.common.clean"), f"{_TASKS}:predict_unchanged"),
    UnchangedParameters,
)
PREDICT_CHANGED = TaskFunction(
    Function(f"{_NAME}:feed", 3, (*_COVERS, "intriguing.stages.common.stored_images"), f"{_TASKS}:predict_changed"),
    ChangedParameters,
)
_RAYS = "intriguing.stages.transfer.ray_tasks"
_OF_RAYS = (*_COVERS, _RAYS, "intriguing.stages.common.stored_images")
FEED_NOISE = TaskFunction(Function("intriguing.transfer:noise", 3, _OF_RAYS, f"{_RAYS}:feed_noise"), NoiseParameters)
FOLLOW_RAYS = TaskFunction(Function("intriguing.transfer:rays", 3, _OF_RAYS, f"{_RAYS}:follow_rays"), RaysParameters)
FUNCTIONS = (PREDICT_UNCHANGED, PREDICT_CHANGED, FEED_NOISE, FOLLOW_RAYS)
