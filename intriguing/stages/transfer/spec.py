"""The section [transfer] of a spec."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from intriguing.stages.common.section import Section

Size = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
"""An RMS of a change: inside the box [0, 1] none is larger than 1."""


class TransferSpec(Section):
    """Does what fools one model fool the others? Every found image is fed to every model of its data set."""

    kinds: list[Literal["minimal", "amplified", "gaussian"]] = Field(default=["minimal", "gaussian"], min_length=1)
    """Changes to feed: the search's own, amplified, and Gaussian noise of the search's RMS. Clean images always are."""
    amplified_rms: float = Field(default=0.1, gt=0, le=1)
    """The RMS that changes are amplified to (the paper's table 4: 0.1)."""
    noise: list[Size] = [0.1, 0.3]
    """Gaussian noise on every attacked input, the last rows of the paper's table 2: its standard deviations, before it
    is clipped. A data set with one model has none."""
    sizes: list[Size] = [0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3]
    """The amplification curve: found changes and noise of these RMS after clipping, and from there, for each image, the
    size at which each model fed is first fooled. `[]` leaves both out; a data set with one model has neither."""

    @field_validator("noise", "sizes")
    @classmethod
    def _ascending(cls, values: list[float]) -> list[float]:
        if any(one >= other for one, other in pairwise(values)):
            raise ValueError(f"sizes must ascend, each once: write {sorted(set(values))}")
        return values


def agree(section: TransferSpec, spec: Any) -> None:
    """It needs searches; raises ValueError where the spec has none."""
    if spec.blind_spots is None:
        raise ValueError("transfer: it feeds what [blind_spots] finds, and the spec has no such section")
