"""The nearest point of a box to an image under a few linear constraints, by the dual."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.lbfgs import dot
from intriguing.blind_spots.arithmetic.masks import surely_all
from intriguing.blind_spots.cuda_graph import is_graphed

_INFINITY = float("inf")
_PIVOTED = 32
"""With more constraints than this, coordinate ascent is used: block pivoting of many, linearly dependent constraints
need not end."""
_ENUMERATED = 6
"""With at most this many constraints a CUDA graph solves on all faces at once: few kernels with many threads each."""
_PATIENCE = 3
"""Turns of block pivoting that may pass without fewer violations than ever before."""
_WHOLE = 2
"""After so many Newton steps a row whose last one was too long makes a whole one again."""
_WORTH = 2**16
"""Solved rows leave once their normals have so many values; for fewer, to copy the other rows takes longer."""
_FEW, _CACHED = 8, 300_000
"""The inner products of at most so many constraints are products of a vector and a matrix each, of so many values at
once as stay in the cache of a core: products of matrices of so few rows take up to three times as long."""
_Result = tuple[Tensor, Tensor, Tensor]


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
    used = b > -_INFINITY
    norms = weight = None
    if not unit:
        norms = torch.linalg.vecdot(a, a).sqrt()
        used = used & (norms > 0)
        norms = norms.where(used, torch.ones_like(norms))
        b, weight = b / norms, used / norms
        start = None if start is None else start * norms
    mask = used.to(a.dtype)
    u = torch.zeros_like(b) if start is None else start.clamp(min=0) * mask
    programme = _Programme(lower, upper, a, b.masked_fill(~used, 0), mask, mask if weight is None else weight)
    r, u, value = _solve(programme, u, rounds, turns)
    return r, u if norms is None else u / norms, value


class _Programme(NamedTuple):
    """R programmes as those of `project`."""

    lower: Tensor
    upper: Tensor
    a: Tensor
    bound: Tensor
    """(R, K) right sides; zero where there is no constraint."""
    mask: Tensor
    """(R, K), one where there is a constraint and zero elsewhere."""
    weight: Tensor
    """(R, K): the normals `weight * a` have norm 1. The mask itself if those in `a` have."""

    def gram(self, free: Tensor, scratch: Tensor) -> Tensor:
        """Inner products (R, K, K) of the normals' free variables; free: (R, n), one where a variable is free."""
        count, several, n = self.a.shape
        if 0 < several <= _FEW and not is_graphed(self.a.device):
            # At least two rows at once: a single one is rounded differently.
            pieces = max(1, -(-count // max(4, _CACHED // max(1, several * n))))
            pairs = zip(self.a.tensor_split(pieces), free.tensor_split(pieces), strict=True)
            gram = torch.cat([_products(a, part) for a, part in pairs])
        else:
            part = torch.mul(self.a, free.unsqueeze(1), out=scratch[:count])
            gram = torch.bmm(part, self.a.transpose(1, 2))
        return gram.mul_(self.weight.unsqueeze(2)).mul_(self.weight.unsqueeze(1))


def _products(a: Tensor, free: Tensor) -> Tensor:
    """The inner products (R, K, K) of the normals a (R, K, n) where free (R, n) is one, normal by normal."""
    across = a.transpose(1, 2)
    return torch.cat([torch.bmm((normal * free).unsqueeze(1), across) for normal in a.unbind(1)], 1)


class _Point(NamedTuple):
    """The dual at some multipliers of each row."""

    u: Tensor
    """(R, K) the multipliers."""
    raw: Tensor
    """(R, n) their combination of the normals."""
    r: Tensor
    """(R, n) the same inside the box: the primal point."""
    rise: Tensor
    """(R, K) gradient of the dual."""
    square: Tensor
    """(R,) of the norm of r."""
    value: Tensor
    """(R,) of the dual."""

    @classmethod
    def of(cls, p: _Programme, u: Tensor) -> "_Point":
        raw = torch.bmm((u * p.weight).unsqueeze(1), p.a).squeeze(1)
        r = raw.clamp(p.lower, p.upper)
        along = torch.bmm(r.unsqueeze(1), p.a.transpose(1, 2)).squeeze(1)
        rise = (p.bound - along.mul_(p.weight)).mul_(p.mask)
        square = dot(r, r)
        return cls(u, raw, r, rise, square, 0.5 * square + (u * rise).sum(1))


def _solve(p: _Programme, u: Tensor, rounds: int, turns: int) -> _Result:
    """Newton on the dual from u (R, K): primal points, multipliers of the unit normals, values.

    A solved row stays where it is. Where values may be read it leaves, if that spares enough work: a warm start often
    solves a row at once.
    """
    tiny, close = (1e-6, 3e-5) if u.dtype == torch.float32 else (1e-12, 1e-11)
    fixed = is_graphed(u.device)
    ridge = tiny * torch.eye(u.shape[1], dtype=u.dtype, device=u.device)
    # One block of memory for all rounds: on a CPU a new allocation costs more time than the product.
    scratch = torch.empty_like(p.a)
    point, change, share = _Point.of(p, u), torch.zeros_like(u), torch.ones_like(u[:, :1])
    whole = share
    value, floor = torch.full_like(point.value, -_INFINITY), -_INFINITY
    ended, rows, every = None, None, False
    for turn in range(rounds + 1):
        good = point.value >= floor
        every = surely_all(good)
        u = point.u if every else torch.where(good.unsqueeze(1), point.u, u)
        value = point.value if every else torch.where(good, point.value, value)
        residual = torch.where(point.u > 0, point.rise.abs(), point.rise).amax(1)
        met = good & (residual <= close * point.square.sqrt())
        if turn == rounds:
            break
        solved, tried, rise = 0, point.u, point.rise
        if not fixed:
            solved = sum(met.tolist())
            if solved == len(met):
                break
            if not every and turn == _WHOLE:
                point = _Point.of(p, u)
                good, tried, rise = ~point.value.isnan(), u, point.rise
        free = point.raw.eq_(point.r)
        if solved * p.a[0].numel() >= _WORTH:
            index = (~met).nonzero().squeeze(1)
            # A single row is doubled, because the products of one row are rounded differently.
            index = index.repeat(2) if len(index) == 1 else index
            ended = _stored(ended, rows, (point.r if every else _Point.of(p, u).r, u, value))
            rows, solved = index if rows is None else rows[index], 0
            p = _Programme(*_of_rows(p, index))
            several = free, tried, rise, u, value, good, change, share
            free, tried, rise, u, value, good, change, share = _of_rows(several, index)
        gram = p.gram(free, scratch) + ridge
        newton = _ascent(gram, rise, tried, turns) - tried
        if fixed or solved:
            newton = newton.masked_fill(met.unsqueeze(1), 0)
        if every:
            change, share = newton, whole[: len(u)]
        else:
            change = torch.where(good.unsqueeze(1), newton, change)
            share = torch.where(good.unsqueeze(1), 1, share / 2)
        floor = value - 10 * tiny * value.abs()
        point = _Point.of(p, u + (change if every else share * change))
    return _stored(ended, rows, (point.r if every else _Point.of(p, u).r, u, value))


def _of_rows(values: Iterable[Tensor], index: Tensor) -> list[Tensor]:
    return [value.index_select(0, index) for value in values]


def _stored(whole: _Result | None, rows: Tensor | None, part: _Result) -> _Result:
    """The results of all rows, with those of `rows` in place; None: `part` has all rows."""
    if whole is None or rows is None:
        return part
    for value, new in zip(whole, part, strict=True):
        value.index_copy_(0, rows, new)
    return whole


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
    target = rise + torch.bmm(start.unsqueeze(1), gram).squeeze(1)
    tolerance = 1e-9 * target.abs().amax(1, keepdim=True)
    face = (start > 0) | (rise > 0)
    v, violations = start, []
    for turn in range(turns):
        matrix = torch.where(face.unsqueeze(2) & face.unsqueeze(1), gram, eye)
        v = _definite(matrix, target * face)
        slope = target - torch.bmm(v.unsqueeze(1), gram).squeeze(1)
        wrong = torch.where(face, v < 0, slope > tolerance)
        if not fixed and not bool(wrong.any()):
            return v.to(u.dtype)
        violations.append(wrong.sum(1))
        face = face ^ (wrong if turn <= _PATIENCE else wrong & _exchanged(wrong, violations))
    if fixed:
        return v.clamp(min=0).to(u.dtype)
    swept = _swept(gram, rise, start, turns)
    return torch.where((violations[-1] == 0).unsqueeze(1), v.clamp(min=0), swept).to(u.dtype)


def _exchanged(wrong: Tensor, violations: list[Tensor]) -> Tensor:
    """Which variables (R, K) may be exchanged: the last wrong one, or all while their number (R,) still falls."""
    since = len(violations) - 1 - torch.stack(violations).argmin(0)
    order = torch.arange(1, wrong.shape[1] + 1, device=wrong.device) * wrong
    return (since <= _PATIENCE).unsqueeze(1) | (order == order.amax(1, keepdim=True))


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
    return torch.cholesky_solve(right.unsqueeze(2), torch.linalg.cholesky_ex(matrix)[0]).squeeze(2)


def eliminated(matrix: Tensor, right: Tensor) -> Tensor:
    """As `_definite`, by Gauss-Jordan elimination with elementwise operations only, which a CUDA graph can record."""
    table = torch.cat([matrix, right[:, :, None]], 2)
    for k in range(matrix.shape[1]):
        row = table[:, k] / table[:, k, k, None]
        table = table - table[:, :, k, None] * row[:, None]
        table = torch.cat([table[:, :k], row[:, None], table[:, k + 1 :]], 1)
    return table[:, :, -1]
