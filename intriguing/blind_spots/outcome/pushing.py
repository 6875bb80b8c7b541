"""Pushes: a result that does not hold is moved on, by the smallest step with which the model confirms it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.arithmetic.objective import margin, pair
from intriguing.blind_spots.outcome.quantisation import Grid, outward
from intriguing.blind_spots.outcome.verifier import Answer, Verifier

_LENGTHS = 24
"""Number of lengths that are tried in turn, each twice the one before; the last one doubles the change."""
_FIRST = 2.0 ** (1 - _LENGTHS)
"""The first of them, as a share of the change."""
_CLOSE = 0.1
"""A push may be longer than needed by this share of its length, which itself is a small share of the change."""
_BEYOND = 1.03
"""A length is tried that is longer by this factor than what the margins say, which rounding makes uncertain."""
_REFINED = 7
"""Largest number of shorter lengths that are tried once one is enough."""

Push = Callable[[Tensor, list[float]], Tensor]
"""A function of some examples (K,) and a step for each: the images (K, n) beyond their results."""


def pushes(verifier: Verifier, box: Box, x0: Tensor, best: Tensor) -> Iterator[Push]:
    """Two pushes of the results best (B, n) of images x0 (B, n): along the change, and along the margin's gradient.

    A step is the length of the push, as a share of that of the change.
    """
    slopes: dict[int, Tensor] = {}

    def slope(i: int) -> Tensor:
        if i not in slopes:
            normal = slope_of(verifier, best[i], i)
            slopes[i] = normal * ((best[i] - x0[i]).norm() / normal.norm().clamp(min=1e-30))
        return slopes[i]

    def ray(examples: Tensor, steps: list[float]) -> Tensor:
        shares = x0.new_tensor([1 + share for share in steps])
        return box.clamp(torch.lerp(x0[examples], best[examples], shares[:, None]))

    def up(examples: Tensor, steps: list[float]) -> Tensor:
        shares = x0.new_tensor(steps)
        normals = torch.stack([slope(i) for i in examples.tolist()])
        return box.clamp(best[examples] + shares[:, None] * normals)

    yield ray
    yield up


def grid_pushes(verifier: Verifier, grid: Grid, x0: Tensor, best: Tensor) -> Iterator[Push]:
    """Two pushes on a grid: along the margin's gradient, one level at a time, and along the change.

    A step is a number from 0 on.
    """
    walks: dict[int, list[Tensor]] = {}

    def up(i: int, k: float) -> Tensor:
        walk = walks.setdefault(i, [best[i]])
        while len(walk) < k + 2:
            walk.append(outward(grid, x0[i], walk[-1], slope_of(verifier, walk[-1], i), 1))
        return walk[int(k) + 1]

    def ray(i: int, k: float) -> Tensor:
        return grid.nearest(torch.lerp(x0[i], best[i], 1 + 2.0 ** (k - 12))[None])[0]

    def each(push: Callable[[int, float], Tensor]) -> Push:
        return lambda examples, steps: torch.stack([push(i, k) for i, k in zip(examples.tolist(), steps, strict=True)])

    yield each(up)
    yield each(ray)


def slope_of(verifier: Verifier, image: Tensor, example: int) -> Tensor:
    """The gradient (n,) at an image (n,) of the margin of the best goal over its best rival."""
    classes = torch.arange(verifier.evaluator.classes, device=image.device)[None]
    targets = verifier.targets
    rivals = classes == verifier.labels[example] if targets is None else classes != targets[example]

    def loss(logits: Tensor, s: slice | Tensor) -> tuple[Tensor, Tensor]:
        target = logits.masked_fill(rivals, -torch.inf).argmax(1)
        _, rival = margin(logits, target, rivals)
        return pair(logits, target, rival)

    return verifier.evaluator.gradient(image[None], loss)[2][0]


class Steps(Protocol):
    """The steps that an example tries, one after the other."""

    enough: float | None
    """The smallest step that was enough so far."""

    def following(self) -> float | None:
        """The next step to try; None: no other is worth a try."""
        ...

    def learn(self, step: float, holds: bool, lack: float) -> None:
        """Note what the model said: whether the step is enough, and by how much the margin is too small."""
        ...


@dataclass
class InTurn:
    """The steps 0, 1, 2, ... up to the first that is enough."""

    enough: float | None = None
    next: int = 0

    def following(self) -> float | None:
        """The next whole number."""
        return float(self.next) if self.enough is None and self.next < _LENGTHS else None

    def learn(self, step: float, holds: bool, lack: float) -> None:
        """Note whether the step is enough."""
        self.next += 1
        self.enough = step if holds else None


@dataclass
class Lengths:
    """Lengths of a push, as shares of the change.

    Each asks the model many times on a CUDA device. So the first is the one that is enough if the margin grows evenly,
    and once one is, shorter ones are chosen by how much margin each has left or lacks. Where the margin does not grow
    with the length, lengths are tried in turn, from the smallest on.
    """

    slope: float
    """By how much a push as long as the change makes the margin larger, if the network is linear there; 0: unknown."""
    lacks: dict[float, float]
    """By how much the margin was too small at each length that was not enough, 0 among them."""
    enough: float | None = None
    spare: float = 0.0
    """By how much the margin is larger there than it must be."""
    in_turn: int = 0
    """How many lengths were tried in turn."""
    refined: int = 0
    """How many shorter lengths than one that is enough were tried."""

    @classmethod
    def from_result(cls, lack: float, slope: float) -> "Lengths":
        """For a result whose margin is too small by `lack`."""
        return cls(slope, {0.0: lack})

    def following(self) -> float | None:
        """The next length to try; None: no other is worth a try."""
        return self._longer() if self.enough is None else self._shorter(self.enough)

    def _longer(self) -> float | None:
        if self.slope > 0:
            last = max(self.lacks)
            guess = max(last + _BEYOND * self.lacks[last] / self.slope, 2 * last, _FIRST)
            if guess <= 1:
                return guess
            self.slope = 0.0
        return _FIRST * 2.0**self.in_turn if self.in_turn < _LENGTHS else None

    def _shorter(self, enough: float) -> float | None:
        last = max(length for length in self.lacks if length < enough)
        width, lack = enough - last, max(self.lacks[last], 0.0)
        if self.refined == _REFINED or enough <= _FIRST or width <= _CLOSE * enough:
            return None
        if lack + self.spare == 0 or self.refined % 2:
            return sqrt(max(last, _FIRST) * enough)
        needed = last + width * lack / (lack + self.spare)
        if enough <= (1 + _CLOSE) * needed:
            return None
        return min(max(_BEYOND * needed, last + 0.05 * width), enough - 0.05 * width)

    def learn(self, step: float, holds: bool, lack: float) -> None:
        """Note what the model said of this length."""
        if self.enough is not None:
            self.refined += 1
        elif self.slope == 0:
            self.in_turn += 1
        elif not holds and not lack < self.lacks[max(self.lacks)]:
            self.slope = 0.0
        if holds:
            self.enough, self.spare = step, max(-lack, 0.0)
        else:
            self.lacks[step] = lack


def smallest_pushes(
    push: Push, ask: Callable[[Tensor, Tensor], Answer], failing: Tensor, steps: Sequence[Steps]
) -> Tensor:
    """Ask for the pushes of the `failing` examples (F,) until the smallest that is enough is known; those (G,) without
    one. All examples are asked at a time, each as if it were alone.

    ask: a function of images (K, n) and their examples (K,), which keeps those that hold.
    """
    trying = list(zip(failing.tolist(), steps, strict=True))
    while asked := [(i, one, step) for i, one in trying if (step := one.following()) is not None]:
        examples = failing.new_tensor([i for i, *_ in asked])
        answer = ask(push(examples, [step for *_, step in asked]), examples)
        for (_, one, step), holds, lack in zip(asked, answer.holds.tolist(), answer.lack.tolist(), strict=True):
            one.learn(step, holds, lack)
        trying = [(i, one) for i, one, _ in asked]
    return failing.new_tensor([i for i, one in zip(failing.tolist(), steps, strict=True) if one.enough is None])
