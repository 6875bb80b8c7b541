"""The options of a search."""

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from intriguing.basics.text.brief import brief
from intriguing.blind_spots.grades import GRADES
from intriguing.errors import InputError, check_names, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

PENALTY_FORMS = ("squared_l2", "l2")
BOUNDS = ("linear", "fast", "slow")


@dataclass(frozen=True, eq=False)
class SearchOptions:
    """Options of `minimal_distortion`; each is checked when the object is built.

        import intriguing as ig
        options = ig.SearchOptions(grade="fast", lower=-1.0, upper=1.0)

    Raises: `InputError` for a value out of range and `UnknownNameError` for a name that is none of the listed.
    """

    __repr__ = brief

    grade: str = "best"
    """best: nearest to the optimum. thorough: nearer still on hard networks, with some times the passes. fast: a quick
    approximation. faithful: the paper's procedure and nothing else."""

    lower: "float | Tensor" = 0.0
    """Lower bound of every input value; the box is part of the problem. A tensor that broadcasts to an image gives each
    value its own: for images (C, H, W) that were normalised outside of the model, (0 - mean) / std of shape (C, 1, 1).
    All distances are in the units of the input as given."""

    upper: "float | Tensor" = 1.0
    """Upper bound of every input value, as `lower`."""

    quantised_levels: int | None = None
    """Results lie on so many evenly spaced levels from the lower to the upper bound: 256 for 8-bit images. They are
    searched for on this grid, and the distances are theirs. None: any value of the box."""

    slots: int = 256
    """How many searches run side by side. More use the device better and need more memory; fewer are used if they do
    not fit, and on a CPU 16 or 64 at most where the model's rows are expensive. On a CPU the number of slots changes no
    result. Where torch uses MKL, this holds if `intriguing` was imported before the first matrix product
    (see `intriguing/__init__.py`). The guide "Blind spots" says how many rows the model is fed at a time.
    """

    classes: int = 3
    """Untargeted: how many wrong classes `best` and `thorough` search to the end. The 9 with the largest logits start
    (or as many as are asked for), and after a few steps the nearest go on; the other grades want any wrong class."""

    passes: int | None = None
    """best and thorough: each image gets more starts until it has had so many forward and backward passes (what it gets
    anyway is not cut short). More never give a larger distance. None: as many as the grade makes."""

    exact_linear: str = "auto"
    """auto: a model that is linear by its structure is solved exactly (best and fast). off: it is searched."""

    bounds: str = "linear"
    """What is proven of each search, as `lower_bound`: linear (linear models alone, at no cost); fast or slow (other
    networks too, by `intriguing.stability.lower_bounds`: 20 ms or half a second for a digit and a small network). Of
    small networks best and thorough then drop the classes that are proven to be farther than what is found."""

    penalty_form: str = "squared_l2"
    """The norm that the paper's c multiplies: squared_l2 (smooth everywhere) or l2."""

    penalty_tolerance: float = 1e-3
    """faithful: how closely the penalty c is determined. The search ends when the smallest c that fails is less than
    1 + penalty_tolerance times the largest c that succeeds. Larger is faster and less exact."""

    memory_fraction: float = 0.8
    """Share of the device's available memory that a search may plan with."""

    def __post_init__(self) -> None:
        if self.grade not in GRADES:
            raise unknown_name("grade", str(self.grade), GRADES)
        if self.penalty_form not in PENALTY_FORMS:
            raise unknown_name("penalty form", str(self.penalty_form), PENALTY_FORMS)
        if self.bounds not in BOUNDS:
            raise unknown_name("value of bounds", str(self.bounds), BOUNDS)
        if self.exact_linear not in ("auto", "off"):
            raise unknown_name("value of exact_linear", str(self.exact_linear), ("auto", "off"))
        object.__setattr__(self, "lower", _bound("lower", self.lower))
        object.__setattr__(self, "upper", _bound("upper", self.upper))
        _check_box(self.lower, self.upper)
        if self.quantised_levels is not None:
            _at_least("quantised_levels", self.quantised_levels, 2)
        _at_least("slots", self.slots, 1)
        _at_least("classes", self.classes, 1)
        if self.passes is not None:
            _at_least("passes", self.passes, 1)
            if not GRADES[self.grade].starts:
                raise InputError(f"The grade {self.grade} takes no passes; best and thorough do.")
        if not 0 < _number("penalty_tolerance", self.penalty_tolerance) < 1:
            raise InputError(f"penalty_tolerance is {self.penalty_tolerance}; it must lie between 0 and 1.")
        if not 0 < _number("memory_fraction", self.memory_fraction) <= 1:
            raise InputError(f"memory_fraction is {self.memory_fraction}; it must lie in (0, 1].")

    def with_(self, **changes: object) -> "SearchOptions":
        """A copy with `changes`; an unknown field raises `UnknownNameError` with the nearest valid ones."""
        check_names("search option", changes, [f.name for f in fields(self)])
        return replace(self, **changes)  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchOptions) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        values = (getattr(self, f.name) for f in fields(self))
        return tuple((tuple(v.shape), *v.flatten().tolist()) if hasattr(v, "shape") else v for v in values)


def _bound(name: str, value: Any) -> "float | Tensor":
    """A bound as a number, or as a tensor of one dimension or more."""
    if isinstance(value, (bool, str)):
        raise InputError(f"{name} is {value!r}; it must be a number, or a tensor that broadcasts to an image.")
    if isinstance(value, (int, float)):
        return value
    import torch

    try:
        tensor = torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"{name} is {value!r}; it must be a number, or a tensor that broadcasts to an image."
        ) from None
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise InputError(f"{name} is a {tensor.dtype} tensor; it must hold numbers.")
    return tensor.double() if tensor.ndim else float(tensor)


def _check_box(lower: Any, upper: Any) -> None:
    """Raise `InputError` unless both bounds are finite and the lower one is below the upper one everywhere."""
    if not hasattr(lower, "shape") and not hasattr(upper, "shape"):
        if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
            raise InputError(f"The box [{lower}, {upper}] must be finite, with lower < upper.")
        return
    import torch

    try:
        low, high = torch.broadcast_tensors(torch.as_tensor(lower).cpu(), torch.as_tensor(upper).cpu())
    except RuntimeError:
        shapes = f"{tuple(lower.shape)} and {tuple(upper.shape)}"
        raise InputError(f"lower and upper have the shapes {shapes}, which do not broadcast to each other.") from None
    if not bool((low.isfinite() & high.isfinite() & (low < high)).all()):
        raise InputError("The box must be finite, with lower < upper for every value.")


def _at_least(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} is {value!r}; it must be a whole number of at least {least}.")


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} is {value!r}; it must be a number.")
    return value
