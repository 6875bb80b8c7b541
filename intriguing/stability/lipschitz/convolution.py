"""A rigorous upper bound on the norm of a convolution: the torus on which nothing wraps.

A zero-padded convolution is a compression (some inputs and outputs left out) of a circular convolution on any torus so
large that no output reads an input around the border. Its norm is thus at most that of the circular one, which is the
largest over the frequencies of the norms of small blocks (Sedghi et al. 2019, arXiv:1805.10408, theorem 6). A stride s
is stride 1 on the grid of s x s cells with C s^2 channels, with no factor to correct; dilation spreads the kernel; a
transposed convolution is the adjoint. A circular transform at the layer's own size bounds circular padding alone: with
the kernel (-1, 2, -1) on 3 pixels it gives 3.000 where the zero-padded layer has 3.414.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from intriguing.stability.lipschitz.spectrum import gram_bound
from intriguing.stability.tracing.ops import Convolution, Shape, padded_shape

_HELD = 2**22
"""Numbers that the blocks of a part of the frequencies may hold."""


def convolution_bound(op: Convolution, inputs: Shape, outputs: Shape) -> float:
    """An upper bound on the norm of `op`, from samples of shape `inputs` to `outputs`, in float64."""
    d = len(op.stride)
    weight = op.weight.double()
    if op.transposed:
        # The adjoint of the convolution with the same kernel, from `outputs` to `inputs`.
        return _torus_bound(op, weight, outputs[-d:], inputs[-d:], op.padding)
    if op.pad is None:
        return _torus_bound(op, weight, inputs[-d:], outputs[-d:], op.padding)
    low = tuple(reversed(op.pad.pads[0::2]))
    if op.pad.mode == "constant":
        return _torus_bound(op, weight, inputs[-d:], outputs[-d:], low)
    padded = padded_shape(inputs, op.pad.pads)
    bound = pad_norm(inputs, op.pad.pads, op.pad.mode)
    bound *= _torus_bound(op, weight, padded[-d:], outputs[-d:], (0,) * d)
    return min(bound, _circular_bound(op, weight, inputs[-d:], outputs[-d:]))


def pad_norm(shape: Shape, pads: tuple[int, ...], mode: str) -> float:
    """The exact norm of a pad: each output copies one input (or none), so P^T P is the diagonal of the copies."""
    if mode == "constant":
        return 1.0
    copies = 1
    for i in range(len(pads) // 2):
        line = torch.arange(shape[-1 - i], dtype=torch.float64)
        line = F.pad(line[None, None], pads[2 * i : 2 * i + 2], mode=mode)[0, 0].long()
        copies *= int(torch.bincount(line).amax())
    return math.sqrt(copies)


def _torus_bound(op: Convolution, weight: Tensor, inputs: Shape, outputs: Shape, low: Shape) -> float:
    """The norm on the least torus that holds the zero-padded layer: `low` zeros stand before the inputs."""
    grid = []
    for n, m, p, s, e, k in zip(inputs, outputs, low, op.stride, op.dilation, weight.shape[2:], strict=True):
        # A position outside of the image must not fall on a pixel: those below 0 (from -p on) land at T - p and above,
        # which needs T >= n + p; those above (up to `last`) must stay below T. Outputs must be distinct: m s <= T.
        last = (m - 1) * s - p + e * (k - 1)
        grid.append(-(-max(n + max(p, 0), last + 1, m * s) // s) * s)
    return gram_bound(_blocks(op, weight, tuple(grid), op.stride))


def _circular_bound(op: Convolution, weight: Tensor, inputs: Shape, outputs: Shape) -> float:
    """The bound for circular padding from the torus of the image itself; exact where its outputs go round once."""
    if op.pad is None or op.pad.mode != "circular":
        return math.inf
    stride, repeats = [], 1
    for n, m, s in zip(inputs, outputs, op.stride, strict=True):
        # With a stride that divides n the outputs are a strided grid; else they are rows of the stride-1 operator.
        stride.append(s if n % s == 0 else 1)
        positions = torch.arange(m) * s % n
        repeats *= int(torch.bincount(positions).amax())
    return math.sqrt(repeats) * gram_bound(_blocks(op, weight, tuple(inputs), tuple(stride)))


def _blocks(op: Convolution, weight: Tensor, grid: Shape, stride: Shape) -> Iterator[Tensor]:
    """The blocks (F * groups, out, in * prod(stride)) of the circular convolution on the torus `grid`, in parts.

    At a frequency f a block is the sum over the cells c of exp(-2 pi i f . c / N) W_c. Only half of the frequencies: a
    real kernel gives conjugate blocks at opposite ones. Where all cells share a place along an axis (a kernel of one
    pixel, a stride as large as the kernel) the frequency turns the whole block along it, and one is enough. Where no
    weight is negative, no block has a larger norm than that of frequency 0, which has the sums of the moduli.
    """
    cells, matrices = _cells(op, weight, stride)
    counts = [t // s for t, s in zip(grid, stride, strict=True)]
    alike = bool((weight >= 0).all())
    ranges = [
        torch.arange(1 if alike or int(c.amax()) == int(c.amin()) else n) for n, c in zip(counts, cells.T, strict=True)
    ]
    ranges[-1] = ranges[-1][: len(ranges[-1]) // 2 + 1]
    frequencies = torch.cartesian_prod(*ranges).reshape(-1, len(grid))
    around = torch.tensor(counts)
    for part in frequencies.split(max(1, _HELD // matrices[0].numel())):
        # Whole turns are taken off in whole numbers, so that no angle is rounded but once.
        turns = ((part[:, None] * cells) % around / around.double()).sum(2)
        real, imaginary = (f(2 * math.pi * turns) @ matrices.flatten(1) for f in (torch.cos, torch.sin))
        yield torch.complex(real, -imaginary).reshape(-1, weight.shape[0] // op.groups, matrices[0, 0].numel())


def _cells(op: Convolution, weight: Tensor, stride: Shape) -> tuple[Tensor, Tensor]:
    """The places (K, d) of the cells that hold a part of the kernel, and the parts (K, out, in * prod(stride))."""
    taps = torch.cartesian_prod(*(torch.arange(k) for k in weight.shape[2:])).reshape(-1, len(stride))
    step = torch.tensor(stride)
    place = taps * torch.tensor(op.dilation)
    cells, which = torch.unique(place // step, dim=0, return_inverse=True)
    inside = torch.zeros(len(taps), dtype=torch.int64)
    for axis, s in enumerate(stride):
        inside = inside * s + place[:, axis] % s
    parts = weight.new_zeros(len(cells), *weight.shape[:2], math.prod(stride))
    parts[which, :, :, inside] = weight.flatten(2).permute(2, 0, 1)
    return cells, parts.flatten(2)
