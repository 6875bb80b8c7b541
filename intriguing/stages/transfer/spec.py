"""The section [transfer] of a spec."""

from typing import Any, Literal

from pydantic import Field

from intriguing.stages.common.section import Section


class TransferSpec(Section):
    """Does what fools one model fool the others? Every found image is fed to every model of its data set."""

    kinds: list[Literal["minimal", "amplified", "gaussian"]] = Field(default=["minimal", "gaussian"], min_length=1)
    """Changes to feed: the search's own, amplified, and Gaussian noise of the search's RMS. Clean images always are."""
    amplified_rms: float = Field(default=0.1, gt=0, le=1)
    """The RMS that changes are amplified to (the paper's table 4: 0.1)."""


def agree(section: TransferSpec, spec: Any) -> None:
    """It needs searches; raises ValueError where the spec has none."""
    if spec.blind_spots is None:
        raise ValueError("transfer: it feeds what [blind_spots] finds, and the spec has no such section")
