"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass

from intriguing.engine.task import Function
from intriguing.stages.common.parameters import Compute, ModelKey, TaskFunction
from intriguing.stages.models.functions import SOURCES

_TASKS = "intriguing.stages.stability.tasks"
_COVERS = (_TASKS, "intriguing.stability", *SOURCES)


@dataclass(frozen=True)
class NormsParameters:
    """The model whose layers are looked at, and the shape of its inputs."""

    key: ModelKey
    shape: tuple[int, ...]
    compute: Compute


@dataclass(frozen=True)
class CertifyParameters:
    """A model, the split that its searches took their inputs from, and how much may be spent on a proof."""

    key: ModelKey
    split: str
    effort: str
    gigaflops: float
    compute: Compute


NORMS = TaskFunction(Function(f"{_TASKS}:norms", 5, _COVERS), NormsParameters)
CERTIFY = TaskFunction(Function(f"{_TASKS}:certify", 7, _COVERS), CertifyParameters)
FUNCTIONS = (NORMS, CERTIFY)
