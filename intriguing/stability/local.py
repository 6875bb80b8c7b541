"""Lipschitz bounds near an image: the radius that every value of the network keeps to, operation by operation.

Some networks have no linear bounds: they hold an operation without lines, or are too large. For these a product of
norms remains. Near an image it can be far smaller than over the whole space: a normalisation is steepest at a constant
input, 1 / sqrt(eps), while at a distance r from the image its slope is at most 1 / (sd - r / sqrt(n)); a sigmoid far
from 0 is flat; a ReLU whose input stays below 0 passes nothing on.

Let the input move by at most r, and let rho be a bound on how far a value of the network then moves. Each operation
takes rho to its local gain times rho. By the mean value theorem on the ball, |f(x + d) - f(x)| <= rho for |d| <= r.

Source: Hein and Andriushchenko 2017, arXiv:1705.08475 (products of local norms).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intriguing.stability.lines.relaxations import steepest
from intriguing.stability.lipschitz import spectrum
from intriguing.stability.lipschitz.gains import slope_bound
from intriguing.stability.tracing.graph import Graph
from intriguing.stability.tracing.ops import Concat, Dense, Elementwise, Smooth, Sum, flattened

if TYPE_CHECKING:
    from intriguing.stability.problem import Problem

_STEPS = 12
"""Number of radii that are tried for each image, by bisection of their logarithm. The bracket begins with the product
bound and the distance that a search found."""
_FAR = 1e3
"""The upper end of the bracket, over the product bound, where no search found anything."""
_WIDE = 256
"""Largest smaller side of a dense layer whose matrix is bounded together with the slopes of the function before it."""


def bounds(problem: "Problem") -> Tensor:
    """(B, C): the norm below which no change reaches a class, from Lipschitz bounds near the image."""
    margins, count = problem.margins, problem.margins.shape[1]
    own = torch.arange(count, device=margins.device) == problem.labels[:, None]
    low = problem.slack(torch.zeros_like(margins[:, 0]))
    least = torch.where(own | (margins <= 0), torch.inf, margins - low).amin(1)
    low = (least / (problem.rounding.reach[-1] * 4)).clamp(min=1e-12, max=1e12)
    high = low * _FAR if problem.found is None else problem.found.clamp(max=1e12)
    high = torch.maximum(torch.where(high.isfinite(), high, low * _FAR), low)
    best = torch.full_like(margins, torch.nan)
    for _ in range(_STEPS):
        radius = (low * high).sqrt()
        proven = _at(problem, radius)
        best = torch.fmax(best, proven)
        passed = torch.where(own | (margins <= 0), torch.inf, proven).amin(1) >= radius * (1 - 1e-12)
        low, high = torch.where(passed, radius, low), torch.where(passed, high, radius)
    return best


def _at(problem: "Problem", radius: Tensor) -> Tensor:
    """(B, C): what is proven by the bounds that hold up to `radius` (B,), no more than it."""
    pairs, at = problem.pairs()
    reach = reaches(problem.graph, problem.values, radius, problem.rounding.gains)[at]
    need = problem.margins - problem.slack(radius)
    fall = pairs * (reach / radius)[:, None] * (1 + 1e-9)
    return torch.minimum((need / fall.clamp(min=1e-300)).clamp(min=0), radius[:, None])


def reaches(graph: Graph, values: list[Tensor], radius: Tensor, gains: list[float]) -> list[Tensor]:
    """For every node how far (B,) its value moves, in L2, when the input moves by at most `radius` (B,)."""
    reach: list[Tensor] = [radius]
    slopes: dict[int, Tensor] = {}
    for i, node in enumerate(graph.nodes[1:], start=1):
        before, op = [reach[j] for j in node.inputs], node.op
        source = node.inputs[0] if node.inputs else 0
        if isinstance(op, Sum):
            parts = [abs(c) * b for c, b in zip(op.coefficients, before, strict=True)]
            reach.append(torch.stack(parts).sum(0))
        elif isinstance(op, Concat):
            reach.append(torch.stack(before).square().sum(0).sqrt())
        elif isinstance(op, Elementwise):
            steep = steepest(op, values[source], before[0])
            if steep is None:
                reach.append(slope_bound(op) * before[0])
            else:
                slopes[i] = flattened(steep)
                reach.append(slopes[i].amax(1) * before[0])
        elif isinstance(op, Smooth) and op.local is not None:
            reach.append(op.local(values[source], before[0]).clamp(max=op.bound) * before[0])
        elif isinstance(op, Dense) and source in slopes and len(node.shape) == 1 and min(op.weight.shape) <= _WIDE:
            entering = reach[graph.nodes[source].inputs[0]]
            reach.append(torch.minimum(_masked(op.weight, slopes[source]) * entering, gains[i] * before[0]))
        else:
            reach.append(gains[i] * before[0])
    return reach


def _masked(weight: Tensor, slopes: Tensor) -> Tensor:
    """Bounds (B,) on the norms of weight diag(s), for the rows s (B, n) of `slopes`."""
    norms = [spectrum.gram_bound((weight * s)[None]) for s in slopes]
    return torch.tensor(norms, dtype=slopes.dtype, device=slopes.device)
