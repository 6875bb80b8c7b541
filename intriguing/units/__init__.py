"""Directions in a layer's space, the inputs with the largest projections on them, and the rotation test.

`Directions` and `TopK` find these inputs; `labels`, `selectivity` and `judges` score them; `rotation` compares every
score with that of random rotations of the basis. `scores` describes the scores and does not import torch. The names
below are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intriguing.units.directions import Directions
    from intriguing.units.from_arrays import RotationTests, ScoreTest, rotation_test
    from intriguing.units.moments import Moments
    from intriguing.units.scan.topk import Top, TopK

_HOME = {
    "Directions": "intriguing.units.directions",
    "Moments": "intriguing.units.moments",
    "RotationTests": "intriguing.units.from_arrays",
    "ScoreTest": "intriguing.units.from_arrays",
    "Top": "intriguing.units.scan.topk",
    "TopK": "intriguing.units.scan.topk",
    "rotation_test": "intriguing.units.from_arrays",
}

__all__ = ["Directions", "Moments", "RotationTests", "ScoreTest", "Top", "TopK", "rotation_test"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
