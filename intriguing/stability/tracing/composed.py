"""Operations that are several of `ops` together, or a choice among values: stacks, maxima, limits, sorts."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node as FxNode

from intriguing.stability.tracing.ops import (
    Concat,
    Elementwise,
    Linear,
    MaxPool,
    Op,
    Reshape,
    Scale,
    Several,
    Shift,
    Sum,
    Unknown,
)
from intriguing.stability.tracing.products import repeated

_RELU = Elementwise("relu")
_MINUS = torch.tensor(-1.0, dtype=torch.float64)


def concat(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """Joins inputs, by cat or stack: of inputs of which some may be repeated and of constants.

    Parts side by side are independent, so the squares of their changes add up. A constant is 0 times the first input.
    """
    stacks = node.target is torch.ops.aten.stack.default
    parts = a["tensors"]
    axis = int(a.get("dim") or 0) % (x[0].ndim + stacks)
    if axis == 0:
        return Unknown("stack across the batch" if stacks else "cat across the batch")
    if len(x) == 1 and len(parts) > 1 and all(p is parts[0] for p in parts):
        count, join = len(parts), torch.stack if stacks else torch.cat
        return Linear(lambda t: join([t] * count, axis), "stack" if stacks else "cat", copies=True, times=count)
    inputs = _inputs(a, node)
    steps: list[tuple[Op, tuple[int, ...]]] = []
    places = []
    for part in parts:
        if isinstance(part, FxNode):
            places.append(inputs.index(part))
            continue
        value = repeated(part, x[0])
        if value is None:
            return Unknown("cat with a constant that differs from row to row")
        places.append(len(inputs) + len(steps))
        steps.append((_constant(value), (0,)))
    joined = Concat(axis, stacks)
    return joined if not steps and places == list(range(len(inputs))) else Several((*steps, (joined, tuple(places))))


def _constant(value: Tensor) -> Op:
    """The same for every input, (1, *shape): an affine map that reads nothing."""
    shape = value.shape[1:]
    return Linear(lambda t: t.new_zeros(len(t), *shape), "constant", copies=True, times=0, offset=value)


def _inputs(a: dict, node: FxNode) -> list[FxNode]:
    """The fx nodes of the inputs among the arguments, in the order of the example inputs."""
    given = [n for v in a.values() for n in (v if isinstance(v, list | tuple) else [v]) if isinstance(n, FxNode)]
    return [n for n in node.all_input_nodes if n in given]


def of_two(sign: float) -> Callable[[dict, list[Tensor], FxNode], Op]:
    """The maximum (sign 1) or minimum (-1) of two inputs, or of an input and a constant.

    As a function of both inputs together its Lipschitz constant is 1: |max(a, b) - max(c, d)| <= max(|a - c|, |b - d|).
    """

    def convert(a: dict, x: list[Tensor], node: FxNode) -> Op:
        left, right = a["self"], a["other"]
        if isinstance(left, FxNode) and isinstance(right, FxNode):
            if len(x) == 1:
                return Reshape(tuple(x[0].shape[1:]))
            shape = torch.broadcast_shapes(x[0].shape, x[1].shape)
            wide = [_widened(t, shape) for t in x]
            joined = Concat(len(shape), stacks=True)
            both: list[tuple[Op, tuple[int, ...]]] = [(wide[0], (0,)), (wide[1], (1,)), (joined, (2, 3))]
            return _with_sign(sign, both, MaxPool(lambda t: t.amax(-1), ((tuple(range(2)),),)))
        return limited(x[0], right if isinstance(left, FxNode) else left, sign)

    return convert


def _with_sign(sign: float, steps: list[tuple[Op, tuple[int, ...]]], op: Op) -> Op:
    """`op` after `steps`, as a minimum where `sign` is -1; the first steps read the inputs."""
    count = 1 + max(max(places) for _, places in steps) if steps else 1
    turn = [Scale(_MINUS, None)] if sign < 0 else []
    last = [*turn, op, *turn]
    return Several((*steps, *((o, (count + i,)) for i, o in enumerate(last))))


def limited(x: Tensor, limit: Any, sign: float) -> Op:
    """max(x, limit) (sign 1) or min(x, limit) (-1), the limits value by value: l + relu(x - l), l - relu(l - x)."""
    value = torch.as_tensor(limit).detach().double()
    if value.ndim == x.ndim and len(value) != 1:
        found = repeated(value, x)
        if found is None:
            return Unknown("a limit for every row of a batch")
        value = found
    if value.ndim > x.ndim or torch.broadcast_shapes(value.shape, x.shape) != x.shape:
        return Unknown("a limit that broadcasts its input")
    if not bool(value.isfinite().all()):
        return Unknown("a limit that is not finite")
    if value.numel() == 1:
        end = float(value)
        bound = (end, float("nan")) if sign > 0 else (float("nan"), end)
        least, most = (end, None) if sign > 0 else (None, end)
        return Elementwise("clamp", bound, lambda t: t.clamp(least, most))
    if sign > 0:
        return Several.chain(Shift(-value), _RELU, Shift(value))
    return Several.chain(Scale(_MINUS, value), _RELU, Scale(_MINUS, value))


def clamp(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """A clamp with limits in tensors, value by value: min(max(x, low), high)."""
    ends = [limited(x[0], a[k], sign) for k, sign in (("min", 1.0), ("max", -1.0)) if a[k] is not None]
    unknown = next((e for e in ends if isinstance(e, Unknown)), None)
    if unknown is not None:
        return unknown
    ops = [op for end in ends for op in ([o for o, _ in end.steps] if isinstance(end, Several) else [end])]
    return Several.chain(*ops)


def extreme(sign: float) -> Callable[[dict, list[Tensor], FxNode], Op]:
    """The maximum over axes (sign 1) or the minimum (-1), as a pool of one window over the last axes."""

    def convert(a: dict, x: list[Tensor], node: FxNode) -> Op:
        given = a["dim"]
        n = x[0].ndim
        dims = sorted(d % n for d in (given if isinstance(given, list | tuple) else [given]))
        if not dims or dims[0] == 0:
            return Unknown("a maximum across the batch")
        keep, count = bool(a["keepdim"]), len(dims)
        windows = tuple((tuple(range(x[0].shape[d])),) for d in dims)
        last = list(range(n - count, n))
        if dims == last and sign > 0:
            return MaxPool(lambda t: t.amax(dims, keep), windows)
        order = [*(d for d in range(n) if d not in dims), *dims]
        moved = Linear(lambda t: t.permute(order), "permute", copies=True)
        steps: list[tuple[Op, tuple[int, ...]]] = [(moved, (0,))]
        shape = tuple(1 if d in dims else x[0].shape[d] for d in range(1, n) if keep or d not in dims)
        pooled = _with_sign(sign, steps, MaxPool(lambda t: t.amax(last), windows))
        assert isinstance(pooled, Several)
        return Several((*pooled.steps, (Reshape(shape), (len(pooled.steps),))))

    return convert


def _widened(x: Tensor, shape: torch.Size) -> Op:
    """An input repeated to fit `shape` (R, ...), each of its values equally often."""
    if x.ndim != len(shape):
        # Its rows would be those of another axis.
        raise ValueError("inputs of other numbers of axes")
    if x.shape == shape:
        return Reshape(tuple(shape[1:]))
    times = shape.numel() // x.numel()
    return Linear(lambda t: t.expand(len(t), *shape[1:]), "broadcast", copies=True, times=times)


def broadcast_sum(x: list[Tensor], scale: float) -> Op:
    """The sum x + scale y of two inputs of which one or both are repeated to fit the other."""
    shape = torch.broadcast_shapes(x[0].shape, x[1].shape)
    return Several(((_widened(x[0], shape), (0,)), (_widened(x[1], shape), (1,)), (Sum((1.0, scale)), (2, 3))))


def lerp(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """(1 - w) x + w y, of two inputs of one shape and a constant w."""
    weight = torch.as_tensor(a["weight"]).detach()
    inputs = _inputs(a, node)
    if weight.numel() != 1 or len(inputs) != 2 or inputs != [a["self"], a["end"]] or x[0].shape != x[1].shape:
        return Unknown("lerp with weights for each value, or with a constant")
    w = float(weight)
    return Sum((1 - w, w))


def masked(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """masked_fill with a constant mask: what is masked is a constant."""
    mask, value = a["mask"], torch.as_tensor(a["value"]).detach().double()
    mask = mask.detach()
    if mask.ndim == x[0].ndim and len(mask) != 1:
        if not (len(mask) == len(x[0]) and bool((mask == mask[:1]).all())):
            return Unknown("a mask for every row of a batch")
        mask = mask[:1]
    if mask.ndim > x[0].ndim or torch.broadcast_shapes(mask.shape, x[0].shape) != x[0].shape or value.numel() != 1:
        return Unknown("a mask that broadcasts its input")
    filled = torch.where(mask, value.reshape(()), torch.zeros((), dtype=torch.float64, device=mask.device))
    return Scale((~mask).double(), filled, "masked_fill")


def prelu(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """PReLU, with one slope for all or one for each channel; its Lipschitz constant is the larger of 1 and |slope|."""
    weight = a["weight"].detach().double()
    if weight.numel() == 1:
        slope = float(weight.reshape(()))
        return Elementwise("leaky_relu", (slope,), lambda t: torch.nn.functional.leaky_relu(t, slope))
    each = weight.reshape(-1, *[1] * (x[0].ndim - 2)).expand(x[0].shape[1:]).contiguous()
    return Elementwise("prelu", (), lambda t, w: torch.where(t > 0, t, t * w), each)


def softsign(node: FxNode) -> tuple[Op, FxNode] | None:
    """The softsign x / (|x| + 1) that ends in the quotient `node`, and its input; None where it is no such."""
    if node.target is not torch.ops.aten.div.Tensor or len(node.args) != 2 or node.kwargs:
        return None
    source, below = node.args
    if not isinstance(below, FxNode) or below.target is not torch.ops.aten.add.Tensor or below.args[1:] != (1,):
        return None
    modulus = below.args[0]
    known = isinstance(modulus, FxNode) and modulus.target is torch.ops.aten.abs.default and modulus.args[0] is source
    if not known or below.kwargs or not isinstance(source, FxNode):
        return None
    return Elementwise("softsign", (), torch.nn.functional.softsign), source
