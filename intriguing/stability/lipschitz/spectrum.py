"""Largest singular values: Lanczos for the value itself, eigenvalues and Cholesky factors for sound upper bounds."""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import eigsh
from torch import Tensor

Map = Callable[[Tensor], Tensor]

_UNIT = 2.0**-53
_ROUND = 1e-10
"""Relative inflation of values that eigenvalue routines gave in float64: far above their backward error."""
_SMALL = 48
"""Up to this size the eigenvalues of all Gram matrices are computed; above, bounds are proved by Cholesky factors."""
_DENSE = 512
"""Up to this size all eigenvalues of the matrix that seems the largest are computed; above, one is estimated."""
_POWERS = 6
_PRODUCTS = 2**22
"""Numbers that the Gram matrices of a part of a stack may hold."""


def lanczos(forward: Map, adjoint: Map, start: Tensor, steps: int = 300, tolerance: float = 1e-6) -> tuple:
    """The largest singular value of an operator: (value, residual, steps).

    `forward` and `adjoint` map single vectors (any shape). Lanczos on A^T A, which is Golub and Kahan's method (1965,
    doi:10.1137/0702016), without reorthogonalisation: what it loses are multiplicities, never the top of the spectrum
    (Paige 1980, doi:10.1016/0024-3795(80)90167-6). `value` is never above the norm but for rounding. `residual` bounds
    the distance of `value` to the nearest singular value: an error estimate, no upper bound of the norm.
    """
    v = start / torch.linalg.vector_norm(start)
    # A power of two changes no digit, and keeps the squares of very small or large norms within the type.
    size = math.ldexp(1.0, math.frexp(float(forward(v).abs().amax()))[1])
    last, beta = torch.zeros_like(v), 0.0
    alphas: list[float] = []
    betas: list[float] = []
    value = residual = 0.0
    for step in range(min(steps, 3 * start.numel())):
        w = adjoint(forward(v) / size) / size - beta * last
        alpha = float((w * v).sum())
        w = w - alpha * v
        alphas.append(alpha)
        beta = float(torch.linalg.vector_norm(w))
        values, vectors = eigh_tridiagonal(np.array(alphas), np.array(betas), select="i", select_range=(step, step))
        value = math.sqrt(max(float(values[0]), 0.0))
        # |theta - lambda| <= beta |s|, and sqrt(theta) + sqrt(lambda) >= sqrt(theta).
        residual = beta * abs(float(vectors[-1, 0])) / value if value > 0 else 0.0
        if residual <= tolerance * value or beta <= 1e-13 * max(max(alphas), 1e-300):
            return value * size, residual * size, step + 1
        betas.append(beta)
        last, v = v, w / beta
    return value * size, residual * size, len(alphas)


def gram_bound(blocks: Tensor | Iterable[Tensor]) -> float:
    """A bound, rigorous and tight to 1e-6, on the largest singular value of matrices: stacks (F, m, n), one or several.

    What is held at a time is a stack and the products of a part of it.
    """
    worst = 0.0
    for stack in (blocks,) if isinstance(blocks, Tensor) else blocks:
        if stack.numel() == 0:
            continue
        stack = stack.mH if stack.shape[-2] > stack.shape[-1] else stack
        scale = float(stack.abs().amax())
        if not math.isfinite(scale):
            return scale
        for part in stack.split(max(1, _PRODUCTS // stack.shape[-2] ** 2)) if scale else ():
            worst = max(worst, scale * _largest(part / scale, worst / scale))
    return worst


def _largest(blocks: Tensor, floor: float) -> float:
    """A bound, `floor` or larger, on the singular values of `blocks` (F, m, n), m <= n, whose entries are at most 1."""
    gram = blocks @ blocks.mH
    # Rounding of the products: |error| <= gamma_n |B| |B|^T, whose norm is at most n u times the trace.
    trace = float(torch.diagonal(gram, dim1=1, dim2=2).real.sum(1).amax()) * (1 + _ROUND)
    room = 4 * blocks.shape[-1] * _UNIT * trace
    squared = max(floor * (1 - _ROUND), 0.0) ** 2 - room
    if gram.shape[-1] > _SMALL:
        top = _cholesky_bound(gram, max(squared, 0.0))
    else:
        top = max(float(torch.linalg.eigvalsh(gram).amax()), 0.0)
    return max(floor, math.sqrt(top + room) * (1 + _ROUND))


def _cholesky_bound(gram: Tensor, floor: float) -> float:
    """A t >= floor with gram <= t I for every matrix of the stack (F, n, n), proved by Cholesky factors of t I - gram.

    Those that have none at the present t are left; the one among them that seems the largest raises it.
    """
    n, t = gram.shape[-1], floor
    eye = torch.eye(n, dtype=gram.dtype, device=gram.device)
    estimate: Tensor | None = None
    for turn in range(100):
        if t > 0:
            # A factorisation that completes proves t I - gram >= -(n + 2) u trace (Higham 2002, theorem 10.3).
            left = (torch.linalg.cholesky_ex(t * eye - gram).info != 0).nonzero().squeeze(1)
            if len(left) == 0:
                return t + 4 * (n + 2) * _UNIT * n * t
            gram, estimate = gram[left], None if estimate is None else estimate[left]
        estimate = _power(gram) if estimate is None else estimate
        t = max(t, _top(gram[int(estimate.argmax())])) * (1 + 1e-9 * 2**turn)
    return float(torch.linalg.matrix_norm(gram, ord=1).amax())


def _top(gram: Tensor) -> float:
    """The largest eigenvalue of one Gram matrix; of a large one an estimate from below."""
    n = gram.shape[-1]
    if n <= _DENSE:
        return float(torch.linalg.eigvalsh(gram)[-1])
    start = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(gram.dtype).numpy()
    found = eigsh(gram.cpu().numpy(), 1, which="LA", tol=1e-9, v0=start, return_eigenvectors=False)  # type: ignore[arg-type]
    return float(found[0])


def _power(gram: Tensor) -> Tensor:
    """Estimates (F,), from below, of the largest eigenvalues, by a few steps of the power method."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(gram.shape[-1], 1, generator=generator, dtype=torch.float64).to(gram).expand(len(gram), -1, 1)
    estimate = v
    for _ in range(_POWERS if len(gram) > 1 else 1):
        w = gram @ v
        estimate = torch.linalg.vector_norm(w, dim=1, keepdim=True)
        v = w / estimate.clamp(min=1e-300)
    return estimate.flatten()


def tight_bound(forward: Map, adjoint: Map, shape: tuple[int, ...], value: float, limit: int = 60_000) -> float:
    """A rigorous bound within about 1e-6 of `value`, the norm that Lanczos found: inf where the operator is too large.

    A^T A is factored by rows of the image (the axis after the channels): with t I - A^T A block-banded, its Cholesky
    factor needs only the last few block rows. It completes only where t^2 exceeds every eigenvalue. Cost: about
    n b^2 products for n values and a band of b, minutes for a layer of AlexNet; hence an option. Rounding is covered by
    the trace, as in Rump (2006, "Verification of positive definiteness", doi:10.1007/s10543-006-0056-1).
    """
    n = math.prod(shape)
    if n > limit:
        return math.inf
    gram, order, rows = _banded_gram(forward, adjoint, shape)
    for power in range(12):
        t = value * (1 + 1e-7 * 4**power)
        if _factors(gram, order, rows, t * t):
            return t * (1 + 4 * (n + 2) * n * _UNIT) * (1 + _ROUND)
    return math.inf


def _banded_gram(forward: Map, adjoint: Map, shape: tuple[int, ...]) -> tuple[dict, int, int]:
    """The blocks (i, j <= i) of A^T A by rows of the image, those that are not zero; the block size; the row count."""
    rows = shape[1] if len(shape) > 1 else 1
    order = math.prod(shape) // rows
    gram: dict[tuple[int, int], Tensor] = {}
    for j in range(rows):
        unit = torch.zeros(order, *shape, dtype=torch.float64)
        if len(shape) > 1:
            unit.movedim(2, 1)[:, j] = torch.eye(order, dtype=torch.float64).reshape(order, shape[0], *shape[2:])
        else:
            unit = torch.eye(order, dtype=torch.float64).reshape(order, *shape)
        columns = torch.cat([adjoint(forward(u)) for u in unit.split(256)])
        columns = columns.movedim(2, 1) if len(shape) > 1 else columns[:, None]
        for i in range(j, rows):
            block = columns[:, i].reshape(order, order).T
            if bool(block.any()):
                gram[i, j] = block.contiguous()
    return gram, order, rows


def _factors(gram: dict, order: int, rows: int, shift: float) -> bool:
    """Whether shift I - gram has a Cholesky factor, block row by block row (left-looking, inside the band)."""
    eye = torch.eye(order, dtype=torch.float64)
    factor: dict[tuple[int, int], Tensor] = {}
    for j in range(rows):
        pivot = shift * eye - gram.get((j, j), torch.zeros_like(eye))
        before = [k for k in range(j) if (j, k) in factor]
        for k in before:
            pivot = pivot - factor[j, k] @ factor[j, k].T
        triangle, info = torch.linalg.cholesky_ex(pivot)
        if int(info) != 0:
            return False
        for i in range(j + 1, rows):
            shared = [k for k in before if (i, k) in factor]
            if (i, j) not in gram and not shared:
                continue
            block = -gram.get((i, j), torch.zeros_like(eye))
            for k in shared:
                block = block - factor[i, k] @ factor[j, k].T
            factor[i, j] = torch.linalg.solve_triangular(triangle, block.T, upper=False).T
        for i in range(j + 1):
            factor.pop((j, i), None)
    return True
