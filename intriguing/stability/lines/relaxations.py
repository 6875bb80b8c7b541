"""Straight lines below and above an elementwise function on an interval, sound for any slope.

A line is a slope, chosen for tightness, and an intercept, which is computed as the extreme of f(z) - slope z over the
interval and so makes the line sound whatever the slope (CROWN, Zhang et al. 2018, arXiv:1811.00866, tables 2 and 3,
chooses the same slopes for ReLU and the sigmoid).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from intriguing.stability.tracing.ops import Elementwise

Lines = tuple[Tensor, Tensor, Tensor, Tensor]
"""Slope and intercept of the line below, then of the line above: each of the shape of the interval's ends."""

_CELLS = 96
_SLACK = 1e-9
"""What intercepts are widened by, relative to the size of the values: far above float64's rounding."""
_NARROW = 1e-7
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


@dataclass(frozen=True)
class Shape:
    """How a function bends.

    `slope` is its derivative. `kinks` are where the derivative jumps. `touch` gives the points where the derivative
    equals a slope; where it is None the extremes are bounded on a grid, with the second derivative at most `bend`.
    `form`: convex, s (convex, then concave beyond 0) or other.
    """

    slope: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...] = ()
    touch: Callable[[Tensor], tuple[Tensor, ...]] | None = None
    bend: float = 0.0
    form: str = "other"


def can_relax(op: Elementwise) -> bool:
    """Whether lines around `op` are known."""
    return shape_of(op) is not None


def shape_of(op: Elementwise) -> Shape | None:
    """How `op` bends, or None where it is not known."""
    p, kind = op.parameters, op.kind
    if kind in _SHAPES:
        return _SHAPES[kind]
    if kind == "leaky_relu":
        return Shape(lambda z: torch.where(z > 0, 1.0, p[0]), (0.0,), _nowhere, form="convex" if p[0] <= 1 else "other")
    if kind == "prelu" and op.weight is not None:
        form = "convex" if bool((op.weight <= 1).all()) else "other"
        return Shape(lambda z: torch.where(z > 0, 1.0, op.beside(z)), (0.0,), _nowhere, form=form)
    if kind in ("hardtanh", "clamp", "clamp_min", "relu6"):
        low, high = (0.0, 6.0) if kind == "relu6" else (p[0], p[1] if len(p) > 1 else math.inf)
        low, high = (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)
        kinks = tuple(k for k in (low, high) if math.isfinite(k))
        return Shape(lambda z: ((z > low) & (z < high)).to(z), kinks, _nowhere)
    if kind == "elu":
        alpha, scale, inner = p

        def slope(z: Tensor) -> Tensor:
            return scale * torch.where(z > 0, 1.0, alpha * inner * (inner * z.clamp(max=0)).exp())

        return Shape(slope, (0.0,), None, abs(scale * alpha) * inner**2)
    if kind == "celu":
        return Shape(lambda z: (z.clamp(max=0) / p[0]).exp(), (0.0,), None, 1 / abs(p[0]))
    if kind == "softplus":
        # Beyond the threshold, of 20 or more, torch goes over to z itself: by a step of 2e-9 / beta at most.
        return Shape(lambda z: torch.sigmoid(p[0] * z), (), None, p[0] / 4, "convex")
    return None


def _nowhere(k: Tensor) -> tuple[Tensor, ...]:
    return ()


def _touch_sigmoid(k: Tensor) -> tuple[Tensor, ...]:
    # s (1 - s) = k for the value s; the smaller root is 2 k / (1 + sqrt(1 - 4 k)), without cancellation.
    k = k.clamp(1e-30, 0.25)
    z = torch.logit(2 * k / (1 + (1 - 4 * k).clamp(min=0).sqrt()))
    return z, -z


def _touch_tanh(k: Tensor) -> tuple[Tensor, ...]:
    z = torch.acosh(1 / k.clamp(1e-30, 1.0).sqrt())
    return z, -z


def _slope_gelu(z: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _slope_gelu_tanh(z: Tensor) -> Tensor:
    c = math.sqrt(2 / math.pi)
    t = torch.tanh(c * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * c * (1 + 3 * 0.044715 * z * z)


def _slope_silu(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


def _slope_mish(z: Tensor) -> Tensor:
    t = torch.tanh(F.softplus(z))
    return t + z * torch.sigmoid(z) * (1 - t * t)


def _touch_softsign(k: Tensor) -> tuple[Tensor, ...]:
    # 1 / (1 + |z|)^2 = k.
    z = 1 / k.clamp(1e-30, 1.0).sqrt() - 1
    return z, -z


_SHAPES: dict[str, Shape] = {
    "relu": Shape(lambda z: (z > 0).to(z), (0.0,), _nowhere, form="convex"),
    "abs": Shape(torch.sign, (0.0,), _nowhere, form="convex"),
    "sigmoid": Shape(lambda z: torch.sigmoid(z) * torch.sigmoid(-z), (), _touch_sigmoid, 0.1, "s"),
    "tanh": Shape(lambda z: 1 / torch.cosh(z.clamp(-300, 300)) ** 2, (), _touch_tanh, 0.77, "s"),
    "softsign": Shape(lambda z: 1 / (1 + z.abs()) ** 2, (), _touch_softsign, 2.0, "s"),
    "gelu": Shape(_slope_gelu, (), None, 0.798),
    "gelu_tanh": Shape(_slope_gelu_tanh, (), None, 0.82),
    "silu": Shape(_slope_silu, (), None, 0.5001),
    "mish": Shape(_slope_mish, (), None, 0.65),
    "selu": Shape(
        lambda z: torch.where(z > 0, _SELU_SCALE, _SELU_SCALE * _SELU_ALPHA * z.clamp(max=0).exp()),
        (0.0,),
        None,
        1.7582,
    ),
    "log_sigmoid": Shape(lambda z: torch.sigmoid(-z), (), None, 0.2501),
    "hardsigmoid": Shape(lambda z: (z.abs() < 3).to(z) / 6, (-3.0, 3.0), _nowhere),
    "hardswish": Shape(
        lambda z: torch.where(z <= -3, 0.0, torch.where(z >= 3, 1.0, (2 * z + 3) / 6)), (-3.0, 3.0), None, 0.3334
    ),
}


def steepest(op: Elementwise, at: Tensor, reach: Tensor) -> Tensor | None:
    """The largest modulus of the slope within `reach` (B,) of each value of `at` (B, ...); None where not known."""
    shape = shape_of(op)
    if shape is None or shape.form == "other":
        return None
    room = reach.reshape(-1, *[1] * (at.ndim - 1))
    low, high = at - room, at + room
    if shape.form == "s":
        return shape.slope(torch.minimum(torch.maximum(torch.zeros_like(low), low), high)) * (1 + 1e-12)
    return torch.maximum(shape.slope(low).abs(), shape.slope(high).abs()) * (1 + 1e-12)


def lines(op: Elementwise, low: Tensor, high: Tensor, slopes: tuple[Tensor, Tensor] | None = None) -> Lines:
    """The lines around `op` on [low, high], value by value; with the given slopes, or those that suit the function."""
    shape = shape_of(op)
    assert shape is not None
    below, above = chosen_slopes(op, shape, low, high) if slopes is None else slopes
    return below, intercept(op, shape, below, low, high, -1), above, intercept(op, shape, above, low, high, 1)


def intercept(op: Elementwise, shape: Shape, k: Tensor, low: Tensor, high: Tensor, side: int) -> Tensor:
    """The least (side -1) or largest (side 1) value of f(z) - k z on [low, high], widened for rounding."""
    f = op.apply

    def gap(z: Tensor) -> Tensor:
        return side * (f(z) - k * z)

    best = torch.maximum(gap(low), gap(high))
    inner = [torch.full_like(low, kink) for kink in shape.kinks]
    if shape.touch is not None:
        # Where the gap is largest its derivative in z is zero, so z counts as fixed in that by k.
        inner += list(shape.touch(k.detach()))
    for z in inner:
        best = torch.maximum(best, gap(torch.minimum(torch.maximum(z, low), high)))
    if shape.touch is None:
        # On each smooth piece: the largest value on a grid, and what a bent arc can rise above its chord, M h^2 / 8.
        ends = [low, *[torch.minimum(torch.maximum(z, low), high) for z in inner], high]
        for a, b in itertools.pairwise(ends):
            h = (b - a) / _CELLS
            for cell in range(1, _CELLS):
                best = torch.maximum(best, gap(a + cell * h) + shape.bend * h * h / 8)
            best = torch.maximum(best, torch.maximum(gap(a), gap(b)) + shape.bend * h * h / 8)
    slack = _SLACK if low.dtype == torch.float64 else 1e-6
    return side * (best + slack * (1 + best.abs() + (k * torch.maximum(low.abs(), high.abs())).abs()))


def chosen_slopes(op: Elementwise, shape: Shape, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes of the lines below and above that make them tight; any other is as sound."""
    width = high - low
    narrow = width <= _NARROW * (1 + low.abs())
    middle = (low + high) / 2
    tangent = shape.slope(middle)
    secant = torch.where(narrow, tangent, (op.apply(high) - op.apply(low)) / torch.where(narrow, 1.0, width))
    if op.kind == "relu":
        secant = torch.where(low >= 0, 1.0, torch.where(high <= 0, 0.0, secant))
        return torch.where(high > -low, 1.0, 0.0).to(low), secant
    if shape.form == "convex":
        return tangent, secant
    if shape.form == "s":
        above = torch.where(high <= 0, secant, torch.where(low >= 0, tangent, _from(op, shape, low, high, secant)))
        below = torch.where(low >= 0, secant, torch.where(high <= 0, tangent, _from(op, shape, high, low, secant)))
        return below, above
    if shape.touch is not None:
        # Pieces of straight lines: the chord, which is exact on one piece and never far off.
        return secant, secant
    return tangent, secant


def _from(op: Elementwise, shape: Shape, start: Tensor, end: Tensor, secant: Tensor) -> Tensor:
    """The slope of the line from `start` that touches the curve on the other side of 0, or the chord to `end`.

    For functions of form s. Bisection on the point of touch: beyond it the line from `start` is steeper than the curve.
    """
    near, far = torch.zeros_like(start), end
    origin = op.apply(start)
    for _ in range(18):
        z = (near + far) / 2
        steeper = (op.apply(z) - origin) > shape.slope(z) * (z - start)
        steeper = torch.where(end > start, steeper, (op.apply(z) - origin) < shape.slope(z) * (z - start))
        near, far = torch.where(steeper, near, z), torch.where(steeper, z, far)
    chord = (op.apply(end) - origin - shape.slope(end) * (end - start)) * torch.sign(end - start) <= 0
    return torch.where(chord, secant, shape.slope(far))
