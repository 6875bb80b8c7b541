"""Slopes of the lines that suit one linear form: lines are chosen anew, per image and class, to raise its bound.

Any slope is sound, so they may be found by ascent on the bound itself (alpha-CROWN, Xu et al. 2021, arXiv:2011.13824),
here in all layers that lie between the form and the input, for the few classes that decide a radius. The intervals stay
as they are, and are most of the cost.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.stability.lines import relaxations
from intriguing.stability.lines.linear_bounds import Intervals, LinearBounds, Slopes
from intriguing.stability.region import Region
from intriguing.stability.tracing.ops import Elementwise

_STEPS = 12
_FURTHER = 4
"""Steps from slopes that suited the same form at another radius."""
_RATE = 0.4
"""The first step, as a part of the range that a slope may have; it falls linearly."""


@dataclass(frozen=True)
class Aligned:
    """Slopes that suit some classes: of which classes (B, R) they are, and the slopes."""

    classes: Tensor
    slopes: Slopes


def aligned(
    bounds: LinearBounds,
    rows: Tensor,
    classes: Tensor,
    values: list[Tensor],
    intervals: Intervals,
    region: Region,
    radius: Tensor,
    before: Aligned | None,
) -> Aligned:
    """Slopes for each of `rows` (B, R, classes) at the output that raise its least value within `radius` (B,).

    classes: (B, R), what the rows stand for. before: slopes for another radius, to begin with where they are of the
    same class.
    """
    last, count = len(values) - 1, rows.shape[1]
    bounds = bounds.without_balls()
    ranges = _ranges(bounds, intervals, count)
    if not ranges:
        return Aligned(classes, {})
    slopes: Slopes = {i: (below.clone(), above.clone()) for i, (below, above, _, _) in ranges.items()}
    steps, rate = _STEPS, _RATE
    if before is not None:
        steps, rate = _FURTHER, _RATE * _FURTHER / _STEPS
        same = (before.classes == classes)[:, :, None]
        for i, (_, _, least, most) in ranges.items():
            pairs = zip(before.slopes[i], slopes[i], strict=True)
            moved = [torch.where(same, old.to(new), new).clamp(least, most) for old, new in pairs]
            slopes[i] = moved[0], moved[1]
    best = {i: (b.clone(), a.clone()) for i, (b, a) in slopes.items()}
    top = torch.full(rows.shape[:2], -torch.inf, dtype=rows.dtype, device=rows.device)
    for step in range(steps + 1):
        leaves = [t.requires_grad_() for pair in slopes.values() for t in pair]
        with torch.enable_grad():
            form = bounds.with_slopes(slopes).form(last, rows, values, intervals)
            least = form.constant - radius[:, None] * region.smooth_norms(form.slope)
        better = (least.detach() > top)[:, :, None]
        top = torch.maximum(top, least.detach())
        for i, kept in best.items():
            best[i] = _kept(better, slopes[i][0], kept[0]), _kept(better, slopes[i][1], kept[1])
        if step == steps:
            break
        gradients = torch.autograd.grad(least, leaves, torch.ones_like(least), allow_unused=True)
        share = rate * (1 - step / steps)
        for place, i in enumerate(slopes):
            _, _, low, high = ranges[i]
            moved = []
            for slope, gradient in zip(slopes[i], gradients[2 * place : 2 * place + 2], strict=True):
                gradient = torch.zeros_like(slope) if gradient is None else gradient.nan_to_num()
                largest = gradient.abs().amax(2, keepdim=True).clamp(min=1e-30)
                width = high - low
                # By the size of the gradient, but no slope stands still for another's larger one.
                push = torch.sign(gradient) * (gradient.abs() / largest).sqrt()
                moved.append(torch.minimum(torch.maximum(slope.detach() + share * width * push, low), high))
            slopes[i] = (moved[0], moved[1])
    return Aligned(classes, best)


def _kept(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better, new.detach(), old)


def _ranges(bounds: LinearBounds, intervals: Intervals, count: int) -> dict[int, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """For nodes whose lines may turn: their slopes below and above, and the least and largest slope, (B, R, N)."""
    found = {}
    for i in bounds.nonlinear:
        op = bounds.graph.nodes[i].op
        shape = relaxations.shape_of(op) if isinstance(op, Elementwise) else None
        if not isinstance(op, Elementwise) or shape is None or shape.touch is None:
            continue
        low, high = (t.flatten(1) for t in intervals[bounds.graph.nodes[i].inputs[0]])
        below, above = relaxations.chosen_slopes(op, shape, low, high)
        ends = [shape.slope(z) for z in (low, high, torch.zeros_like(low).clamp(low, high))]
        least, most = torch.stack(ends).amin(0), torch.stack(ends).amax(0)
        wide = [t[:, None].expand(-1, count, -1) for t in (below, above, least, most)]
        found[i] = wide[0], wide[1], wide[2], wide[3]
    return found
