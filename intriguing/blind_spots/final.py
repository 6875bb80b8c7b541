"""The last word on every result: the model, fed with that one image, as a user feeds it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.box import Box
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.grid import Grid, outward
from intriguing.blind_spots.objective import margin, pair

_FIRST, _DOUBLINGS, _HALVINGS = 2.0**-23, 20, 4
"""A push begins at this share of the change, is doubled so often at most, and is halved back so often."""

Pushes = Callable[[int, float], Tensor]
"""The image (n,) that is pushed by the `k`-th step beyond the result of example `i`; steps grow with k."""


@dataclass(frozen=True)
class Judge:
    """Says of which images (n,) the model errs, alone and in a batch."""

    evaluator: Evaluator
    labels: Tensor
    wanted: Tensor | None
    """(B,) the class to reach; None: any but the label."""

    def succeeds(self, prediction: int, example: int) -> bool:
        """Whether this class is an error as it is asked for."""
        if self.wanted is not None:
            return prediction == int(self.wanted[example])
        return prediction != int(self.labels[example])

    def alone(self, image: Tensor, example: int) -> int | None:
        """The class (an error) of the image by itself and in a batch; None unless both are an error."""
        out = self.evaluator.alone(image)
        prediction = int(out.argmax())
        if bool(out.isnan().any()) or not self.succeeds(prediction, example):
            return None
        out = self.evaluator.outputs(image[None])[0]
        return None if bool(out.isnan().any()) or not self.succeeds(int(out.argmax()), example) else prediction


@dataclass(frozen=True)
class Settled:
    """What came of it, per example (B,)."""

    best: Tensor
    """(B, n)"""
    prediction: Tensor
    unstable: Tensor
    """Found in a batch, but not alone, and not by a push either."""
    forward: Tensor


def settle(judge: Judge, box: Box, x0: Tensor, best: Tensor, found: Tensor, grid: Grid | None = None) -> Settled:
    """Feed each found image alone; one that fails is pushed on by the smallest step that holds.

    x0, best: (B, n); found: (B,). A push goes on along the ray from the image, then along the margin's gradient.
    Results that lie on a `grid` stay on it. An image's fate does not depend on its company.
    """
    best = best.clone()
    prediction = torch.full_like(judge.labels, -1)
    forward = torch.zeros_like(judge.labels)
    outputs = judge.evaluator.outputs(best) if bool(found.any()) else None
    unstable = torch.zeros_like(found)
    for i in found.nonzero().squeeze(1).tolist():
        assert outputs is not None
        forward[i] += 2
        together = outputs[i]
        out = judge.evaluator.alone(best[i])
        guesses = (int(together.argmax()), int(out.argmax()))
        if all(judge.succeeds(guess, i) for guess in guesses) and not bool((out.isnan() | together.isnan()).any()):
            prediction[i] = guesses[1]
            continue
        for way in _ways(judge, box, x0, best) if grid is None else _grid_ways(judge, grid, x0, best):
            image, guess, spent = _pushed(judge, way, i, halved=grid is None)
            forward[i] += spent
            if image is not None and guess is not None:
                best[i], prediction[i] = image, guess
                break
        else:
            unstable[i] = True
    return Settled(best, prediction, unstable, forward)


def _ways(judge: Judge, box: Box, x0: Tensor, best: Tensor) -> Iterator[Pushes]:
    """Two ways to go on from a result: along its change, and up the margin."""

    def ray(i: int, k: float) -> Tensor:
        return box.clamp(torch.lerp(x0[i], best[i], 1 + _FIRST * 2.0**k)[None])[0]

    slopes: dict[int, Tensor] = {}

    def up(i: int, k: float) -> Tensor:
        if i not in slopes:
            slopes[i] = slope_of(judge, best[i], i)
        normal = slopes[i]
        size = (best[i] - x0[i]).norm() / normal.norm().clamp(min=1e-30)
        return box.clamp((best[i] + _FIRST * 2.0**k * size * normal)[None])[0]

    yield ray
    yield up


def _grid_ways(judge: Judge, grid: Grid, x0: Tensor, best: Tensor) -> Iterator[Pushes]:
    """The same on a grid: level by level up the margin, as it is after each, and along the change."""
    walks: dict[int, list[Tensor]] = {}

    def up(i: int, k: float) -> Tensor:
        walk = walks.setdefault(i, [best[i]])
        while len(walk) < k + 2:
            walk.append(outward(grid, x0[i], walk[-1], slope_of(judge, walk[-1], i), 1))
        return walk[int(k) + 1]

    def ray(i: int, k: float) -> Tensor:
        return grid.nearest(torch.lerp(x0[i], best[i], 1 + 2.0 ** (k - 12))[None])[0]

    yield up
    yield ray


def slope_of(judge: Judge, image: Tensor, example: int) -> Tensor:
    """The gradient (n,) at an image of the margin of the wanted class, or the best wrong one, over its best rival."""
    classes = torch.arange(judge.evaluator.classes, device=image.device)[None]
    wanted = judge.wanted
    rivals = classes == judge.labels[example] if wanted is None else classes != wanted[example]

    def loss(logits: Tensor, s: slice) -> tuple[Tensor, Tensor]:
        target = logits.masked_fill(rivals, -torch.inf).argmax(1)
        _, rival = margin(logits, target, rivals)
        return pair(logits, target, rival)

    return judge.evaluator.gradient(image[None], loss)[2][0]


def _pushed(judge: Judge, way: Pushes, i: int, halved: bool) -> tuple[Tensor | None, int | None, int]:
    """The image of the smallest push that holds, its class, and the passes spent; None where none holds."""
    spent = 0
    for k in range(_DOUBLINGS):
        image = way(i, k)
        guess = judge.alone(image, i)
        spent += 2
        if guess is None:
            continue
        low, high = k - 1.0, float(k)
        for _ in range(_HALVINGS if halved and k else 0):
            middle = (low + high) / 2
            other = way(i, middle)
            again = judge.alone(other, i)
            spent += 2
            if again is None:
                low = middle
            else:
                high, image, guess = middle, other, again
        return image, guess, spent
    return None, None, spent
