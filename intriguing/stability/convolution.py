"""A rigorous upper bound on the norm of a convolution: the torus on which nothing wraps.

A zero-padded convolution is a compression (some inputs and outputs left out) of a circular convolution on any torus so
large that no output reads an input around the border. Its norm is thus at most that of the circular one, which is the
largest over the frequencies of the norms of small blocks (Sedghi et al. 2019, arXiv:1805.10408, theorem 6). A stride s
is stride 1 on the grid of s x s cells with C s^2 channels, with no factor to correct; dilation spreads the kernel; a
transposed convolution is the adjoint. A circular transform at the layer's own size bounds circular padding alone: with
the kernel (-1, 2, -1) on 3 pixels it gives 3.000 where the zero-padded layer has 3.414.
"""

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from intriguing.stability.ops import Convolution, Shape, padded_shape
from intriguing.stability.spectrum import gram_bound


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


def _blocks(op: Convolution, weight: Tensor, grid: Shape, stride: Shape) -> Tensor:
    """The blocks (F, out, in * prod(stride)) of the circular convolution on the torus `grid`, for every group.

    Only half of the frequencies: a real kernel gives conjugate blocks at opposite ones.
    """
    d = len(grid)
    spread = weight.new_zeros(weight.shape[0], weight.shape[1], math.prod(grid))
    for index in itertools.product(*(range(k) for k in weight.shape[2:])):
        place = 0
        for j, e, t in zip(index, op.dilation, grid, strict=True):
            place = place * t + j * e % t
        spread[..., place] += weight[(..., *index)]
    cells = [x for t, s in zip(grid, stride, strict=True) for x in (t // s, s)]
    spread = spread.reshape(*spread.shape[:2], *cells)
    # (out, in, T1/s1, s1, T2/s2, s2, ...) -> (out, in, s1, s2, ..., T1/s1, T2/s2, ...)
    spread = spread.permute(0, 1, *range(3, 2 + 2 * d, 2), *range(2, 2 + 2 * d, 2))
    spectrum = torch.fft.rfftn(spread, dim=tuple(range(-d, 0)))
    spectrum = spectrum.reshape(
        op.groups, weight.shape[0] // op.groups, -1, spectrum[0, 0].numel() // math.prod(stride)
    )
    return spectrum.permute(0, 3, 1, 2).flatten(0, 1)
