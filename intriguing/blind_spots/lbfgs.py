"""Directions of a limited-memory quasi-Newton method inside a box, one history per row."""

import torch
from torch import Tensor

from intriguing.blind_spots.box import Bound


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows: (R, n), (R, n) -> (R,)."""
    return torch.linalg.vecdot(a, b)


def free_variables(x: Tensor, gradient: Tensor, lower: Bound, upper: Bound) -> Tensor:
    """Mask (R, n) of the variables that a descent step may move: not held at a bound by the gradient."""
    return ~(((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0)))


def direction(gradient: Tensor, free: Tensor, pairs: Tensor, order: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The L-BFGS direction (R, n) in the space of the free variables, and whether it has any history (R,).

    gradient: (R, n); free: (R, n) mask. pairs: (R, 2, m, n) or (R, 3, m, n), steps s, changes y of one part of the
    gradient, and changes of its other part (if absent, these are the steps). The whole gradient changed by y plus
    `share` (R,) times the other part. Unused slots are zero. order: (R, m), the slots, newest first.

    The pairs are restricted to the free variables, with inner products to match, so that the matrix stays positive
    definite there (two-metric projection: Bertsekas 1982, "Projected Newton methods", section 2). The two loops
    (Nocedal and Wright 2006, algorithm 7.4) run on coefficients, from the pairs' inner products, so that the long
    vectors are read three times whatever m is (Chen et al. 2014, "Large-scale L-BFGS using MapReduce", section 3).
    Pairs whose restricted curvature is not positive are not used.
    """
    kinds, memory = pairs.shape[1:3]
    mask = free.to(gradient.dtype)
    descent = -gradient * mask
    vectors = pairs.flatten(1, 2) * mask[:, None]
    across = vectors.transpose(1, 2)
    gram = torch.bmm(vectors, across).double()
    gram = gram.unflatten(2, (kinds, memory)).unflatten(1, (kinds, memory))
    along = torch.bmm(descent[:, None], across).squeeze(1).double().unflatten(1, (kinds, memory))

    # The inner products of steps (s) and whole changes (y), newest first.
    other, part = (2 if kinds == 3 else 0), share.double()[:, None, None]
    down, over = order[:, :, None].expand(-1, -1, memory), order[:, None].expand(-1, memory, -1)
    sy = gram[:, 0, :, 1] + part * gram[:, 0, :, other]
    yy = gram[:, 1, :, 1] + part * (gram[:, 1, :, other] + gram[:, other, :, 1]) + part**2 * gram[:, other, :, other]
    sy, yy = (value.gather(1, down).gather(2, over) for value in (sy, yy))
    ss = gram[:, 0, :, 0].diagonal(dim1=1, dim2=2).gather(1, order)
    sg = along[:, 0].gather(1, order)
    yg = (along[:, 1] + part[:, 0] * along[:, other]).gather(1, order)

    curvature, square = sy.diagonal(dim1=1, dim2=2), yy.diagonal(dim1=1, dim2=2)
    good = (curvature > 1e-6 * (ss * square).sqrt()) & (curvature > 0)
    rho = torch.where(good, 1 / curvature.where(good, torch.ones_like(curvature)), torch.zeros_like(curvature))
    first = good.to(torch.int8).argmax(1, keepdim=True)
    has = good.any(1)
    scale = curvature.gather(1, first) / square.gather(1, first).clamp(min=1e-300)
    scale = torch.where(has[:, None], scale, torch.ones_like(scale))
    alphas = torch.zeros_like(sg)
    for i in range(memory):
        alphas[:, i] = rho[:, i] * (sg[:, i] - (alphas * sy[:, i]).sum(1))
    there = scale * (yg - torch.bmm(alphas[:, None], yy).squeeze(1))
    steps = torch.zeros_like(sg)
    for i in reversed(range(memory)):
        steps[:, i] = alphas[:, i] - rho[:, i] * (there[:, i] + (steps * sy[:, :, i]).sum(1))

    changes = -scale * alphas
    weights = torch.zeros_like(along)
    weights[:, 0] = torch.zeros_like(steps).scatter(1, order, steps)
    weights[:, 1] = torch.zeros_like(steps).scatter(1, order, changes)
    weights[:, other] += part[:, 0] * weights[:, 1]
    combination = torch.bmm(weights.flatten(1)[:, None].to(gradient.dtype), vectors).squeeze(1)
    return torch.addcmul(combination, descent, scale.to(gradient.dtype)), has
