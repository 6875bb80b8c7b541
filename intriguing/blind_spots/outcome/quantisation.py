"""Quantised results: images whose values lie on evenly spaced levels, such as the 256 levels of 8-bit images.

A rounded result is often no success any more. So the change is enlarged until its rounded form is a success. For a
linear boundary this solves the Lagrangian relaxation of the integer problem: each value moves to the level nearest to
its part of the change, and the scale is the multiplier. Then single values move by one level: back to the image where
that saves much distance and costs little margin, away from it where that gains margin. The same relaxation, with the
gradient of the margin at the current point, chooses them. The model checks every step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.arithmetic.lbfgs import dot
from intriguing.blind_spots.arithmetic.objective import pair, standing
from intriguing.blind_spots.network.evaluate import Evaluator

_SCALES = tuple(1 + 0.01 * (2.0**k - 1) for k in range(20))
_BISECTIONS = 5
_ROUNDS = 12
_MULTIPLIERS = 24
"""Number of bisections that find the multiplier of an exchange."""


@dataclass(frozen=True)
class Grid:
    """`levels` values from the lower to the upper bound of each value of an input, equally far apart."""

    levels: int
    box: Box

    def level(self, x: Tensor) -> Tensor:
        """The number of the nearest level, 0 to levels - 1, of each value of x (R, n); float64."""
        lower, upper = (b.double() if isinstance(b, Tensor) else b for b in self.box.pair)
        return ((x.double() - lower) / (upper - lower) * (self.levels - 1)).round().clamp(0, self.levels - 1)

    def value(self, level: Tensor, like: Tensor) -> Tensor:
        """The values of levels, of the type of `like`: in [0, 1] exactly k / (levels - 1), in [0, 255] whole."""
        lower, upper = (b.double() if isinstance(b, Tensor) else b for b in self.box.pair)
        last = self.levels - 1
        return ((lower * (last - level) + upper * level) / last).to(like.dtype)

    def nearest(self, x: Tensor) -> Tensor:
        """Each row of x (R, n) with every value at its nearest level."""
        return self.value(self.level(x), x)


@dataclass(frozen=True)
class Quantised:
    """Results on the grid (R, n), whether each is a success (R,), and the passes spent (R,)."""

    best: Tensor
    success: Tensor
    forward: Tensor
    backward: Tensor


@dataclass(frozen=True)
class _Rows:
    """Images x0 (R, n) and, as masks (R, C), the classes to reach (`goals`) and their rivals."""

    evaluator: Evaluator
    x0: Tensor
    goals: Tensor
    rivals: Tensor

    def of(self, index: Tensor) -> "_Rows":
        return _Rows(self.evaluator, self.x0[index], self.goals[index], self.rivals[index])

    def succeeds(self, x: Tensor) -> Tensor:
        both = standing(self.evaluator.forward(x), self.goals, self.rivals)
        return both.gap > both.slack

    def slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The margin (R,) of the best goal over its best rival, and the margin's gradient (R, n)."""

        def loss(z: Tensor, s: slice | Tensor) -> tuple[Tensor, Tensor]:
            both = standing(z, self.goals[s], self.rivals[s])
            return pair(z, both.winner, both.rival)

        _, gap, gradient = self.evaluator.gradient(x, loss)
        return gap, gradient

    def distance(self, x: Tensor) -> Tensor:
        r = x - self.x0
        return dot(r, r)


def on_grid(
    evaluator: Evaluator, grid: Grid, x0: Tensor, best: Tensor, goals: Tensor, rivals: Tensor, at_once: int
) -> Quantised:
    """Successes on the grid, near the images x0 (R, n), from the successes `best` (R, n) that need not lie on it.

    goals, rivals: (R, C) masks; at_once: how many rows are worked on together. A row's result does not depend on the
    other rows.
    """
    parts = []
    for index in torch.arange(len(x0), device=x0.device).split(at_once):
        rows = _Rows(evaluator, x0[index], goals[index], rivals[index])
        parts.append(_improved(rows, grid, _scaled(rows, grid, best[index])))
    return Quantised(*(torch.cat([getattr(p, name) for p in parts]) for name in Quantised.__dataclass_fields__))


def _scaled(rows: _Rows, grid: Grid, best: Tensor) -> Quantised:
    """The rounded change, enlarged by the smallest factor found that makes it a success."""
    count = len(best)
    low, high = best.new_ones(count), best.new_full((count,), torch.inf)
    out = best.clone()
    forward = torch.zeros(count, dtype=torch.int64, device=best.device)

    def attempt(index: Tensor, scale: Tensor) -> Tensor:
        x = grid.nearest(torch.lerp(rows.x0[index], best[index], scale[:, None]))
        won = rows.of(index).succeeds(x)
        out[index[won]] = x[won]
        forward[index] += 1
        return won

    last = 1.0
    for scale in _SCALES:
        index = high.isinf().nonzero().squeeze(1)
        if len(index) == 0:
            break
        won = attempt(index, torch.full_like(low[index], scale))
        high[index[won]], low[index[won]] = scale, last
        last = scale
    success = high.isfinite()
    index = (success & (high > low)).nonzero().squeeze(1)
    for _ in range(_BISECTIONS if len(index) else 0):
        middle = (low[index] + high[index]) / 2
        won = attempt(index, middle)
        high[index] = torch.where(won, middle, high[index])
        low[index] = torch.where(won, low[index], middle)
    return Quantised(out, success, forward, torch.zeros_like(forward))


def _improved(rows: _Rows, grid: Grid, start: Quantised) -> Quantised:
    """Move values by one level while that lowers the distance and the result stays a success."""
    index = start.success.nonzero().squeeze(1)
    best, forward, backward = start.best, start.forward.clone(), start.backward.clone()
    if len(index) == 0:
        return start
    rows = rows.of(index)
    x = best[index]
    keep = x.new_full((len(index),), 0.1)
    gap, gradient = rows.slope(x)
    backward[index] += 1
    forward[index] += 1
    for turn in range(_ROUNDS):
        # Alternate between all moves and moves back to the image: the gradient knows one rival, and another may gain.
        other = _exchanged(rows, grid, x, gradient, (1 - keep) * gap, back=turn % 2 == 1)
        better = rows.succeeds(other) & (rows.distance(other) < rows.distance(x))
        forward[index] += 1
        keep = torch.where(better, keep, (1 + keep) / 2)
        if bool(better.any()):
            x = torch.where(better[:, None], other, x)
            moved = better.nonzero().squeeze(1)
            gap[moved], gradient[moved] = rows.of(moved).slope(x[moved])
            forward[index[moved]] += 1
            backward[index[moved]] += 1
    best = best.clone()
    best[index] = x
    return Quantised(best, start.success, forward, backward)


def _exchanged(rows: _Rows, grid: Grid, x: Tensor, gradient: Tensor, spare: Tensor, back: bool) -> Tensor:
    """The nearest point within one level of x (R, n) that loses at most `spare` (R,) of the linearised margin.

    gradient: (R, n), of the margin at x; back: values may only move towards the image.
    """
    level = grid.level(x)
    x0 = rows.x0
    down, up = (grid.value((level + d).clamp(0, grid.levels - 1), x) for d in (-1, 1))
    here = (x - x0) ** 2
    steps = [(side - x, (side - x0) ** 2 - here) for side in (down, up)]
    costs = [cost.masked_fill(cost >= 0, torch.inf) if back else cost for _, cost in steps]
    gains = [gradient * step for step, _ in steps]

    def moves(u: Tensor) -> tuple[Tensor, Tensor]:
        worth = [cost - u[:, None] * gain for cost, gain in zip(costs, gains, strict=True)]
        first = (worth[0] < 0) & (worth[0] <= worth[1])
        second = (worth[1] < 0) & ~first
        return first, second

    def margin(u: Tensor) -> Tensor:
        first, second = moves(u)
        return (gains[0] * first + gains[1] * second).sum(1)

    low = torch.zeros_like(spare)
    high = 16 * dot(x - x0, x - x0).sqrt() / dot(gradient, gradient).sqrt().clamp(min=1e-30)
    for _ in range(_MULTIPLIERS):
        middle = (low + high) / 2
        enough = margin(middle) >= -spare
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    first, second = moves(high)
    moved = torch.where(first, down, torch.where(second, up, x))
    return torch.where((margin(high) >= -spare)[:, None], moved, x)


def outward(grid: Grid, x0: Tensor, x: Tensor, gradient: Tensor, count: int) -> Tensor:
    """The point x (n,) after moves by one level of the `count` values that gain most margin per distance."""
    level = grid.level(x[None])[0]
    up = (level + gradient.double().sign()).clamp(0, grid.levels - 1)
    moved = grid.value(up[None], x)[0]
    gain = gradient * (moved - x)
    price = ((moved - x0) ** 2 - (x - x0) ** 2).clamp(min=0)
    worth = torch.where(gain > 0, gain / (price + 1e-12 * (1 + price.max())), torch.zeros_like(gain))
    selected = torch.zeros_like(gain, dtype=torch.bool)
    selected[worth.argsort(descending=True, stable=True)[:count]] = True
    return torch.where(selected & (gain > 0), moved, x)
