"""Directions in a layer's space, the inputs that they respond to, and whether single units are special.

`Directions` and `TopK` find the inputs, `labels`, `selectivity` and `judges` score them, and `rotation` wraps every
score in the test against random rotations of the basis.
"""

from intriguing.units.directions import Directions
from intriguing.units.moments import Moments
from intriguing.units.topk import Top, TopK

__all__ = ["Directions", "Moments", "Top", "TopK"]
