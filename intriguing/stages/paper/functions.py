"""The task functions of this stage: identity, version, covered source, parameters."""

from dataclasses import dataclass

from intriguing.engine.task import Function
from intriguing.stages.common.parameters import TaskFunction

_STAGE = "intriguing.stages.paper"
_COVERS = (
    *(f"{_STAGE}.{name}" for name in ("tasks", "comparison")),
    *(f"intriguing.transfer.{name}" for name in ("answers", "relations")),
    *(f"intriguing.stats.{name}" for name in ("intervals", "paired", "resampling", "multiple", "findings")),
)


@dataclass(frozen=True)
class CompareParameters:
    """The models of a data set, whether they stand beside the paper's, and the resamples behind intervals.

    models: name, seed, family, recipe and training part of each. sizes: numbers of images by split. amplified_rms: the
    size that changes were amplified to.
    """

    dataset: str
    source: str
    models: tuple[tuple[str, int, str, str, str], ...]
    sizes: dict[str, int]
    beside: bool
    amplified_rms: float
    seed: int
    draws: int


COMPARE = TaskFunction(Function(f"{_STAGE}:compare", 7, _COVERS, f"{_STAGE}.tasks:compare"), CompareParameters)
FUNCTIONS = (COMPARE,)
