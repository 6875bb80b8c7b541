"""Further starts of a search, each of which may enter another basin than the first.

On robust networks the local minima of the distance differ by 10 to 60 %, so what counts is which basin is entered.
Several short, different starts, each finished only as long as it can come below what is found already, go farther there
than a long one.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from intriguing.blind_spots.box import Bound, clip
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.loop import State
from intriguing.blind_spots.objective import contest, slack

_FIRST_KEY = 20140416
"""Key of the first direction of noise."""


@dataclass(frozen=True)
class Pool:
    """Images of other classes, from which a search may start."""

    images: Tensor
    """(S, n)"""
    classes: Tensor
    """(S,) the classes that the network gives them."""

    def nearest(self, x0: Tensor, goals: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
        """Per row (R, n), the nearest image whose class is one of its goals (R, C), after `turn` (R,) nearer ones.

        Returns indices (R,), and whether there are so many (R,). Distances are computed in float64, so that the choice
        for a row does not depend on the other rows.
        """
        x, y = x0.double(), self.images.double()
        distances = (dot(y, y)[None] - 2 * x @ y.T).masked_fill(~goals[:, self.classes], torch.inf)
        values, order = distances.sort(dim=1, stable=True)
        place = turn.clamp(max=len(self.classes) - 1)[:, None]
        there = values.gather(1, place).squeeze(1).isfinite() & (turn < len(self.classes))
        return order.gather(1, place).squeeze(1), there


def noisy(x0: Tensor, distance: Tensor, number: int, lower: Bound, upper: Bound) -> Tensor:
    """The images (R, n) with noise of this distance (R,), then clipped to the box; `number` chooses its direction.

    All rows have the same direction, so that a row does not depend on the others.
    """
    generator = torch.Generator().manual_seed(_FIRST_KEY + number)
    noise = torch.randn(x0.shape[1], generator=generator, dtype=torch.float64)
    direction = (noise / noise.norm()).to(x0.device, x0.dtype)
    return clip(torch.addcmul(x0, distance[:, None], direction[None]), lower, upper)


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
            "blind": none.clone(),
            "done": none.clone(),
        }

    def step(self, state: State) -> State:
        """One forward pass of all rows, at the middle of the bracket."""
        active = ~state["done"]
        first = state["tick"] == 0
        share = torch.where(first, state["high"], (state["low"] + state["high"]) / 2)
        x = clip(torch.lerp(state["x0"], state["there"], share[:, None]), self.lower, self.upper)
        gap, winner, rival = contest(z := self.evaluator.forward(x, active), state["goals"], state["rivals"])
        won = (gap > slack(z, winner, rival)) & active
        r = x - state["x0"]
        count = state["tick"] + 1
        return {
            "low": torch.where(won, state["low"], torch.where(first, state["low"], share)),
            "high": torch.where(won, share, state["high"]),
            "tick": count,
            "best": torch.where(won[:, None], x, state["best"]),
            "best_l2": torch.where(won, dot(r, r).sqrt(), state["best_l2"]),
            "best_class": torch.where(won, winner, state["best_class"]),
            "forward": state["forward"] + active,
            "done": state["done"] | (count > self.bisections) | (first & ~won),
        }
