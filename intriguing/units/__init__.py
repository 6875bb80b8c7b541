"""Directions in a layer's space, the inputs that they respond to, and whether single units are special.

`Directions` and `TopK` find the inputs, `labels`, `selectivity` and `judges` score them, and `rotation` wraps every
score in the test against random rotations of the basis. `scores` says what is known of each score, and costs no torch;
the names below are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intriguing.units.directions import Directions
    from intriguing.units.from_arrays import RotationTests, ScoreTest, rotation_test
    from intriguing.units.moments import Moments
    from intriguing.units.topk import Top, TopK

_HOME = {
    "Directions": "intriguing.units.directions",
    "Moments": "intriguing.units.moments",
    "RotationTests": "intriguing.units.from_arrays",
    "ScoreTest": "intriguing.units.from_arrays",
    "Top": "intriguing.units.topk",
    "TopK": "intriguing.units.topk",
    "rotation_test": "intriguing.units.from_arrays",
}

__all__ = ["Directions", "Moments", "RotationTests", "ScoreTest", "Top", "TopK", "rotation_test"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
