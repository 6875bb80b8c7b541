"""The Lipschitz constant of single operations: a sound upper bound, and the value that is reached."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from intriguing import randomness
from intriguing.stability.lipschitz import spectrum
from intriguing.stability.lipschitz.convolution import convolution_bound, pad_norm
from intriguing.stability.tracing.ops import (
    Affine,
    Concat,
    Convolution,
    Dense,
    Elementwise,
    Linear,
    MaxPool,
    Op,
    Pad,
    Product,
    Reshape,
    Scale,
    Shape,
    Shift,
    Smooth,
    Sum,
    flattened,
    size,
)
from intriguing.stability.tracing.windows import overlap

_NAN = float("nan")
_DENSE = 2**20
"""Up to this number of entries the matrix of an operator is written out."""
_FEW = 3
"""Steps of Lanczos for a norm that may be too small."""

# The largest slopes. GELU: 1/2 + Phi terms at x = sqrt(2); tanh form, SiLU, Mish: at the zero of the second derivative,
# rounded up.
_SLOPES = {
    "relu": 1.0,
    "relu6": 1.0,
    "sigmoid": 0.25,
    "tanh": 1.0,
    "gelu": 0.5 * (1 + math.erf(1.0)) + math.exp(-1.0) / math.sqrt(math.pi) + 1e-12,
    "gelu_tanh": 1.1289931,
    "silu": 1.0998394,
    "softplus": 1.0,
    "celu": 1.0,
    "selu": 1.0507009873554805 * 1.6732632423543772,
    "hardtanh": 1.0,
    "clamp": 1.0,
    "clamp_min": 1.0,
    "hardsigmoid": 1 / 6,
    "hardswish": 1.5,
    "mish": 1.0884982,
    "log_sigmoid": 1.0,
    "softshrink": 1.0,
    "abs": 1.0,
    "softsign": 1.0,
    "sin": 1.0,
    "cos": 1.0,
    "atan": 1.0,
    "asinh": 1.0,
    "erf": 2 / math.sqrt(math.pi) * (1 + 1e-12),
}


@dataclass(frozen=True)
class Gain:
    """`norm` is reached (NaN where it was not computed), `upper` is never exceeded."""

    norm: float
    upper: float
    residual: float = 0.0
    steps: int = 0


def slope_bound(op: Elementwise) -> float:
    """The largest slope of an elementwise function; inf where it is not known."""
    if op.kind == "leaky_relu":
        return max(1.0, abs(op.parameters[0]))
    if op.kind == "prelu" and op.weight is not None:
        return max(1.0, float(op.weight.abs().amax()))
    if op.kind == "elu":
        alpha, scale, inner = op.parameters
        return abs(scale) * max(1.0, abs(alpha * inner))
    return _SLOPES.get(op.kind, math.inf)


def gain(op: Op, inputs: list[Shape], outputs: Shape, *, tight: bool = False, norm: bool = True) -> Gain:
    """The gain of `op` from samples of shapes `inputs` to `outputs`.

    `norm` False skips what only serves the value (Lanczos). `tight` brings `upper` to within 1e-6 of it, at a cost.
    """
    if isinstance(op, Elementwise):
        upper = slope_bound(op)
        return Gain(upper, upper)
    if isinstance(op, MaxPool):
        # |max a - max b|^2 <= the sum over the window, and an input is in so many windows; a single spike reaches it.
        d = len(op.windows)
        value = math.sqrt(math.prod(overlap(n, w) for n, w in zip(inputs[0][-d:], op.windows, strict=True)))
        return Gain(value, value)
    if isinstance(op, Smooth):
        return Gain(op.attained, op.bound)
    if isinstance(op, Sum):
        value = math.sqrt(sum(c * c for c in op.coefficients))
        return Gain(value, value)
    if isinstance(op, Concat):
        return Gain(1.0, 1.0)
    if isinstance(op, Affine):
        return _affine(op, inputs[0], outputs, tight, norm)
    return Gain(_NAN, math.inf)


def least_gain(op: Op, inputs: list[Shape], outputs: Shape) -> Gain:
    """The gain of `op` with an `upper` that is too small where it is dear: what a few steps of Lanczos reach."""
    if isinstance(op, Dense | Convolution):
        few = lanczos(op, inputs[0], outputs, steps=_FEW).norm
        return Gain(few, few)
    return gain(op, inputs, outputs, norm=False)


def _affine(op: Affine, inputs: Shape, outputs: Shape, tight: bool, norm: bool) -> Gain:
    if isinstance(op, Convolution) and _pointwise(op):
        # Every pixel that is read goes through the same matrix, so one pixel tells the norm.
        ones = (1,) * len(op.stride)
        op, inputs, outputs = replace(op, stride=ones, output_padding=()), (inputs[0], *ones), (outputs[0], *ones)
    exact = _exact(op, inputs, outputs)
    if exact is not None:
        return Gain(exact, exact)
    if isinstance(op, Product):
        upper = op.factor * spectrum.gram_bound(op.blocks(op.weight.double()))
    elif isinstance(op, Dense):
        upper = spectrum.gram_bound(op.weight.double()[None])
    elif isinstance(op, Convolution) and size(inputs) * size(outputs) > _DENSE:
        upper = convolution_bound(op, inputs, outputs)
    else:
        upper = _matrix_bound(op, inputs, outputs)
    found = lanczos(op, inputs, outputs) if norm or tight else Gain(_NAN, upper)
    if tight:
        upper = min(upper, tight_bound(op, inputs, outputs, found.norm))
    return Gain(found.norm, upper, found.residual, found.steps)


def _pointwise(op: Convolution) -> bool:
    """Whether each output reads one pixel, and some output reads one for certain."""
    return max(op.weight.shape[2:]) == 1 and op.pad is None and not any(op.padding)


def _exact(op: Affine, inputs: Shape, outputs: Shape) -> float | None:
    """The norm where it is known in closed form."""
    if isinstance(op, Reshape | Shift):
        return 1.0
    if isinstance(op, Scale):
        return float(op.weight.abs().amax())
    if isinstance(op, Pad):
        if op.mode == "constant" and min(op.pads) < 0:
            ends = zip(inputs[::-1], op.pads[::2], op.pads[1::2], strict=False)
            return float(all(n + min(low, 0) + min(high, 0) > 0 for n, low, high in ends))
        return pad_norm(inputs, op.pads, op.mode) if min(op.pads) >= 0 else None
    if isinstance(op, Linear) and op.copies:
        # A^T A is the diagonal of how often each input is read.
        return math.sqrt(op.times)
    if isinstance(op, Linear) and op.matrices:
        return math.prod(float(torch.linalg.matrix_norm(m.double(), 2)) for m in op.matrices) * (1 + 1e-12)
    return None


def _matrix_bound(op: Affine, inputs: Shape, outputs: Shape) -> float:
    """A bound from the matrix itself; inf where it is too large."""
    n = size(inputs)
    if n * size(outputs) > _DENSE:
        return math.inf
    unit = torch.eye(n, dtype=torch.float64).reshape(n, *inputs)
    return spectrum.gram_bound(flattened(op.linear(unit))[None])


def _single(op: Affine, inputs: Shape) -> tuple[spectrum.Map, spectrum.Map]:
    return (lambda v: op.linear(v[None])[0]), (lambda w: op.adjoint(w[None], inputs)[0])


def lanczos(op: Affine, inputs: Shape, outputs: Shape, steps: int = 300) -> Gain:
    """The norm of the operator itself, from a random start that depends on nothing but the shapes."""
    forward, adjoint = _single(op, inputs)
    start: Shape = inputs
    if size(outputs) < size(inputs):
        forward, adjoint, start = adjoint, forward, outputs
    seed = randomness.torch_seed(0, "operator norm", *start)
    v: Tensor = torch.randn(start, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    value, residual, taken = spectrum.lanczos(forward, adjoint, v, steps)
    return Gain(value, math.inf, residual, taken)


def tight_bound(op: Affine, inputs: Shape, outputs: Shape, value: float) -> float:
    """The bound by a Cholesky factor, on the smaller side."""

    def adjoint(y: Tensor) -> Tensor:
        return op.adjoint(y, inputs)

    if size(outputs) < size(inputs):
        return spectrum.tight_bound(adjoint, op.linear, outputs, value)
    return spectrum.tight_bound(op.linear, adjoint, inputs, value)
