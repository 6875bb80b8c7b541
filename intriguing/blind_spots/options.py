"""What a user may choose about a search."""

import math
from dataclasses import dataclass, fields, replace

from intriguing.errors import InputError, unknown_name

GRADES = ("best", "fast", "faithful")
PENALTY_FORMS = ("squared_l2", "l2")


@dataclass(frozen=True)
class SearchOptions:
    """Options of `minimal_distortion`; each is checked when the object is built.

    Raises `InputError` for a value out of range and `UnknownNameError` for a name that is none of the listed.
    """

    grade: str = "best"
    """best: nearest to the optimum. fast: a quick approximation. faithful: the paper's procedure and nothing else."""

    lower: float = 0.0
    """Lower bound of every input value; the box is part of the problem."""

    upper: float = 1.0
    """Upper bound of every input value."""

    slots: int = 256
    """Searches that are in the device's memory at once; finished ones make room for waiting ones. The model sees full
    batches, the last one padded: on a GPU of as many rows as slots, on a CPU of 128 and of multiples of 32 (with fewer
    than 128 slots of 32 alone). Their number changes no result on a CPU (where torch's products are MKL's, only if
    `intriguing` was imported before the first one: see `intriguing/__init__.py`).
    """

    classes: int = 3
    """Untargeted: how many of the nearest wrong classes `best` searches, of the 9 with the largest logits (or
    all, where as many are asked for); the other grades want any wrong class."""

    exact_linear: str = "auto"
    """auto: a model that is linear by its structure is solved exactly (best and fast). off: it is searched."""

    penalty_form: str = "squared_l2"
    """The norm that the paper's c multiplies: squared_l2 (smooth everywhere) or l2."""

    penalty_tolerance: float = 1e-3
    """faithful: the bracket of c is halved, in its logarithm, until its ends differ by less than this factor."""

    memory_fraction: float = 0.8
    """Share of the device's free memory that a search may plan with; more is refused before any work."""

    def __post_init__(self) -> None:
        if self.grade not in GRADES:
            raise unknown_name("grade", str(self.grade), GRADES)
        if self.penalty_form not in PENALTY_FORMS:
            raise unknown_name("penalty form", str(self.penalty_form), PENALTY_FORMS)
        if self.exact_linear not in ("auto", "off"):
            raise unknown_name("value of exact_linear", str(self.exact_linear), ("auto", "off"))
        _number("lower", self.lower)
        _number("upper", self.upper)
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise InputError(f"The box [{self.lower}, {self.upper}] must be finite, with lower < upper.")
        _at_least("slots", self.slots, 1)
        _at_least("classes", self.classes, 1)
        if not 0 < _number("penalty_tolerance", self.penalty_tolerance) < 1:
            raise InputError(f"penalty_tolerance is {self.penalty_tolerance}; it must lie between 0 and 1.")
        if not 0 < _number("memory_fraction", self.memory_fraction) <= 1:
            raise InputError(f"memory_fraction is {self.memory_fraction}; it must lie in (0, 1].")

    def with_(self, **changes: object) -> "SearchOptions":
        """A copy with `changes`; an unknown field raises `UnknownNameError` with the nearest valid ones."""
        valid = [f.name for f in fields(self)]
        for name in changes:
            if name not in valid:
                raise unknown_name("search option", name, valid)
        return replace(self, **changes)  # type: ignore[arg-type]


def _at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}.")


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} is {value!r}; it must be a number.")
    return value
