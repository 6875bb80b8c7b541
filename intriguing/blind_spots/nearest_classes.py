"""The nearest wrong classes of an image, by the distance to each linearised decision boundary inside the box."""

import torch
from torch import Tensor

from intriguing.blind_spots.box import Bound
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.objective import pair
from intriguing.blind_spots.qp import project

MOST = 9
"""Largest number of classes compared, those with the largest logits. Each costs one backward pass."""


def nearest_classes(
    evaluator: Evaluator, x0: Tensor, labels: Tensor, logits: Tensor, count: int, lower: Bound, upper: Bound
) -> tuple[Tensor, int, int]:
    """The `count` wrong classes (R, count) whose linearised boundary is nearest, and the forward and backward passes
    spent per row.

    x0: (R, n); labels: (R,); logits: (R, C) at x0. The distance is that of the nearest point inside the box. Margin
    divided by gradient norm would be too small, because most pixels of an image are at a bound and can move in one
    direction only.
    """
    wrong = logits.scatter(1, labels[:, None], -float("inf"))
    candidates = wrong.topk(min(MOST, logits.shape[1] - 1), dim=1).indices
    count = min(count, candidates.shape[1])
    if count == candidates.shape[1]:
        return candidates, 0, 0
    distances = []
    for index in torch.arange(len(x0), device=x0.device).split(evaluator.blocks.most):
        start, rivals, label = x0[index], candidates[index], labels[index]
        losses = [lambda z, s, k=k, i=rivals, y=label: pair(z, i[s, k], y[s]) for k in range(candidates.shape[1])]
        gaps, normals = evaluator.gradients(start, losses)
        here = []
        for gap, normal in zip(gaps.unbind(1), normals.unbind(1), strict=True):
            r, _, _ = project(lower - start, upper - start, normal[:, None], -gap[:, None])
            reached = (normal * r).sum(1) + gap
            far = (reached < -1e-3 * gap.abs()) | ~reached.isfinite()
            here.append(torch.linalg.vecdot(r, r).where(~far, gap.new_tensor(float("inf"))))
        distances.append(torch.stack(here, 1))
    order = torch.cat(distances).argsort(dim=1, stable=True)[:, :count]
    return candidates.gather(1, order), 1, candidates.shape[1]
