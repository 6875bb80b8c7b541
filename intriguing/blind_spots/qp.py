"""The nearest point of a box to an image under a few linear constraints, by the dual."""

import torch
from torch import Tensor

from intriguing.blind_spots.lbfgs import dot

_INFINITY = float("inf")


def _coordinate_ascent(gram: Tensor, rise: Tensor, u: Tensor, sweeps: int) -> Tensor:
    """Change of u >= 0 (R, K) that maximises rise.d - d.gram.d / 2, by Gauss-Seidel (Hildreth 1957)."""
    inverse = 1 / gram.diagonal(dim1=1, dim2=2)
    columns, inverses = gram.unbind(2), inverse.unbind(1)
    remainder, lowest = rise.clone(), -u
    change = torch.zeros_like(u)
    for _ in range(sweeps):
        for k, (column, scale) in enumerate(zip(columns, inverses, strict=True)):
            now = change[:, k]
            move = torch.maximum(now + remainder[:, k] * scale, lowest[:, k]) - now
            change[:, k] += move
            remainder.addcmul_(column, move[:, None], value=-1)
    return change


def project(
    lower: Tensor,
    upper: Tensor,
    a: Tensor,
    b: Tensor,
    start: Tensor | None = None,
    *,
    rounds: int = 6,
    sweeps: int = 6,
) -> tuple[Tensor, Tensor, Tensor]:
    """The shortest change r with a_i . r >= b_i and lower <= r <= upper, its multipliers, and the dual's value.

    lower <= 0 <= upper: (R, n), the box as seen from the image; a: (R, K, n); b: (R, K), -inf where there is no constraint;
    start: (R, K) multipliers to start from. With multipliers u >= 0 the primal point is clip(u a), and the dual, whose
    value is a lower bound of |r|^2 / 2 for every feasible r, is concave and piecewise quadratic: semismooth Newton with the Gram matrix of the
    unclipped variables solves it. A step after which the dual is lower is halved. Where no point of the box satisfies the
    constraints the multipliers grow until the point is as near to satisfying them as `rounds` allow.
    """
    square = torch.linalg.vecdot(a, a)
    used = (b > -_INFINITY) & (square > 0)
    unit = square.sqrt().where(used, torch.ones_like(square))
    weight = (used / unit)[:, :, None]
    a = a * weight
    bound = (b / unit).where(used, torch.zeros_like(b))
    u = torch.zeros_like(bound) if start is None else (start * unit).clamp(min=0) * used
    tiny = 1e-6 if a.dtype == torch.float32 else 1e-12
    ridge = tiny * torch.eye(u.shape[1], dtype=a.dtype, device=a.device)
    ones = torch.ones_like(bound[:, 0])

    change = torch.zeros_like(u)
    value, r, step = -_INFINITY * ones, torch.zeros_like(lower), ones
    for _ in range(rounds + 1):
        trial = u + step[:, None] * change
        raw = torch.bmm(trial[:, None], a).squeeze(1)
        point = torch.minimum(torch.maximum(raw, lower), upper)
        rise = (bound - torch.bmm(a, point[:, :, None]).squeeze(2)) * used
        new = 0.5 * dot(point, point) + (trial * rise).sum(1)
        good = new >= value - 10 * tiny * value.abs()
        free = (raw == point).to(a.dtype)
        gram = torch.bmm(a * free[:, None], a.transpose(1, 2)) + ridge
        ahead = _coordinate_ascent(gram, rise, trial, sweeps)
        keep = good[:, None]
        u = torch.where(keep, trial, u)
        r = torch.where(keep, point, r)
        value = torch.where(good, new, value)
        change = torch.where(keep, ahead, change)
        step = torch.where(good, ones, step / 2)
    return r, u / unit, value
