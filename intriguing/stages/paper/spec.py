"""The section [paper] of a spec."""

from typing import Any

from pydantic import Field

from intriguing.stages.common.section import Section


class PaperSpec(Section):
    """What the paper claims of transfer, asked of this sweep's models; its tables beside those of its own models."""

    beside: list[str] = []
    """Data sets whose models are held beside the paper's tables 1 to 4, by their names: the six of table 2, and
    `FC100-100-10 P1`, `FC123-456-10 P1`, `FC100-100-10 P2` for those of the halves."""
    target_rule: str = "random"
    """The rule for targets whose figures come first; the paper does not say which it took."""
    grade: str = ""
    """The grade of the search whose figures come first; by default that of [blind_spots]."""
    draws: int = Field(default=2_000, ge=400, le=100_000)
    """Resamples of images and seeds behind each interval: more of them make its ends steadier."""


def agree(section: PaperSpec, spec: Any) -> None:
    """It needs searches and transfer, and names only what is there; raises ValueError with the key."""
    if spec.blind_spots is None or spec.transfer is None:
        raise ValueError("paper: it compares what [blind_spots] finds and [transfer] feeds; the spec lacks one of them")
    if section.grade and section.grade not in spec.blind_spots.grades:
        raise ValueError(f"paper.grade: {section.grade!r} is no grade of [blind_spots]")
    if section.target_rule not in spec.blind_spots.target_rules and "target_rule" in section.model_fields_set:
        raise ValueError(f"paper.target_rule: {section.target_rule!r} is none of blind_spots.target_rules")
    for name in section.beside:
        if name not in spec.datasets:
            raise ValueError(f"paper.beside: there is no data set {name!r}")
