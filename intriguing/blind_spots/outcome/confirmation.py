"""Confirmation of every result: one that does not hold is pushed on, one that lies too far is drawn back."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.outcome.pushing import InTurn, Lengths, grid_pushes, pushes, smallest_pushes
from intriguing.blind_spots.outcome.quantisation import Grid
from intriguing.blind_spots.outcome.verifier import Answer, Verifier

_COARSE, _DRAWS, _REACH = 1e-3, 8, 2.0
"""The share of an image's margin above which the rounding of the logits keeps results off the boundary; number of
bisections that draw such a result back, and how far they reach, as a multiple of that share."""
_FAR, _JUMP_DRAWS = 1e-2, (3, 16)
"""The share of an image's margin by which a result must exceed the boundary to be drawn back: a finish of continuous
logits ends within a thousandth or two, `fast` on photos within 1.4 %. Number of bisections as near as that share says,
which are enough there, and of those on the way from the image, where the logits jump."""


@dataclass(frozen=True)
class Confirmed:
    """The confirmed results, per example (B,)."""

    best: Tensor
    """(B, n)"""
    gap: Tensor
    """By how much it is a success, at least."""
    prediction: Tensor
    unstable: Tensor
    """A success in a batch but not alone, and no push made it one."""
    forward: Tensor


def confirm(
    verifier: Verifier, box: Box, x0: Tensor, best: Tensor, success: Tensor, outputs: Tensor, grid: Grid | None = None
) -> Confirmed:
    """Classify each success alone; one that fails alone is pushed further, until it is a success alone as well.

    x0: (B, n) the images, and outputs: (B, C) what the model says of them; best: (B, n) the results; success: (B,). A
    push continues the change in its own direction, or follows the margin's gradient. Results on a `grid` stay on it.
    Each image is treated independently of the others.
    """
    done = Confirmed(
        best.clone(),
        torch.zeros_like(success, dtype=torch.float64),
        torch.full_like(verifier.labels, -1),
        torch.zeros_like(success),
        torch.zeros_like(verifier.labels),
    )
    # A network that is linear along the change gains this much again with a push as long as the change.
    slope = verifier.gap(outputs, torch.arange(len(outputs), device=outputs.device)).abs()

    def ask(images: Tensor, examples: Tensor) -> Answer:
        answer = verifier.ask(images, examples)
        done.forward[examples] += answer.spent
        won = examples[answer.holds]
        for kept, new in ((done.best, images), (done.prediction, answer.prediction), (done.gap, answer.gap)):
            kept[won] = new[answer.holds]
        return answer

    index = success.nonzero().squeeze(1)
    if len(index) == 0:
        return done
    answer = ask(best[index], index)
    failing = index[~answer.holds]
    lack = torch.zeros_like(done.gap).index_copy_(0, index, answer.lack)
    for push in pushes(verifier, box, x0, best) if grid is None else grid_pushes(verifier, grid, x0, best):
        if len(failing) == 0:
            break
        pairs = zip(lack[failing].tolist(), slope[failing].tolist(), strict=True)
        steps = [InTurn() if grid else Lengths.from_result(*pair) for pair in pairs]
        failing = smallest_pushes(push, ask, failing, steps)
    done.unstable[failing] = True
    return done


def drawn_back(
    verifier: Verifier, box: Box, x0: Tensor, done: Confirmed, coarseness: Tensor, outputs: Tensor | None
) -> Confirmed:
    """The results, nearer on the way from the image where the model says that they are successes there as well.

    coarseness: (B,) the rounding error of the logits as a share of the margin at the image; 0 for no result. A search
    counts as a success what exceeds it, so that one more pass does not undo it, and ends too far by about that share.
    outputs: (B, C) those of the unchanged images, to draw back what lies far behind the boundary as well. Where the
    logits jump no gradient tells how far; None: such results stay.
    """
    done = _drawn(verifier, box, x0, done, coarseness > _COARSE, _REACH * coarseness, _DRAWS)
    if outputs is None:
        return done
    excess = _excess(verifier, done, outputs)
    far = (excess > _FAR) & ~(excess < 2 * _REACH * coarseness) & (done.prediction >= 0)
    done = _drawn(verifier, box, x0, done, far, _REACH * excess, _JUMP_DRAWS[0])
    jumped = far & ((_excess(verifier, done, outputs) > _FAR) | (done.gap == 0))
    return _drawn(verifier, box, x0, done, jumped, torch.ones_like(excess), _JUMP_DRAWS[1])


def _excess(verifier: Verifier, done: Confirmed, outputs: Tensor) -> Tensor:
    """By how much (B,) the results exceed the boundary, as a share of the margins of the images' outputs (B, C)."""
    return done.gap / verifier.gap(outputs, torch.arange(len(outputs), device=outputs.device)).abs()


def _drawn(
    verifier: Verifier, box: Box, x0: Tensor, done: Confirmed, chosen: Tensor, reach: Tensor, draws: int
) -> Confirmed:
    """As `drawn_back`: so many bisections of the last share `reach` (B,) of the changes of the `chosen` (B,)."""
    index = chosen.nonzero().squeeze(1)
    if len(index) == 0:
        return done
    best, gap, prediction, forward = (v.clone() for v in (done.best, done.gap, done.prediction, done.forward))
    low = (1 - reach[index]).clamp(min=0).to(x0.dtype)
    high = torch.ones_like(low)
    for _ in range(draws):
        middle = (low + high) / 2
        images = box.clamp(torch.lerp(x0[index], done.best[index], middle[:, None]))
        answer = verifier.ask(images, index)
        forward[index] += answer.spent
        won = index[answer.holds]
        best[won], prediction[won], gap[won] = (v[answer.holds] for v in (images, answer.prediction, answer.gap))
        low, high = torch.where(answer.holds, low, middle), torch.where(answer.holds, middle, high)
    return replace(done, best=best, gap=gap, prediction=prediction, forward=forward)
