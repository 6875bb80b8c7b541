"""Points all around an image of few values, for regions that no gradient leads to.

A descent follows the gradients that it meets, and what lies behind the image, beside a face of the box or beyond a
plateau it never sees. An image of a few values has so few directions that some hundred points show what is there.
"""

import math
from functools import cache

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Bound, clip
from intriguing.blind_spots.arithmetic.objective import pair, standing
from intriguing.blind_spots.network.evaluate import Evaluator

FEW = 16
"""Largest number of values of an image that is probed. In more dimensions so few points show next to nothing."""
PROBES = 512
_OCTAVES = 5
"""Distances of the points, evenly spread over so many halvings of the largest."""
_ROWS = 32
"""Rows that are probed at once."""
_KEY = 20140416


@cache
def _pattern(size: int) -> Tensor:
    """Changes (PROBES, size) in all directions, of norms up to 1: a Sobol sequence of directions and distances."""
    places = torch.quasirandom.SobolEngine(size + 1, scramble=True, seed=_KEY).draw(PROBES, dtype=torch.float64)
    normal = torch.erfinv((2 * places[:, :size] - 1).clamp(-1 + 1e-9, 1 - 1e-9))
    normal = normal.where(normal != 0, torch.full_like(normal, 1e-9))
    return normal / normal.norm(dim=1, keepdim=True) * 2 ** (-_OCTAVES * places[:, size:])


def nearest_probes(
    evaluator: Evaluator, x0: Tensor, rivals: Tensor, distance: Tensor, lower: Bound, upper: Bound
) -> tuple[Tensor, Tensor]:
    """The successes (R, n) nearest to the images `x0` (R, n) among points around them, and which have one (R,).

    The points lie within `distance` (R,), which may be infinite, and are clipped to the box. A success is a point where
    a class that is not one of the `rivals` (R, C) wins.
    """
    pattern = torch.zeros(PROBES, x0.shape[1], dtype=x0.dtype, device=x0.device)
    pattern[:, : evaluator.size] = _pattern(evaluator.size).to(pattern)
    there, found = x0.clone(), torch.zeros_like(distance, dtype=torch.bool)
    for rows in torch.arange(len(x0), device=x0.device).split(_ROWS):
        points = x0[rows, None] + distance[rows, None, None] * pattern
        points = clip(points.flatten(0, 1), lower, upper)
        masks = rivals[rows].repeat_interleave(PROBES, 0)
        both = standing(evaluator.forward(points), ~masks, masks)
        length = (points.unflatten(0, (-1, PROBES)) - x0[rows, None]).norm(dim=2)
        won = (both.gap > both.slack).unflatten(0, (-1, PROBES)) & (length < distance[rows, None])
        least, which = length.masked_fill(~won, math.inf).min(1)
        there[rows] = points.unflatten(0, (-1, PROBES))[torch.arange(len(rows), device=x0.device), which]
        found[rows] = least.isfinite()
    return there, found


def slopes(evaluator: Evaluator, points: Tensor, rivals: Tensor) -> Tensor:
    """Whether the margin over the `rivals` (R, C) has a gradient at the points (R, n) that is not zero, (R,)."""

    def margin(logits: Tensor, s: slice | Tensor) -> tuple[Tensor, Tensor]:
        both = standing(logits, ~rivals[s], rivals[s])
        return pair(logits, both.winner, both.rival)

    gradient = evaluator.gradient(points, margin)[2]
    return (gradient != 0).any(1) & gradient.isfinite().all(1)
