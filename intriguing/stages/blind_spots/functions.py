"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass

from intriguing.engine.task import Function
from intriguing.stages.common.parameters import AttackedInputs, Compute, ModelKey, Shard, TaskFunction
from intriguing.stages.models.functions import SOURCES

_EXACT_LINEAR = (
    *(f"intriguing.stability.tracing.{name}" for name in ("graph", "convert", "conversions", "ops")),
    "intriguing.stability.rounding",
)
"""What decides whether a model is linear, and the bound of its optimum."""
_NAME, _TASKS = "intriguing.sweep.tasks.blind_spots", "intriguing.stages.blind_spots.tasks"


@dataclass(frozen=True)
class SearchParameters:
    """A shard of searches on one model, with one rule for the targets."""

    key: ModelKey
    attacked: AttackedInputs
    shard: Shard
    target_rule: str
    grade: str
    classes: int
    compute: Compute


SEARCH = TaskFunction(
    Function(f"{_NAME}:search", 22, (_TASKS, "intriguing.blind_spots", *_EXACT_LINEAR, *SOURCES), f"{_TASKS}:search"),
    SearchParameters,
)
FUNCTIONS = (SEARCH,)
