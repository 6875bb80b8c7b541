"""Further starts of a search, each of which may enter another basin than the first.

On robust networks the local minima of the distance differ by 10 to 60 %, so what counts is which basin is entered.
Several short, different starts, each finished only as long as it can come below what is found already, go farther there
than a long one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Bound, clip
from intriguing.blind_spots.arithmetic.lbfgs import dot
from intriguing.blind_spots.arithmetic.objective import standing
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.solvers.loop import State

_FIRST_KEY = 20140416
"""Key of the first direction of noise."""
_AHEAD, _NONE = 16, -1
"""Number of images that are looked up at once for a row, and the mark of no image."""
SAME, SURELY_SAME = 0.98, 0.99
"""Two changes of an image lie in the same basin if their cosine is larger than the first; than the second for the
penalised search, which begins where the first start did."""
_NUMBERS = 2**22
"""Largest number of values in one of the float64 tensors from which distances are computed."""

EVERY = 3
"""Where there are images to start from, one further start in so many is a segment; they come on top of the others."""
TOGETHER = 8
"""How many rows of an image a finish has at most: those of a wave of a budget, and the point that is reached. Few
images have further starts, so that some side by side cost hardly more time than one."""
_CHEAPEST = 10
"""Number of passes that a further start needs at least."""

KINDS = {
    "short": {"ticks": 28, "last": 2.0, "decay": 0.7},
    "long": {"ticks": 56, "last": 0.5, "decay": 0.9},
    "slow": {"ticks": 112, "last": 0.2, "decay": 0.9},
}
"""Options of further starts. Fewer evaluations than 28 end in a good basin half as often, for the same finish."""


@dataclass(frozen=True)
class Plan:
    """The further starts of an image, in their order."""

    starts: tuple[tuple[float, float, str], ...]
    """Of each the size of the noise, over the distance that is reached, the length of the first step, and its kind."""
    waves: tuple[int, ...]
    """How many an image has had after each wave if its starts never agree (segments come on top)."""

    def by_waves(self, further: int, budget: int, dear: bool, segments: bool) -> Iterator[range]:
        """The numbers of the starts, by waves; at most `further`, or as many as a `budget` of passes may pay for.

        dear: each row is fed alone. segments: whether these are among the starts.
        """
        if dear:
            return waves_of(budget // _CHEAPEST if budget else min(1, further), [], 1)
        ends = [number + (-(-number // (EVERY - 1)) if segments else 0) for number in self.waves if number <= further]
        return waves_of(budget // _CHEAPEST if budget else max(ends, default=0), ends, TOGETHER - 1)


def waves_of(last: int, ends: list[int], together: int) -> Iterator[range]:
    """The numbers below `last`: up to each of `ends` in turn, then `together` at a time."""
    begin = 0
    for end in chain(ends, count(max(ends, default=0) + together, together)):
        yield range(begin, min(end, last))
        if end >= last:
            return
        begin = end


FINE = Plan(
    (
        *((0.5, 8.0, "long"), (2.0, 16.0, "short"), (4.0, 64.0, "long")),
        *((4.0, 64.0, "short"), (4.0, 32.0, "long"), (1.0, 16.0, "long")),
        *((0.5, 8.0, "short"), (1.0, 16.0, "slow"), (8.0, 128.0, "short"), (0.5, 8.0, "slow"), (0.0, 16.0, "short")),
        *((1.0, 8.0, "short"), (0.0, 32.0, "short")),
    ),
    (2, 5, 6),
)
"""Where long steps end close to the boundary, as on robust networks: several starts of few passes find more there than
a slow one does, those from much noise most of what the rest do not."""
COARSE = Plan(
    (
        *((0.5, 8.0, "slow"), (1.0, 16.0, "slow"), (4.0, 32.0, "long"), (1.0, 8.0, "slow")),
        *((4.0, 64.0, "short"), (0.0, 8.0, "slow"), (2.0, 16.0, "short"), (4.0, 64.0, "long"), (0.5, 16.0, "short")),
        *((1.0, 8.0, "slow"), (0.0, 16.0, "short"), (8.0, 128.0, "short"), (1.0, 8.0, "short"), (0.0, 32.0, "short")),
    ),
    (1, 3, 4),
)
"""Where they end far from it, as on residual and attention networks: slow starts end near the optimum, the others far
from it. A slow one costs as much as three short ones, and the first agrees with what is found on half of the images, so
it runs alone: on seven networks that is 2 to 25 % fewer passes than three together, for the same distances."""

FIRST_OF_DEAR = (2.0, 16.0, "short")
"""The first further start where each row is fed alone, whichever the plan: much noise, few passes. Targeted, it brought
two of 19 photos to 0.40 and 0.43 of their distance, for 47 forward and 34 backward rows a photo. A slow one brings one
of the two as near for four times as many, a long or a short one of less noise or longer first steps one or none."""


@dataclass(frozen=True)
class Pool:
    """Images of other classes, from which a search may start."""

    images: Tensor
    """(S, n)"""
    classes: Tensor
    """(S,) the classes that the network gives them."""


class Neighbours:
    """For each row of a search the images of a pool, the nearest first, whose class is one of the row's goals.

    x0: (R, n) images; goals: (R, C) masks of classes. Which come next is computed for the rows that ask, for some turns
    at once. Distances are in float64, so that the choice for a row does not depend on the other rows.
    """

    def __init__(self, pool: Pool, x0: Tensor, goals: Tensor) -> None:
        self._pool, self._x0, self._goals = pool, x0, goals
        self._turns = torch.zeros(len(x0), dtype=torch.long, device=x0.device)
        self._known = torch.zeros_like(self._turns)
        self._next = self._turns.new_full((len(x0), _AHEAD), _NONE)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The next image for each row of `index` (I,): the images (J, n), and the rows (J,) that still have one."""
        asking = index[self._turns[index] == self._known[index]]
        longest = max(len(self._pool.classes), self._x0.shape[1])
        for rows in asking.split(max(1, _NUMBERS // longest)) if len(asking) else ():
            self._next[rows] = self._following(rows)
        self._known[asking] += _AHEAD
        which = self._next[index, self._turns[index] % _AHEAD]
        self._turns[index] += 1
        there = which != _NONE
        return self._pool.images[which[there]], index[there]

    def _following(self, rows: Tensor) -> Tensor:
        """The next `_AHEAD` images (r, _AHEAD) of the rows; `_NONE` behind the last."""
        x, some = self._x0[rows].double(), max(1, _NUMBERS // self._x0.shape[1])
        parts = [dot(y, y)[None] - 2 * x @ y.T for y in map(Tensor.double, self._pool.images.split(some))]
        distances = torch.cat(parts, 1).masked_fill(~self._goals[rows][:, self._pool.classes], torch.inf)
        values, order = distances.sort(dim=1, stable=True)
        place = self._turns[rows][:, None] + torch.arange(_AHEAD, device=rows.device)
        within = place.clamp(max=order.shape[1] - 1)
        there = values.gather(1, within).isfinite() & (place < order.shape[1])
        return order.gather(1, within).masked_fill(~there, _NONE)


def noisy(x0: Tensor, distance: Tensor, number: int, lower: Bound, upper: Bound) -> Tensor:
    """The images (R, n) with noise of this distance (R,), then clipped to the box; `number` chooses its direction.

    All rows have the same direction, so that a row does not depend on the others.
    """
    generator = torch.Generator().manual_seed(_FIRST_KEY + number)
    noise = torch.randn(x0.shape[1], generator=generator, dtype=torch.float64)
    direction = (noise / noise.norm()).to(x0.device, x0.dtype)
    return clip(torch.addcmul(x0, distance[:, None], direction[None]), lower, upper)


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """The cosines (R,) of two changes (R, n) of each image; 0 where one is zero.

    Changes in the same direction lie in the same basin. Their lengths do not tell it: another basin may be as near, and
    a finish that ends early, since it cannot come below what is found, leaves its row too far. On eight networks of
    MNIST this finds more basins than lengths do on those that are robust, and needs half as many further starts on the
    others; a third of these where the direction of a finish is that in which it would go on, since the point where it
    ends early is off to the side as well. In float64, so that the answer for a row does not depend on the other rows.
    """
    one, other = one.double(), other.double()
    lengths = (dot(one, one) * dot(other, other)).sqrt()
    return dot(one, other) / lengths.where(lengths > 0, torch.ones_like(lengths))


@dataclass(frozen=True)
class Segment:
    """A solver that finds the boundary between an image and another one, `there` (R, n), by bisection.

    Rows whose other image is no success end at once, without one.
    """

    evaluator: Evaluator
    lower: Bound
    upper: Bound
    bisections: int = 12
    poll: int = 1
    outputs: tuple[str, ...] = field(
        default=("best", "best_l2", "best_class", "forward", "backward", "broken", "blind"), repr=False
    )

    def load(self, inputs: State) -> State:
        """The first state: the other image is the first trial."""
        x0 = inputs["x0"]
        zero = x0.new_zeros(len(x0))
        none = torch.zeros_like(zero, dtype=torch.bool)
        count = torch.zeros_like(inputs["target"])
        return {
            **inputs,
            "low": zero.clone(),
            "high": zero + 1,
            "tick": zero.clone(),
            "best": x0.clone(),
            "best_l2": zero + float("inf"),
            "best_class": inputs["target"].clone(),
            "forward": count,
            "backward": count.clone(),
            "broken": none.clone(),
            "blind": ~none,
            "done": none.clone(),
        }

    def step(self, state: State) -> State:
        """One forward pass of all rows, at the middle of the bracket."""
        active = ~state["done"]
        first = state["tick"] == 0
        share = torch.where(first, state["high"], (state["low"] + state["high"]) / 2)
        x = clip(torch.lerp(state["x0"], state["there"], share[:, None]), self.lower, self.upper)
        both = standing(self.evaluator.forward(x, active), state["goals"], state["rivals"])
        won = (both.gap > both.slack) & active
        r = x - state["x0"]
        count = state["tick"] + 1
        return {
            "low": torch.where(won, state["low"], torch.where(first, state["low"], share)),
            "high": torch.where(won, share, state["high"]),
            "tick": count,
            "best": torch.where(won[:, None], x, state["best"]),
            "best_l2": torch.where(won, dot(r, r).sqrt(), state["best_l2"]),
            "best_class": torch.where(won, both.winner, state["best_class"]),
            "forward": state["forward"] + active,
            "done": state["done"] | (count > self.bisections) | (first & ~won),
        }
