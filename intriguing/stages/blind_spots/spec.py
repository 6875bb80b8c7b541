"""The section [blind_spots] of a spec."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from intriguing.blind_spots.grades import GRADES
from intriguing.stages.common.section import Section, needs_models

if TYPE_CHECKING:
    GradeName = str
else:
    GradeName = Literal[tuple(GRADES)]


TargetRule = Literal["untargeted", "random", "every", "each"]


class BlindSpotsSpec(Section):
    """The blind-spot question: how small a change makes the model wrong."""

    distinct = ("target_rules",)

    split: Literal["train", "test"] = "test"
    """The split that attacked inputs are drawn from."""
    images: int = Field(default=100, ge=1)
    """How many inputs are attacked (a keyed draw, the same for every model); each is searched once per target rule."""
    target_rules: list[TargetRule] = Field(default=["untargeted", "random"], min_length=1)
    """How targets are chosen: any wrong class, one random wrong class, every wrong class with the nearest kept, or each
    wrong class with all kept: a search per class, whose images are not fed to other models."""
    grade: GradeName = "best"
    """The search's grade."""
    more_grades: list[GradeName] = []
    """Further grades: every search is made once more in each of them."""

    @property
    def grades(self) -> list[str]:
        """Every grade once, `grade` first."""
        return list(dict.fromkeys([self.grade, *self.more_grades]))


def agree(section: object, spec: Any) -> None:
    """It needs models; raises ValueError where the spec has none."""
    needs_models("blind_spots", spec)
