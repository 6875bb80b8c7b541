"""The section [blind_spots] of a spec."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from intriguing.blind_spots.grades import GRADES
from intriguing.stages.common.section import Section

if TYPE_CHECKING:
    GradeName = str
else:
    GradeName = Literal[tuple(GRADES)]


class BlindSpotsSpec(Section):
    """The blind-spot question: how small a change makes the model wrong."""

    split: Literal["train", "test"] = "test"
    """The split that attacked inputs are drawn from."""
    images: int = Field(default=100, ge=1)
    """How many inputs are attacked (a keyed draw, the same for every model); each is searched once per target rule."""
    target_rules: list[Literal["untargeted", "random", "every"]] = Field(default=["untargeted", "random"], min_length=1)
    """How targets are chosen: any wrong class, one random wrong class, or every wrong class with the nearest kept."""
    grade: GradeName = "best"
    """The search's grade."""
