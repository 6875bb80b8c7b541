"""Directions of a limited-memory quasi-Newton method inside a box, one history per row."""

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Bound


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
    descent = (gradient * mask).neg_()
    vectors = pairs.flatten(1, 2) * mask[:, None]
    across = vectors.transpose(1, 2)
    gram = torch.bmm(vectors, across)
    along = torch.bmm(descent[:, None], across).squeeze(1)

    # Newest first: the inner products of steps (s) and whole changes (y).
    index = torch.cat([order + kind * memory for kind in range(kinds)], 1)
    gram = gram.gather(1, index[:, :, None].expand_as(gram)).gather(2, index[:, None].expand_as(gram)).double()
    along, part = along.gather(1, index).double(), share.double()[:, None, None]
    rows = [row.split(memory, 2) for row in gram.split(memory, 1)]
    sides = along.split(memory, 1)
    other = 0 if kinds == 2 else 2
    sy = rows[0][1] + part * rows[0][other]
    yy = rows[1][1] + part * (rows[1][other] + rows[other][1]) + part**2 * rows[other][other]
    ss, sg = rows[0][0].diagonal(dim1=1, dim2=2), sides[0]
    yg = sides[1] + part[:, 0] * sides[other]

    curvature, square = sy.diagonal(dim1=1, dim2=2), yy.diagonal(dim1=1, dim2=2)
    good = (curvature > 1e-6 * (ss * square).sqrt()) & (curvature > 0)
    rho = torch.where(good, 1 / curvature, 0.0)
    first = good.to(torch.int8).argmax(1, keepdim=True)
    has = good.any(1)
    scale = curvature.gather(1, first) / square.gather(1, first).clamp(min=1e-300)
    scale = torch.where(has[:, None], scale, 1.0)
    alphas = _substituted((rho[:, :, None] * sy).transpose(1, 2).triu(1), rho * sg, range(memory))
    there = scale * (yg - torch.bmm(alphas[:, None], yy).squeeze(1))
    steps = _substituted((rho[:, None] * sy).tril(-1), alphas - rho * there, range(memory - 1, -1, -1))

    changes = -scale * alphas
    shared = part[:, 0] * changes
    weights = torch.cat([steps + shared, changes] if kinds == 2 else [steps, changes, shared], 1)
    weights = torch.zeros_like(weights).scatter_(1, index, weights).to(gradient.dtype)
    combination = torch.bmm(weights[:, None], vectors).squeeze(1)
    return combination.addcmul_(descent, scale.to(gradient.dtype)), has


def _substituted(shares: Tensor, right: Tensor, turns: range) -> Tensor:
    """The v (R, m) with v_i = right_i - sum of v_j shares_ji, found one after another in the order of `turns`.

    shares: (R, m, m), zero unless j comes before i.
    """
    columns = shares.unbind(1)
    for j in turns[:-1]:
        right = torch.addcmul(right, right.narrow(1, j, 1), columns[j], value=-1)
    return right
