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
from intriguing.stability.tracing.ops import Elementwise, flattened

_STEPS = 12
_FURTHER = 4
"""Steps from slopes that suited the same form at another radius."""
_RATE = 0.4
"""The first step, as a part of the range that a slope may have; it falls linearly."""

Ranges = dict[int, tuple[Tensor, Tensor, Tensor, Tensor]]
"""By node: the slopes of its lines below and above, and the least and largest slope that they may have, (B, R, N)."""


@dataclass(frozen=True)
class Aligned:
    """Slopes that suit some classes: of which classes (B, R) they are, and the slopes."""

    classes: Tensor
    slopes: Slopes


@dataclass(frozen=True)
class Forms:
    """The linear forms whose bounds the slopes shall raise."""

    rows: Tensor
    """(B, R, classes): the forms of the output."""
    classes: Tensor
    """(B, R): the class that each stands for."""
    region: Region
    radius: Tensor
    """(B,): the radius within which they are bounded."""


def aligned(
    bounds: LinearBounds, forms: Forms, values: list[Tensor], intervals: Intervals, before: Aligned | None
) -> Aligned:
    """Slopes for each of the `forms` that raise its least value within the radius.

    values: those of all nodes at the images. before: slopes for another radius, to begin with where they are of the
    same class.
    """
    bounds = bounds.without_balls()
    ranges = _ranges(bounds, intervals, forms.rows.shape[1])
    if not ranges:
        return Aligned(forms.classes, {})
    slopes = _start(ranges, forms.classes, before)
    steps, rate = (_STEPS, _RATE) if before is None else (_FURTHER, _RATE * _FURTHER / _STEPS)
    best = {i: (b.clone(), a.clone()) for i, (b, a) in slopes.items()}
    top = torch.full(forms.rows.shape[:2], -torch.inf, dtype=forms.rows.dtype, device=forms.rows.device)
    for step in range(steps + 1):
        leaves = [t.requires_grad_() for pair in slopes.values() for t in pair]
        with torch.enable_grad():
            form = bounds.with_slopes(slopes).form(len(values) - 1, forms.rows, values, intervals)
            least = form.constant - forms.radius[:, None] * forms.region.smooth_norms(form.slope)
        better = (least.detach() > top)[:, :, None]
        top = torch.maximum(top, least.detach())
        for i, kept in best.items():
            best[i] = _kept(better, slopes[i][0], kept[0]), _kept(better, slopes[i][1], kept[1])
        if step == steps:
            break
        gradients = torch.autograd.grad(least, leaves, torch.ones_like(least), allow_unused=True)
        share = rate * (1 - step / steps)
        for place, (i, (below, above)) in enumerate(slopes.items()):
            _, _, low, high = ranges[i]
            pairs = zip((below, above), gradients[2 * place : 2 * place + 2], strict=True)
            moved = [_ascended(slope, gradient, low, high, share) for slope, gradient in pairs]
            slopes[i] = moved[0], moved[1]
    return Aligned(forms.classes, best)


def _start(ranges: Ranges, classes: Tensor, before: Aligned | None) -> Slopes:
    """The slopes to begin with: the usual ones, or those of `before` where they are of the same class."""
    slopes: Slopes = {i: (below.clone(), above.clone()) for i, (below, above, _, _) in ranges.items()}
    if before is not None:
        same = (before.classes == classes)[:, :, None]
        for i, (_, _, least, most) in ranges.items():
            pairs = zip(before.slopes[i], slopes[i], strict=True)
            moved = [torch.where(same, old.to(new), new).clamp(least, most) for old, new in pairs]
            slopes[i] = moved[0], moved[1]
    return slopes


def _ascended(slope: Tensor, gradient: Tensor | None, low: Tensor, high: Tensor, share: float) -> Tensor:
    """The slopes after a step of at most `share` of their range along the gradient."""
    gradient = torch.zeros_like(slope) if gradient is None else gradient.nan_to_num()
    largest = gradient.abs().amax(2, keepdim=True).clamp(min=1e-30)
    # By the size of the gradient, but no slope stands still for another's larger one.
    push = torch.sign(gradient) * (gradient.abs() / largest).sqrt()
    return torch.minimum(torch.maximum(slope.detach() + share * (high - low) * push, low), high)


def _kept(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better, new.detach(), old)


def _ranges(bounds: LinearBounds, intervals: Intervals, count: int) -> Ranges:
    """For nodes whose lines may turn: their slopes below and above, and the least and largest slope, (B, R, N)."""
    found = {}
    for i in bounds.nonlinear:
        op = bounds.graph.nodes[i].op
        shape = relaxations.shape_of(op) if isinstance(op, Elementwise) else None
        if not isinstance(op, Elementwise) or shape is None or shape.touch is None:
            continue
        low, high = (flattened(t) for t in intervals[bounds.graph.nodes[i].inputs[0]])
        below, above = relaxations.chosen_slopes(op, shape, low, high)
        ends = [shape.slope(z) for z in (low, high, torch.zeros_like(low).clamp(low, high))]
        least, most = torch.stack(ends).amin(0), torch.stack(ends).amax(0)
        wide = [t[:, None].expand(-1, count, -1) for t in (below, above, least, most)]
        found[i] = wide[0], wide[1], wide[2], wide[3]
    return found
