"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass

from intriguing.engine.task import Function
from intriguing.stages.common.parameters import Compute, ModelKey, TaskFunction
from intriguing.stages.models.functions import SOURCES

_TASKS = "intriguing.stages.errors.tasks"


@dataclass(frozen=True)
class ErrorsParameters:
    """The loaded model whose errors are counted."""

    key: ModelKey
    compute: Compute


ERRORS = TaskFunction(
    Function("intriguing.errors:errors", 2, (_TASKS, "intriguing.stages.common.clean", *SOURCES), f"{_TASKS}:errors"),
    ErrorsParameters,
)
FUNCTIONS = (ERRORS,)
