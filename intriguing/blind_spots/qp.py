"""The nearest point of a box to an image under a few linear constraints, by the dual."""

import torch
from torch import Tensor

from intriguing.blind_spots.lbfgs import dot


def project(
    x0: Tensor, a: Tensor, b: Tensor, lower: float, upper: float, start: Tensor | None = None, rounds: int = 12
) -> tuple[Tensor, Tensor]:
    """The point of the box with a_i . x >= b_i that is nearest to x0, and the multipliers.

    x0: (R, n) inside the box; a: (R, K, n); b: (R, K), -inf where there is no constraint; start: (R, K) multipliers to
    start from. The primal point of multipliers u >= 0 is clip(x0 + u a); the dual is concave and piecewise quadratic,
    so semismooth Newton with the unclipped variables' Gram matrix solves it; each Newton system with u >= 0 is solved by
    Gauss-Seidel (Hildreth 1957), and a step is halved where the dual does not rise.
    """
    used = b > -float("inf")
    a = a * used[:, :, None]
    norm = torch.linalg.vecdot(a, a).sqrt()
    used = used & (norm > 0)
    unit = norm.where(used, torch.ones_like(norm))
    a = a / unit[:, :, None]
    b = torch.where(used, b / unit, torch.zeros_like(b))
    u = torch.zeros_like(b) if start is None else (start * unit).clamp(min=0) * used

    def point(u: Tensor) -> tuple[Tensor, Tensor]:
        raw = x0 + torch.bmm(u[:, None], a).squeeze(1)
        x = raw.clamp(lower, upper)
        return x, (raw == x)

    def dual(u: Tensor, x: Tensor) -> Tensor:
        r = x - x0
        return 0.5 * dot(r, r) + (u * (b - torch.bmm(a, x[:, :, None]).squeeze(2))).sum(1)

    x, free = point(u)
    value = dual(u, x)
    for _ in range(rounds):
        rise = (b - torch.bmm(a, x[:, :, None]).squeeze(2)) * used
        gram = torch.bmm(a * free[:, None], a.transpose(1, 2))
        diagonal = gram.diagonal(dim1=1, dim2=2) + 1e-6
        du = torch.zeros_like(u)
        remainder = rise.clone()
        for _ in range(8):
            for k in range(u.shape[1]):
                move = torch.maximum(du[:, k] + remainder[:, k] / diagonal[:, k], -u[:, k]) - du[:, k]
                du[:, k] += move
                remainder -= move[:, None] * gram[:, :, k]
        step = torch.ones_like(value)
        for _ in range(3):
            x_new, _ = point(u + step[:, None] * du)
            value_new = dual(u + step[:, None] * du, x_new)
            bad = value_new < value - 1e-6 * value.abs()
            step = torch.where(bad, step / 2, step)
        u = u + step[:, None] * du
        x, free = point(u)
        value = dual(u, x)
    return x, u / unit
