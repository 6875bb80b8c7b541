"""The section [stability] of a spec."""

from typing import Any, Literal

from pydantic import Field

from intriguing.stages.common.section import Section, needs_models


class StabilitySpec(Section):
    """How far a change can carry, layer by layer, and below which distance no change makes a model wrong."""

    norms: bool = True
    """Whether the operator norm of every layer of every model is computed."""
    certificates: Literal["off", "fast", "slow"] = "fast"
    """What is proven of every search of [blind_spots]: nothing; linear bounds; or more, at many times the
    time."""
    gigaflops: float = Field(default=100.0, gt=0)
    """Operations (billions) that the linear bounds of one image may take. Where they take more, norms bound alone."""


def agree(section: object, spec: Any) -> None:
    """It needs models; raises ValueError where the spec has none."""
    needs_models("stability", spec)
