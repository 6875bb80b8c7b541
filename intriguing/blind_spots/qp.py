"""The nearest point of a box to an image under a few linear constraints, by the dual."""

import torch
from torch import Tensor

from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.lbfgs import dot

_INFINITY = float("inf")
_PIVOTED = 32
"""With more constraints than this, coordinate ascent is used: block pivoting of many, linearly dependent constraints
need not end."""
_ENUMERATED = 6
"""With at most this many constraints a CUDA graph solves on all faces at once: few kernels with many threads each."""


def project(
    lower: Tensor,
    upper: Tensor,
    a: Tensor,
    b: Tensor,
    start: Tensor | None = None,
    *,
    unit: bool = False,
    rounds: int = 4,
    turns: int = 10,
) -> tuple[Tensor, Tensor, Tensor]:
    """The shortest change r with a_i . r >= b_i and lower <= r <= upper, its multipliers, and the dual's value.

    lower <= 0 <= upper: (R, n), the box minus the image; a: (R, K, n); b: (R, K), -inf where there is no constraint;
    start: (R, K) multipliers to start from; unit: the constraints' normals in a have norm 1 already. Returns r (R, n),
    multipliers (R, K), value (R,), which is a lower bound of |r|^2 / 2 over all feasible r.

    With multipliers u >= 0 the primal point is clip(u a), and the dual is concave and piecewise quadratic. Semismooth
    Newton with the Gram matrix of the unclipped variables maximises it in `rounds` steps; `_ascent` solves the small
    programme over u >= 0 in each, with `turns` turns. A step that lowers the dual is halved. If no point of the box
    satisfies the constraints, the multipliers grow and r comes near to satisfying them.
    """
    if not unit:
        norms = torch.linalg.vecdot(a, a).sqrt()
        used = (b > -_INFINITY) & (norms > 0)
        norms = norms.where(used, torch.ones_like(norms))
        weight = used / norms
        bound = torch.where(used, b / norms, torch.full_like(b, -_INFINITY))
        u = torch.zeros_like(bound) if start is None else start * norms
    else:
        norms = torch.ones_like(b)
        weight, bound = (b > -_INFINITY).to(a.dtype), b
        u = torch.zeros_like(b) if start is None else start
    u = u.clamp(min=0) * (weight > 0)
    if is_graphed(lower.device):
        r, u, value, _ = _solve(lower, upper, a, weight, bound, u, rounds, turns)
        return r, u / norms, value
    # A warm start often solves a row at once, so only unsolved rows go on. A single row is doubled, because the
    # products of one row are rounded differently.
    short = min(2, rounds)
    r, u, value, met = _solve(lower, upper, a, weight, bound, u, short, turns)
    rest = (~met).nonzero().squeeze(1)
    if len(rest) and rounds > short:
        index = rest.repeat(2) if len(rest) == 1 else rest
        part = [x if len(rest) == len(u) else x[index] for x in (lower, upper, a, weight, bound, u)]
        more = _solve(part[0], part[1], part[2], part[3], part[4], part[5], rounds - short, turns)
        for whole, new in zip((r, u, value), more, strict=False):
            whole[rest] = new[: len(rest)]
    return r, u / norms, value


def _solve(
    lower: Tensor, upper: Tensor, a: Tensor, weight: Tensor, bound: Tensor, u: Tensor, rounds: int, turns: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Newton on the dual: primal point, multipliers of the unit normals weight * a, value, and the rows solved."""
    used = bound > -_INFINITY
    bound = bound.where(used, torch.zeros_like(bound))
    tiny = 1e-6 if a.dtype == torch.float32 else 1e-12
    close = 3e-5 if a.dtype == torch.float32 else 1e-11
    ridge = tiny * torch.eye(u.shape[1], dtype=a.dtype, device=a.device)
    ones = torch.ones_like(bound[:, 0])
    # One block of memory for all rounds: on a CPU a new allocation costs more time than the product.
    scratch = torch.empty_like(a)
    across = a.transpose(1, 2)
    change = torch.zeros_like(u)
    value, step = -_INFINITY * ones, ones
    met = torch.zeros_like(ones, dtype=torch.bool)
    good, point = met, lower
    fixed = is_graphed(lower.device)
    for last in [False] * rounds + [True]:
        trial = u + step[:, None] * change
        raw = torch.bmm((trial * weight)[:, None], a).squeeze(1)
        point = raw.clamp(lower, upper)
        rise = (bound - weight * torch.bmm(point[:, None], across).squeeze(1)) * used
        square = dot(point, point)
        new = 0.5 * square + (trial * rise).sum(1)
        good = (new >= value - 10 * tiny * value.abs()) & ~met
        keep = good[:, None]
        u = torch.where(keep, trial, u)
        value = torch.where(good, new, value)
        residual = torch.where(trial > 0, rise.abs(), rise.clamp(min=0)).amax(1)
        met = met | (good & (residual <= close * square.sqrt()))
        if last or (not fixed and bool(met.all())):
            break
        free = (raw == point).to(a.dtype)
        gram = torch.bmm(torch.mul(a, free[:, None], out=scratch), across)
        gram = gram * weight[:, :, None] * weight[:, None, :] + ridge
        change = torch.where(keep, _ascent(gram, rise, trial, turns) - trial, change)
        step = torch.where(good, ones, step / 2)
    if fixed or not bool(good.all()):
        point = torch.bmm((u * weight)[:, None], a).squeeze(1).clamp(lower, upper)
    return point, u, value, met


def _ascent(gram: Tensor, rise: Tensor, u: Tensor, turns: int) -> Tensor:
    """The v >= 0 (R, K) that maximises rise.d - d.gram.d / 2, d = v - u, in `turns` turns at most.

    gram: (R, K, K); rise, u: (R, K). Block principal pivoting: solve with some variables fixed at zero (on a face),
    then exchange all variables that violate their condition; only the last one, once that no longer lowers their
    number. Nearly parallel constraints, with which coordinate ascent is slow, do not slow it down. Rows that are not
    solved in `turns`, and programmes with many constraints, use coordinate ascent, which never lowers the objective.

    Source: Judice and Pires 1994; Kim and Park 2011, "Fast nonnegative matrix factorization", section 4.
    """
    fixed = is_graphed(gram.device)
    if u.shape[1] > _PIVOTED:
        return _swept(gram, rise, u, turns)
    if fixed and u.shape[1] <= _ENUMERATED:
        return _enumerated(gram, rise, u)
    count = u.shape[1]
    gram, rise, start = gram.double(), rise.double(), u.double()
    eye = torch.eye(count, dtype=gram.dtype, device=gram.device)
    order = torch.arange(1, count + 1, device=gram.device)
    target = rise + torch.bmm(start[:, None], gram).squeeze(1)
    tolerance = 1e-9 * target.abs().amax(1, keepdim=True)
    face = (start > 0) | (rise > 0)
    fewest = torch.full_like(face[:, 0], count + 1, dtype=torch.long)
    patience = torch.full_like(fewest, 3)
    v, many = start, fewest
    for _ in range(turns):
        on = face.to(gram.dtype)
        matrix = gram * (on[:, :, None] * on[:, None]) + eye * (1 - on)[:, :, None]
        v = _definite(matrix, target * on)
        slope = target - torch.bmm(v[:, None], gram).squeeze(1)
        wrong = torch.where(face, v < 0, slope > tolerance)
        many = wrong.sum(1)
        if not fixed and not bool(many.any()):
            return v.to(u.dtype)
        fewer = many < fewest
        patience = torch.where(fewer, torch.full_like(patience, 3), patience - 1)
        fewest = torch.minimum(many, fewest)
        last = order * wrong == (order * wrong).amax(1, keepdim=True)
        face = face ^ (wrong & ((patience >= 0)[:, None] | last))
    if fixed:
        return v.clamp(min=0).to(u.dtype)
    swept = _swept(gram, rise, start, turns)
    return torch.where((many == 0)[:, None], v.clamp(min=0), swept).to(u.dtype)


def _enumerated(gram: Tensor, rise: Tensor, u: Tensor) -> Tensor:
    """As `_ascent`, by solving on all 2^K faces and taking the solution that violates its conditions least."""
    count = u.shape[1]
    bits = torch.arange(count, device=u.device)
    on = (torch.arange(2**count, device=u.device)[:, None] >> bits & 1).double()
    gram = gram.double()
    target = rise.double() + torch.bmm(u.double()[:, None], gram).squeeze(1)
    apart = torch.diag_embed(1 - on)
    matrices = (gram[:, None] * (on[:, :, None] * on[:, None]) + apart).flatten(0, 1)
    v = _definite(matrices, (target[:, None] * on).flatten(0, 1)).unflatten(0, (-1, 2**count))
    slope = target[:, None] - torch.bmm(v, gram)
    offence = torch.where(on > 0, -v, slope).amax(2)
    face = offence.argmin(1)[:, None, None].expand(-1, 1, count)
    return v.gather(1, face).squeeze(1).clamp(min=0).to(u.dtype)


def _swept(gram: Tensor, rise: Tensor, u: Tensor, sweeps: int) -> Tensor:
    """As `_ascent`, by coordinate ascent. Source: Hildreth 1957."""
    inverses = (1 / gram.diagonal(dim1=1, dim2=2)).t().contiguous().unbind(0)
    columns = gram.permute(2, 1, 0).contiguous().unbind(0)
    slopes, lowest = rise.t().contiguous(), (-u).t().contiguous()
    for _ in range(sweeps):
        for column, scale, slope, low in zip(columns, inverses, slopes.unbind(0), lowest.unbind(0), strict=True):
            move = torch.maximum(slope * scale, low)
            low.sub_(move)
            slopes.addcmul_(column, move, value=-1)
    return -lowest.t()


def _definite(matrix: Tensor, right: Tensor) -> Tensor:
    """The solutions (R, K) of positive definite systems (R, K, K), (R, K)."""
    if is_graphed(matrix.device):
        return eliminated(matrix, right)
    return torch.cholesky_solve(right[:, :, None], torch.linalg.cholesky_ex(matrix)[0]).squeeze(2)


def eliminated(matrix: Tensor, right: Tensor) -> Tensor:
    """As `_definite`, by Gauss-Jordan elimination with elementwise operations only, which a CUDA graph can record."""
    table = torch.cat([matrix, right[:, :, None]], 2)
    for k in range(matrix.shape[1]):
        row = table[:, k] / table[:, k, k, None]
        table = table - table[:, :, k, None] * row[:, None]
        table = torch.cat([table[:, :k], row[:, None], table[:, k + 1 :]], 1)
    return table[:, :, -1]
