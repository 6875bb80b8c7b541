"""The constant of a linear lower bound through ReLUs whose inputs share an L2 ball."""

import torch
from torch import Tensor

_ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-10}
"""What the norm of a matrix is widened by, for the rounding of its computation."""
_TURNS = 2
"""Multipliers that are tried, each from the one before."""


def relu_ball(c: Tensor, g: Tensor, at: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """A lower bound (B, R) of c . relu(z) - g . z over |z - at| <= radius and low <= z <= high.

    Only values that bend, low < 0 < high, count in |z - at|.

    c (B or 1, R, N), g (B, R, N), at, low, high (B, N), radius (B,). By weak duality with one multiplier t > 0 for the
    ball, as in SDP-CROWN (Chiu et al. 2025, arXiv:2506.06665), with the interval of each value kept, it is at least

        sum_i min_(low_i <= z <= high_i) [c_i relu(z) - g_i z + t/2 (z - at_i)^2] - t radius^2 / 2

    The inner minima are those of two parabolas each. With t = 0 it is the constant of the lines. Any t is sound.
    """
    bends = (low < 0) & (high > 0)
    columns = bends.any(0).nonzero().squeeze(1)
    if len(columns) == 0:
        return torch.full(g.shape[:2], -torch.inf, dtype=g.dtype, device=g.device)
    # A value that does not bend has g = c or 0 and its minimum 0 at the centre.
    mask = bends[:, columns].to(g)[:, None]
    c, g = c[:, :, columns] * mask, g[:, :, columns] * mask
    at, low, high = (t[:, columns][:, None] for t in (at, low, high))
    low, high = low.clamp(max=0), high.clamp(min=0)
    square = radius[:, None] ** 2
    rise = c - g
    # A first multiplier: what pulls at the values, over the radius.
    t = torch.linalg.vector_norm(torch.maximum(rise.abs(), g.abs()), dim=2) * 0.25 / radius[:, None].clamp(min=1e-12)
    t = t.clamp(min=1e-9)
    best = torch.full_like(t, -torch.inf)
    for turn in range(_TURNS):
        s = t[:, :, None]
        up = torch.minimum((at - rise / s).clamp_(min=0), high)
        down = torch.maximum((at + g / s).clamp_(max=0), low)
        above, below = rise * up, g * down
        up, down = up.sub_(at), down.sub_(at)
        above = above.addcmul_(up * (s / 2), up)
        below = (down * (s / 2)).mul_(down).sub_(below)
        least = torch.minimum(above, below).mul_(mask)
        best = torch.maximum(best, least.sum(2) - t / 2 * square)
        if turn + 1 < _TURNS:
            moved = torch.where(above < below, up, down)
            ratio = torch.linalg.vector_norm(moved, dim=2) / radius[:, None].clamp(min=1e-12)
            t = (t * ratio.clamp(0.1, 10)).clamp(min=1e-9)
    room = 1e-9 if g.dtype == torch.float64 else 1e-5
    return best - room * (best.abs() + 1e-3)


def bending_norms(gram: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """For values W x in [low, high] (B, N), with `gram` W W^T: the norms (B,) of the rows of W whose values bend.

    No change d of x moves those values together by more than this times |d|. It is well below the norm of W, for many
    values of a layer do not bend near an image.
    """
    bends = (low < 0) & (high > 0)
    most = int(bends.sum(1).max()) if len(bends) else 0
    if most == 0:
        return torch.zeros(len(low), dtype=gram.dtype, device=gram.device)
    # Those of each image side by side: matrices as small as can be.
    index = bends.to(gram).topk(most, dim=1).indices
    inside = bends.gather(1, index).to(gram)
    part = gram[index[:, :, None], index[:, None]] * inside[:, :, None] * inside[:, None]
    largest = torch.linalg.eigvalsh(part)[:, -1].clamp(min=0)
    return (largest * (1 + _ROUNDING[gram.dtype]) + _ROUNDING[gram.dtype] * gram.diagonal().amax()).sqrt()
