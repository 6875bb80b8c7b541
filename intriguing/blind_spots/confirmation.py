"""Confirmation of every result: the model classifies the image alone, as a user would call it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.box import Box
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.objective import margin, pair
from intriguing.blind_spots.quantisation import Grid, outward

_FIRST, _DOUBLINGS, _HALVINGS = 2.0**-23, 20, 4
"""First length of a push, as a share of the change; largest number of doublings; number of bisections afterwards."""

Push = Callable[[int, float], Tensor]
"""A function of (i, k): the image (n,) beyond the result of example i, by a step whose length grows with k."""


@dataclass(frozen=True)
class Verifier:
    """Asks the model whether an image is a success, both alone and in a batch."""

    evaluator: Evaluator
    labels: Tensor
    targets: Tensor | None
    """(B,) classes to reach; None: any class but the label."""

    @property
    def cost(self) -> int:
        """Forward passes for one image."""
        return 1 if self.evaluator.single else 2

    def succeeds(self, prediction: int, example: int) -> bool:
        """Whether this class is a success for the example."""
        if self.targets is not None:
            return prediction == int(self.targets[example])
        return prediction != int(self.labels[example])

    def alone(self, image: Tensor, example: int) -> int | None:
        """The class of an image (n,) alone; None unless it is a success both alone and in a batch."""
        out = self.evaluator.alone(image)
        prediction = int(out.argmax())
        if bool(out.isnan().any()) or not self.succeeds(prediction, example):
            return None
        if self.evaluator.single:
            return prediction
        out = self.evaluator.outputs(image[None])[0]
        return None if bool(out.isnan().any()) or not self.succeeds(int(out.argmax()), example) else prediction


@dataclass(frozen=True)
class Confirmed:
    """The confirmed results, per example (B,)."""

    best: Tensor
    """(B, n)"""
    prediction: Tensor
    unstable: Tensor
    """A success in a batch but not alone, and no push made it one."""
    forward: Tensor


def confirm(
    verifier: Verifier, box: Box, x0: Tensor, best: Tensor, success: Tensor, grid: Grid | None = None
) -> Confirmed:
    """Classify each success alone; one that fails alone is pushed further, until it is a success alone as well.

    x0: (B, n) the images; best: (B, n) the results; success: (B,). A push continues the change in its own direction,
    or follows the margin's gradient. Results on a `grid` stay on it. Each image is treated independently of the others.
    """
    best = best.clone()
    prediction = torch.full_like(verifier.labels, -1)
    forward = torch.zeros_like(verifier.labels)
    outputs = verifier.evaluator.outputs(best, success) if bool(success.any()) else None
    unstable = torch.zeros_like(success)
    for i in success.nonzero().squeeze(1).tolist():
        assert outputs is not None
        forward[i] += verifier.cost
        together = outputs[i]
        out = together if verifier.evaluator.single else verifier.evaluator.alone(best[i])
        guesses = (int(together.argmax()), int(out.argmax()))
        if all(verifier.succeeds(guess, i) for guess in guesses) and not bool((out.isnan() | together.isnan()).any()):
            prediction[i] = guesses[1]
            continue
        for push in _pushes(verifier, box, x0, best) if grid is None else _grid_pushes(verifier, grid, x0, best):
            image, guess, spent = _smallest_push(verifier, push, i, halved=grid is None)
            forward[i] += spent
            if image is not None and guess is not None:
                best[i], prediction[i] = image, guess
                break
        else:
            unstable[i] = True
    return Confirmed(best, prediction, unstable, forward)


def _pushes(verifier: Verifier, box: Box, x0: Tensor, best: Tensor) -> Iterator[Push]:
    """Two pushes: along the change, and along the gradient of the margin."""

    def ray(i: int, k: float) -> Tensor:
        return box.clamp(torch.lerp(x0[i], best[i], 1 + _FIRST * 2.0**k)[None])[0]

    slopes: dict[int, Tensor] = {}

    def up(i: int, k: float) -> Tensor:
        if i not in slopes:
            slopes[i] = slope_of(verifier, best[i], i)
        normal = slopes[i]
        size = (best[i] - x0[i]).norm() / normal.norm().clamp(min=1e-30)
        return box.clamp((best[i] + _FIRST * 2.0**k * size * normal)[None])[0]

    yield ray
    yield up


def _grid_pushes(verifier: Verifier, grid: Grid, x0: Tensor, best: Tensor) -> Iterator[Push]:
    """Two pushes on a grid: along the margin's gradient, one level at a time, and along the change."""
    walks: dict[int, list[Tensor]] = {}

    def up(i: int, k: float) -> Tensor:
        walk = walks.setdefault(i, [best[i]])
        while len(walk) < k + 2:
            walk.append(outward(grid, x0[i], walk[-1], slope_of(verifier, walk[-1], i), 1))
        return walk[int(k) + 1]

    def ray(i: int, k: float) -> Tensor:
        return grid.nearest(torch.lerp(x0[i], best[i], 1 + 2.0 ** (k - 12))[None])[0]

    yield up
    yield ray


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


def _smallest_push(verifier: Verifier, push: Push, i: int, halved: bool) -> tuple[Tensor | None, int | None, int]:
    """The image (n,) of the smallest push that is a success, its class, and the passes spent; None without one."""
    spent = 0
    for k in range(_DOUBLINGS):
        image = push(i, k)
        guess = verifier.alone(image, i)
        spent += verifier.cost
        if guess is None:
            continue
        low, high = k - 1.0, float(k)
        for _ in range(_HALVINGS if halved and k else 0):
            middle = (low + high) / 2
            other = push(i, middle)
            again = verifier.alone(other, i)
            spent += verifier.cost
            if again is None:
                low = middle
            else:
                high, image, guess = middle, other, again
        return image, guess, spent
    return None, None, spent
