"""The nearest point of a box to an image under a few linear constraints, by the dual."""

import torch
from torch import Tensor

from intriguing.blind_spots.lbfgs import dot

_INFINITY = float("inf")


def _coordinate_ascent(gram: Tensor, rise: Tensor, u: Tensor, sweeps: int) -> Tensor:
    """Change of u >= 0 (R, K) that maximises rise.d - d.gram.d / 2, by Gauss-Seidel (Hildreth 1957)."""
    inverses = (1 / gram.diagonal(dim1=1, dim2=2)).t().contiguous().unbind(0)
    columns = gram.permute(2, 1, 0).contiguous().unbind(0)
    remainder = rise.t().contiguous()
    lowest = (-u).t().contiguous()
    remainders, lows = remainder.unbind(0), lowest.unbind(0)
    for _ in range(sweeps):
        for column, scale, slope, low in zip(columns, inverses, remainders, lows, strict=True):
            move = torch.maximum(slope * scale, low)
            low.sub_(move)
            remainder.addcmul_(column, move, value=-1)
    return -u - lowest.t()


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

    lower <= 0 <= upper: (R, n), the box as seen from the image; a: (R, K, n); b: (R, K), -inf where there is no
    constraint; start: (R, K) multipliers to start from. With multipliers u >= 0 the primal point is clip(u a), and the
    dual, whose value is a lower bound of |r|^2 / 2 for every feasible r, is concave and piecewise quadratic: semismooth
    Newton with the Gram matrix of the unclipped variables solves it. A step after which the dual is lower is halved.
    Where no point of the box satisfies the constraints the multipliers grow until the point is as near to satisfying
    them as `rounds` allow.
    """
    square = torch.linalg.vecdot(a, a)
    used = (b > -_INFINITY) & (square > 0)
    unit = square.sqrt().where(used, torch.ones_like(square))
    weight = used / unit
    bound = torch.where(used, b / unit, torch.full_like(b, -_INFINITY))
    u = torch.zeros_like(bound) if start is None else (start * unit).clamp(min=0) * used
    if lower.is_cuda:
        r, u, value, _ = _ascend(lower, upper, a, weight, bound, u, rounds, sweeps)
        return r, u / unit, value
    # Warm starts are often right at once: the host looks, and goes on with the other rows alone (never with one alone,
    # whose products would be rounded by another kernel).
    short = min(2, rounds)
    r, u, value, met = _ascend(lower, upper, a, weight, bound, u, short, sweeps)
    rest = (~met).nonzero().squeeze(1)
    if len(rest) and rounds > short:
        index = rest.repeat(2) if len(rest) == 1 else rest
        more = _ascend(
            lower[index], upper[index], a[index], weight[index], bound[index], u[index], rounds - short, sweeps
        )
        for whole, part in zip((r, u, value), more, strict=False):
            whole[rest] = part[: len(rest)]
    return r, u / unit, value


def _ascend(
    lower: Tensor, upper: Tensor, a: Tensor, weight: Tensor, bound: Tensor, u: Tensor, rounds: int, sweeps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Newton on the dual: primal point, multipliers of the unit normals `weight` a, value, and which rows are met."""
    used = bound > -_INFINITY
    bound = bound.where(used, torch.zeros_like(bound))
    tiny = 1e-6 if a.dtype == torch.float32 else 1e-12
    close = 3e-5 if a.dtype == torch.float32 else 1e-11
    ridge = tiny * torch.eye(u.shape[1], dtype=a.dtype, device=a.device)
    ones = torch.ones_like(bound[:, 0])
    # One large block for all rounds: fetching it anew costs a CPU more than the product.
    scratch = torch.empty_like(a)
    change = torch.zeros_like(u)
    value, r, step = -_INFINITY * ones, torch.zeros_like(lower), ones
    met = torch.zeros_like(ones, dtype=torch.bool)
    for last in [False] * rounds + [True]:
        trial = u + step[:, None] * change
        raw = torch.bmm((trial * weight)[:, None], a).squeeze(1)
        point = torch.minimum(torch.maximum(raw, lower), upper)
        rise = (bound - weight * torch.linalg.vecdot(a, point[:, None])) * used
        square = dot(point, point)
        new = 0.5 * square + (trial * rise).sum(1)
        good = (new >= value - 10 * tiny * value.abs()) & ~met
        keep = good[:, None]
        u = torch.where(keep, trial, u)
        r = torch.where(keep, point, r)
        value = torch.where(good, new, value)
        residual = torch.where(trial > 0, rise.abs(), rise.clamp(min=0)).amax(1)
        met = met | (good & (residual <= close * square.sqrt()))
        if last or (not lower.is_cuda and bool(met.all())):
            break
        free = (raw == point).to(a.dtype)
        gram = torch.bmm(torch.mul(a, free[:, None], out=scratch), a.transpose(1, 2))
        gram = gram * weight[:, :, None] * weight[:, None, :] + ridge
        ahead = _coordinate_ascent(gram, rise, trial, sweeps)
        change = torch.where(keep, ahead, change)
        step = torch.where(good, ones, step / 2)
    return r, u, value, met
