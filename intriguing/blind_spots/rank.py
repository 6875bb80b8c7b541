"""Which wrong classes are near: the distance to each linearised boundary, inside the box."""

import torch
from torch import Tensor

from intriguing.blind_spots.box import Bound
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.objective import pair
from intriguing.blind_spots.qp import project

MOST = 9
"""Classes that get a gradient: with a thousand classes one backward pass each is out of the question."""


def nearest_classes(
    evaluator: Evaluator, x0: Tensor, labels: Tensor, logits: Tensor, count: int, lower: Bound, upper: Bound
) -> tuple[Tensor, int]:
    """The `count` wrong classes (R, count) whose linearised boundary is nearest within the box, and the passes spent.

    Margin over gradient norm would ignore the box: most pixels of an image stand at a bound and can move one way only.
    """
    wrong = logits.scatter(1, labels[:, None], -float("inf"))
    candidates = wrong.topk(min(MOST, logits.shape[1] - 1), dim=1).indices
    count = min(count, candidates.shape[1])
    if count == candidates.shape[1]:
        return candidates, 0
    distances = []
    for k in range(candidates.shape[1]):
        rival = candidates[:, k]
        _, gap, normal = evaluator.gradient(x0, lambda z, s, rival=rival: pair(z, rival[s], labels[s]))
        r, _, _ = project(lower - x0, upper - x0, normal[:, None], -gap[:, None])
        reached = (normal * r).sum(1) + gap
        far = (reached < -1e-3 * gap.abs()) | ~reached.isfinite()
        distances.append(torch.linalg.vecdot(r, r).where(~far, gap.new_tensor(float("inf"))))
    order = torch.stack(distances, 1).argsort(dim=1, stable=True)[:, :count]
    return candidates.gather(1, order), candidates.shape[1]
