"""Results on a grid of levels, as 8-bit images have them: found there, not rounded afterwards.

Rounding a result throws it back over the boundary as often as not. Here the change is scaled until its rounded form
succeeds, which for a linear boundary is the solution of the integer problem's Lagrangian relaxation: each value moves
to the level nearest to its share of the change, and only the multiplier, the scale, is to be found. Then single levels
are exchanged: those that give up little margin for much distance go back, others go out, by the same relaxation on the
margin's gradient at the point itself. Every step is confirmed by the model.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.box import Box
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.objective import contest, pair, slack

_SCALES = tuple(1 + 0.01 * (2.0**k - 1) for k in range(20))
_BISECTIONS = 5
_ROUNDS = 12
_MULTIPLIERS = 24
"""Halvings that find the multiplier of an exchange."""


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
    """Grid results (R, n), which of them succeed (R,), and the passes spent (R,)."""

    best: Tensor
    found: Tensor
    forward: Tensor
    backward: Tensor


@dataclass(frozen=True)
class _Rows:
    """Images, successes near them, and the classes that are to beat and to be beaten, as (R, C) masks."""

    evaluator: Evaluator
    x0: Tensor
    wanted: Tensor
    rivals: Tensor

    def of(self, index: Tensor) -> "_Rows":
        return _Rows(self.evaluator, self.x0[index], self.wanted[index], self.rivals[index])

    def succeeds(self, x: Tensor) -> Tensor:
        z = self.evaluator.forward(x)
        gap, winner, rival = contest(z, self.wanted, self.rivals)
        return gap > slack(z, winner, rival)

    def slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The margin (R,) of the best wanted class, and its gradient (R, n)."""

        def loss(z: Tensor, s: slice) -> tuple[Tensor, Tensor]:
            _, winner, rival = contest(z, self.wanted[s], self.rivals[s])
            return pair(z, winner, rival)

        _, gap, gradient = self.evaluator.gradient(x, loss)
        return gap, gradient

    def distance(self, x: Tensor) -> Tensor:
        r = x - self.x0
        return dot(r, r)


def on_grid(
    evaluator: Evaluator, grid: Grid, x0: Tensor, best: Tensor, wanted: Tensor, rivals: Tensor, at_once: int
) -> Quantised:
    """From successes `best` (R, n) near images x0 (R, n) to successes on the grid, as near as they can be made.

    `at_once`: rows that are worked on together. A row's result does not depend on the others.
    """
    parts = []
    for index in torch.arange(len(x0), device=x0.device).split(at_once):
        rows = _Rows(evaluator, x0[index], wanted[index], rivals[index])
        parts.append(_improved(rows, grid, _scaled(rows, grid, best[index])))
    return Quantised(*(torch.cat([getattr(p, name) for p in parts]) for name in Quantised.__dataclass_fields__))


def _scaled(rows: _Rows, grid: Grid, best: Tensor) -> Quantised:
    """The rounded change, as little enlarged as will do."""
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
    found = high.isfinite()
    index = (found & (high > low)).nonzero().squeeze(1)
    for _ in range(_BISECTIONS if len(index) else 0):
        middle = (low[index] + high[index]) / 2
        won = attempt(index, middle)
        high[index] = torch.where(won, middle, high[index])
        low[index] = torch.where(won, low[index], middle)
    return Quantised(out, found, forward, torch.zeros_like(forward))


def _improved(rows: _Rows, grid: Grid, given: Quantised) -> Quantised:
    """Levels exchanged, one up or down at a time, while that comes nearer and still succeeds."""
    index = given.found.nonzero().squeeze(1)
    best, forward, backward = given.best, given.forward.clone(), given.backward.clone()
    if len(index) == 0:
        return given
    rows = rows.of(index)
    x = best[index]
    keep = x.new_full((len(index),), 0.1)
    gap, gradient = rows.slope(x)
    backward[index] += 1
    forward[index] += 1
    for turn in range(_ROUNDS):
        # In turns: any exchange, and only what leads back, for an exchange sees one rival and may wake another.
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
    return Quantised(best, given.found, forward, backward)


def _exchanged(rows: _Rows, grid: Grid, x: Tensor, gradient: Tensor, spare: Tensor, back: bool) -> Tensor:
    """The nearest point within one level of x (R, n) that gives up no more than `spare` (R,) of the margin's tangent.

    back: values may only come back towards the image.
    """
    level = grid.level(x)
    x0 = rows.x0
    down, up = (grid.value((level + d).clamp(0, grid.levels - 1), x) for d in (-1, 1))
    here = (x - x0) ** 2
    steps = [(side - x, (side - x0) ** 2 - here) for side in (down, up)]
    costs = [cost.masked_fill(cost >= 0, torch.inf) if back else cost for _, cost in steps]
    gains = [gradient * step for step, _ in steps]

    def chosen(u: Tensor) -> tuple[Tensor, Tensor]:
        worth = [cost - u[:, None] * gain for cost, gain in zip(costs, gains, strict=True)]
        first = (worth[0] < 0) & (worth[0] <= worth[1])
        second = (worth[1] < 0) & ~first
        return first, second

    def margin(u: Tensor) -> Tensor:
        first, second = chosen(u)
        return (gains[0] * first + gains[1] * second).sum(1)

    low = torch.zeros_like(spare)
    high = 16 * dot(x - x0, x - x0).sqrt() / dot(gradient, gradient).sqrt().clamp(min=1e-30)
    for _ in range(_MULTIPLIERS):
        middle = (low + high) / 2
        enough = margin(middle) >= -spare
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    first, second = chosen(high)
    moved = torch.where(first, down, torch.where(second, up, x))
    return torch.where((margin(high) >= -spare)[:, None], moved, x)


def outward(grid: Grid, x0: Tensor, x: Tensor, gradient: Tensor, count: int) -> Tensor:
    """The point x (n,) after the `count` single-level moves that gain most margin for their distance."""
    level = grid.level(x[None])[0]
    up = (level + gradient.double().sign()).clamp(0, grid.levels - 1)
    moved = grid.value(up[None], x)[0]
    gain = gradient * (moved - x)
    price = ((moved - x0) ** 2 - (x - x0) ** 2).clamp(min=0)
    worth = torch.where(gain > 0, gain / (price + 1e-12 * (1 + price.max())), torch.zeros_like(gain))
    chosen = torch.zeros_like(gain, dtype=torch.bool)
    chosen[worth.argsort(descending=True, stable=True)[:count]] = True
    return torch.where(chosen & (gain > 0), moved, x)
