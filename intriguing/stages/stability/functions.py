"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass

from intriguing.engine.task import Function
from intriguing.stages.common.parameters import AttackedInputs, Compute, ModelKey, Shard, TaskFunction
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
    """A shard of searches of one model, of one rule for the targets or of several that have the same answer."""

    key: ModelKey
    attacked: AttackedInputs
    shard: Shard
    target_rules: tuple[str, ...]
    effort: str
    gigaflops: float
    compute: Compute


NORMS = TaskFunction(Function(f"{_TASKS}:norms", 1, _COVERS), NormsParameters)
CERTIFY = TaskFunction(Function(f"{_TASKS}:certify", 1, _COVERS), CertifyParameters)
FUNCTIONS = (NORMS, CERTIFY)
