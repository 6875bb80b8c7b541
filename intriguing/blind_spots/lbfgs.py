"""Directions of a limited-memory quasi-Newton method inside a box, one history per row."""

import torch
from torch import Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of rows: (R, n), (R, n) -> (R,)."""
    return torch.linalg.vecdot(a, b)


def free_variables(x: Tensor, gradient: Tensor, lower: float, upper: float) -> Tensor:
    """Mask (R, n) of the variables that a descent step may move: not held at a bound by the gradient."""
    return ~(((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0)))


def direction(gradient: Tensor, free: Tensor, s: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The L-BFGS direction (R, n) in the space of the free variables, and whether it has any history (R,).

    `s`, `y` (R, m, n): steps and gradient changes, newest first, zeros where there is none; `y` is overwritten. They
    are restricted to the free variables, with inner products to match, so that the matrix stays positive definite there
    (two-metric projection: Bertsekas 1982, "Projected Newton methods", section 2; two-loop: Nocedal and Wright
    2006, algorithm 7.4). Pairs whose restricted curvature is not positive are passed over.
    """
    mask = free.to(gradient.dtype)
    q = -gradient * mask
    s = s * mask[:, None]
    y = y.mul_(mask[:, None])
    sy = torch.linalg.vecdot(s, y)
    yy = torch.linalg.vecdot(y, y)
    ss = torch.linalg.vecdot(s, s)
    good = sy > 1e-6 * (ss * yy).sqrt()
    good &= sy > 0
    rho = torch.where(good, 1 / sy.where(good, torch.ones_like(sy)), torch.zeros_like(sy))
    memory = s.shape[1]
    alphas = []
    for i in range(memory):
        a = rho[:, i] * dot(s[:, i], q)
        alphas.append(a)
        q = q - a[:, None] * y[:, i]
    newest = good.to(torch.int8).argmax(1, keepdim=True)
    has = good.any(1)
    scale = (sy.gather(1, newest) / yy.gather(1, newest).clamp(min=1e-38)).squeeze(1)
    q = q * mask * torch.where(has, scale, torch.ones_like(scale))[:, None]
    for i in reversed(range(memory)):
        b = rho[:, i] * dot(y[:, i], q)
        q = q + (alphas[i] - b)[:, None] * s[:, i]
    return q * mask, has
