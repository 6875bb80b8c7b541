"""The section [blind_spots] of a spec."""

from typing import Literal

from pydantic import Field

from intriguing.stages.common.section import Section


class BlindSpotsSpec(Section):
    """The blind-spot question: how small a change makes the model wrong."""

    split: Literal["train", "test"] = "test"
    """The split that attacked inputs are drawn from."""
    images: int = Field(default=100, ge=1)
    """How many inputs are attacked (a keyed draw, the same for every model); each is searched once per target rule."""
    target_rules: list[Literal["untargeted", "random", "every"]] = Field(default=["untargeted", "random"], min_length=1)
    """How targets are chosen: any wrong class, one random wrong class, or every wrong class with the nearest kept."""
    grade: Literal["faithful", "best", "fast"] = "best"
    """The search's grade."""
