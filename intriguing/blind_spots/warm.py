"""The search from a start that is nearly right: such as what was found for the same image before the network moved.

The start takes the place of all others: the boundary on the segment from the image to it, then a short finish.
So it costs a fraction of a search, and what it finds lies in the basin of the start.
"""

import torch
from torch import Tensor, nn

from intriguing.basics.precision import full_precision
from intriguing.basics.torch_modes import one_at_a_time
from intriguing.blind_spots import memory
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.network.evaluate import Evaluator, frozen
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.row_search import ALIGNED
from intriguing.blind_spots.solvers.boundary import BoundaryFinish
from intriguing.blind_spots.solvers.loop import Layout, run
from intriguing.models.examination import ROWS, examine

_HALVINGS = 5
"""Of the segment from the image to the start. The finish searches the rest of the way on its own rays."""
_STEPS = 3
"""Gradients of the finish: the start is near, and three reach within 1 % of what a whole search finds."""


def from_starts(
    model: nn.Module, x: Tensor, labels: Tensor, starts: Tensor, options: SearchOptions
) -> tuple[Tensor, Tensor]:
    """Untargeted changes of images `x` (B, *shape) in the box, from `starts` (B, *shape) alone.

    Returns which images have one (B,) bool, and the changed images (B, *shape); an image has none where `model` gives
    its label (B,) at its start, clipped to the box.
    """
    with one_at_a_time(), torch.inference_mode(False), torch.no_grad(), frozen(model), full_precision():
        box = Box.of(options.lower, options.upper, x)
        conduct = examine(model, x[: ROWS // 2], box.shaped(x.shape[1:]), [ROWS, options.slots, 1])
        plan = memory.plan(memory.cost_of(model, conduct, x[:1]), conduct, x, options, "one")
        evaluator = Evaluator(model, tuple(x.shape[1:]), plan.blocks, conduct)
        flat, ends = box.inside(x.flatten(1)), box.inside(starts.flatten(1))
        target = evaluator.forward(ends).argmax(1)
        rows = (target != labels).nonzero().squeeze(1)
        found, nearest = torch.zeros_like(labels, dtype=torch.bool), flat.clone()
        if len(rows):
            layout = Layout.of(plan.slots, plan.blocks, flat.shape[1])
            best = _boundary(evaluator, flat[rows], ends[rows], labels[rows])
            nearest[rows] = _finished(evaluator, box, flat[rows], best, labels[rows], layout)
            found[rows] = evaluator.forward(nearest[rows]).argmax(1) != labels[rows]
        return found, nearest.reshape(x.shape)


def _boundary(evaluator: Evaluator, x0: Tensor, ends: Tensor, labels: Tensor) -> Tensor:
    """The nearest point of the segments from x0 to `ends` (R, n) that is found to err, by bisection."""
    low, high = torch.zeros_like(x0[:, 0]), torch.ones_like(x0[:, 0])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        wrong = evaluator.forward(torch.lerp(x0, ends, middle[:, None])).argmax(1) != labels
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
    return torch.lerp(x0, ends, high[:, None])


def _finished(evaluator: Evaluator, box: Box, x0: Tensor, best: Tensor, labels: Tensor, layout: Layout) -> Tensor:
    """The points (R, n) of the boundary nearest to x0 that the finish reaches from `best`."""
    classes = torch.arange(evaluator.classes, device=x0.device)
    target = evaluator.forward(best).argmax(1)
    wide, padded = box.padded(x0, ALIGNED)
    inputs = {
        "x0": wide,
        "best": box.padded(best, ALIGNED)[0],
        "rivals": classes == labels[:, None],
        "target": target,
    }
    solver = BoundaryFinish(evaluator, *padded.pair, steps=_STEPS)
    return run(solver, inputs, layout)["best"][:, : evaluator.size]
