"""The constant of a linear lower bound through ReLUs whose inputs share an L2 ball."""

import torch
from torch import Tensor

_TURNS = 4
"""Multipliers that are tried, each from the one before."""


def relu_ball(c: Tensor, g: Tensor, at: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """A lower bound (B, R) of c . relu(z) - g . z over |z - at| <= radius and low <= z <= high.

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
    for _ in range(_TURNS):
        s = t[:, :, None]
        up = torch.minimum((at - rise / s).clamp(min=0), high)
        down = torch.maximum((at + g / s).clamp(max=0), low)
        above = rise * up + s / 2 * (up - at) ** 2
        below = -g * down + s / 2 * (down - at) ** 2
        least = torch.minimum(above, below) * mask
        best = torch.maximum(best, least.sum(2) - t / 2 * square)
        moved = torch.where(above < below, up - at, down - at) * mask
        ratio = torch.linalg.vector_norm(moved, dim=2) / radius[:, None].clamp(min=1e-12)
        t = (t * ratio.clamp(0.1, 10)).clamp(min=1e-9)
    room = 1e-9 if g.dtype == torch.float64 else 1e-5
    return best - room * (best.abs() + 1e-3)
