"""What each ATen operation is among `ops`: one entry of `CONVERTERS` per operation.

A converter gets the arguments by name (constants as they are, inputs as fx nodes), examples of the inputs (R, *shape),
and the fx node. What it cannot convert it returns as `Unknown`, or raises.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node as FxNode

from intriguing.stability.tracing import composed, products, smooth
from intriguing.stability.tracing.ops import (
    Convolution,
    Dense,
    Elementwise,
    Linear,
    MaxPool,
    Op,
    Pad,
    Scale,
    Shift,
    Sum,
    Unknown,
)
from intriguing.stability.tracing.windows import adaptive_windows, pool_windows


def name_of(node: FxNode) -> str:
    """The name of the ATen operation of `node`, without its overload and the underscore of an in-place form."""
    target = node.target
    if target is operator.getitem:
        return "getitem"
    packet = getattr(target, "overloadpacket", None)
    name = getattr(packet, "__name__", None) or getattr(target, "__name__", str(target))
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def _double(value: Any) -> Tensor | None:
    return None if value is None else torch.as_tensor(value).detach().double()


def _many(value: Any, count: int) -> tuple[int, ...]:
    values = [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
    return tuple(values * count if len(values) == 1 else values)


# Converters: (arguments by name, example inputs, fx node) -> operation.


def _dense(a: dict, x: list[Tensor], node: FxNode) -> Op:
    return Dense(_double(a["weight"]), _double(a["bias"]))  # type: ignore[arg-type]


def _addmm(a: dict, x: list[Tensor], node: FxNode) -> Op:
    if a["beta"] != 1 or a["alpha"] != 1 or not isinstance(a["mat2"], Tensor) or not isinstance(a["self"], Tensor):
        return Unknown("addmm")
    return Dense(_double(a["mat2"]).T, _double(a["self"]))  # type: ignore[union-attr]


def _matmul(a: dict, x: list[Tensor], node: FxNode) -> Op:
    left, right = a["self"], next((a[name] for name in ("other", "mat2", "vec") if name in a), None)
    if isinstance(left, Tensor):
        return products.matmul(x[0], left, left=True)
    if not isinstance(right, Tensor):
        return Unknown(f"matmul of two inputs: {products.TWO_INPUTS}")
    if right.ndim != 2:
        return products.matmul(x[0], right, left=False)
    return Dense(right.detach().double().T.contiguous(), None)


def _convolution(a: dict, x: list[Tensor], node: FxNode) -> Op:
    weight = _double(a["weight"])
    assert weight is not None
    d = weight.ndim - 2
    if x[0].ndim != d + 2:
        raise ValueError(f"samples of {d + 1} axes, channels included, are needed")
    transposed = bool(a.get("transposed", "conv_transpose" in name_of(node)))
    stride, dilation = _many(a["stride"], d), _many(a["dilation"], d)
    extra = _many(a.get("output_padding", 0), d)
    bias = _double(a["bias"])
    offset = None if bias is None else bias.reshape(-1, *[1] * d)
    padding, pad = a["padding"], None
    if padding == "same":
        total = [e * (k - 1) for e, k in zip(dilation, weight.shape[2:], strict=True)]
        sides = [side for t in reversed(total) for side in (t // 2, t - t // 2)]
        padding, pad = 0, Pad(tuple(sides))
    elif padding == "valid":
        padding = 0
    return Convolution(weight, offset, stride, _many(padding, d), dilation, transposed, extra, int(a["groups"]), pad)


def _pad(a: dict, x: list[Tensor], node: FxNode) -> Op:
    mode = a.get("mode", "constant")
    name = name_of(node)
    for start, known in (("reflection", "reflect"), ("replication", "replicate")):
        if name.startswith(start):
            mode = known
    pads = tuple(int(p) for p in a.get("pad", a.get("padding")))  # type: ignore[union-attr]
    value = _rounded(a.get("value") or 0.0, node)
    offset = None
    if mode == "constant" and value != 0:
        offset = torch.nn.functional.pad(torch.zeros_like(x[0][:1]), pads, value=value)
    return Pad(pads, mode, offset)


def _batch_norm(a: dict, x: list[Tensor], node: FxNode) -> Op:
    if a.get("training", a.get("train", False)) or a["running_mean"] is None:
        return Unknown("batch_norm with the statistics of the batch")
    scale = 1 / (_double(a["running_var"]) + a["eps"]).sqrt()  # type: ignore[operator, union-attr]
    scale = scale if a["weight"] is None else scale * _double(a["weight"])
    return smooth.normalised_by(scale, _double(a["running_mean"]), _double(a["bias"]), x[0].ndim, "batch_norm")  # type: ignore[arg-type]


def _average(a: dict, x: list[Tensor], node: FxNode) -> Op:
    target: Any = node.target
    rest, kwargs = node.args[1:], dict(node.kwargs)
    d = int(name_of(node)[-2])
    matrices: list[Tensor] = []
    divisor = a.get("divisor_override")
    # The number of values in a window is a product over the axes, so the pool is one of 1-D pools; with a divisor of
    # its own they are sums.
    kernel = _many(a["kernel_size"], d)
    stride = _many(a["stride"], d) if a["stride"] else kernel
    padding = _many(a["padding"], d)
    ceil, inside = bool(a["ceil_mode"]), bool(a["count_include_pad"])
    for i, n in enumerate(x[0].shape[-d:]):
        lines = torch.eye(n, dtype=torch.float64)[:, None, None]
        form = (1, kernel[i]), (1, stride[i]), (0, padding[i]), ceil, inside, None if divisor is None else 1
        matrices.append(torch.nn.functional.avg_pool2d(lines, *form)[:, 0, 0].T)
    if divisor is not None:
        matrices[0] = matrices[0] / divisor
    return Linear(lambda t: target(t, *rest, **kwargs), "avg_pool", tuple(matrices))


def _resized(kind: str) -> Callable[[dict, list[Tensor], FxNode], Op]:
    """Adaptive average pools and interpolations: weights that sum to 1, so what is constant along an axis stays so."""

    def convert(a: dict, x: list[Tensor], node: FxNode) -> Op:
        target: Any = node.target
        rest, kwargs = node.args[1:], dict(node.kwargs)
        d = x[0].ndim - 2 if kind == "interpolate" else int(name_of(node)[-2])
        sizes = x[0].shape[-d:]
        matrices = []
        for i, n in enumerate(sizes):
            line = torch.eye(n, dtype=torch.float64).reshape(n, 1, *[n if j == i else 1 for j in range(d)])
            out = target(line.expand(n, 1, *sizes).contiguous(), *rest, **kwargs)
            place = tuple(slice(None) if j == i else 0 for j in range(d))
            matrices.append(out[(slice(None), 0, *place)].T)
        return Linear(lambda t: target(t, *rest, **kwargs), kind, tuple(matrices))

    return convert


def _reduce(a: dict, x: list[Tensor], node: FxNode) -> Op:
    dims = a.get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or any(d % x[0].ndim == 0 for d in dims):
        return Unknown(f"{name_of(node)} across the batch")
    target: Any = node.target
    rest, kwargs = node.args[1:], dict(node.kwargs)
    count = math.prod(x[0].shape[d] for d in {d % x[0].ndim for d in dims})
    each = torch.full((1, count), 1 / count if name_of(node) == "mean" else 1.0, dtype=torch.float64)
    return Linear(lambda t: target(t, *rest, **kwargs), name_of(node), (each,))


def _max_pool(a: dict, x: list[Tensor], node: FxNode) -> Op:
    name = name_of(node)
    d = int(name[name.index("pool") + 4])
    kernel = _many(a["kernel_size"], d)
    stride = _many(a["stride"], d) if a["stride"] else kernel
    padding, dilation = _many(a["padding"], d), _many(a["dilation"], d)
    sizes = x[0].shape[-d:]
    windows = tuple(
        pool_windows(n, k, s, p, e, bool(a["ceil_mode"]))
        for n, k, s, p, e in zip(sizes, kernel, stride, padding, dilation, strict=True)
    )
    function: Any = (torch.max_pool1d, torch.max_pool2d, torch.max_pool3d)[d - 1]
    return MaxPool(lambda t: function(t, kernel, stride, padding, dilation, bool(a["ceil_mode"])), windows)


def _adaptive_max(a: dict, x: list[Tensor], node: FxNode) -> Op:
    name = name_of(node)
    d = int(name[name.index("pool") + 4])
    sizes = _many(a["output_size"], d)
    windows = tuple(adaptive_windows(n, m) for n, m in zip(x[0].shape[-d:], sizes, strict=True))
    function: Any = getattr(torch.nn.functional, f"adaptive_max_pool{d}d")
    return MaxPool(lambda t: function(t, sizes), windows)


def _threshold(a: dict, x: list[Tensor], node: FxNode) -> Op:
    if a["threshold"] != a["value"]:
        return Unknown("threshold that jumps")
    value = _rounded(a["value"], node)
    return Elementwise("clamp_min", (value,), lambda t: t.clamp(min=value))


def _rrelu(a: dict, x: list[Tensor], node: FxNode) -> Op:
    if a["training"]:
        return Unknown("rrelu while training")
    slope = (float(a["lower"]) + float(a["upper"])) / 2
    return Elementwise("leaky_relu", (slope,), lambda t: torch.nn.functional.leaky_relu(t, slope))


def _add(sign: float) -> Callable[[dict, list[Tensor], FxNode], Op]:
    def convert(a: dict, x: list[Tensor], node: FxNode) -> Op:
        scale = sign * float(a.get("alpha") or 1)
        left, right = a["self"], a["other"]
        if name_of(node) == "rsub":
            left, right, scale = right, left, -float(a.get("alpha") or 1)
        if isinstance(left, FxNode) and isinstance(right, FxNode):
            if len(x) == 1:
                # x + x: the tracer lists an input once.
                return Scale(torch.tensor(1 + scale, dtype=torch.float64), None)
            return Sum((1.0, scale)) if x[0].shape == x[1].shape else composed.broadcast_sum(x, scale)
        constant = _constant(right if isinstance(left, FxNode) else left, x[0])
        wide = torch.broadcast_shapes(constant.shape, x[0].shape)
        if isinstance(left, FxNode):
            return Shift(constant * scale) if wide == x[0].shape else _widened(wide, constant * scale)
        if wide != x[0].shape:
            return Unknown("a difference that broadcasts its input")
        return Scale(torch.tensor(scale, dtype=torch.float64), constant)

    return convert


def _widened(shape: torch.Size, offset: Tensor) -> Op:
    """A constant added to an input that is repeated to fit it, such as a logit and thresholds of classes."""
    return Linear(lambda t: t.expand(len(t), *shape[1:]), "broadcast", offset=offset)


def _constant(value: Any, x: Tensor) -> Tensor:
    """A constant as it is broadcast against a batch; one with an entry for every row is refused."""
    constant = torch.as_tensor(value).detach().double()
    if constant.ndim == x.ndim and len(constant) != 1:
        same = products.repeated(constant, x)
        if same is None:
            raise ValueError("a constant for every row of a batch")
        return same
    if constant.ndim > x.ndim:
        raise ValueError("a constant of more axes than the input")
    return constant


def _multiply(a: dict, x: list[Tensor], node: FxNode) -> Op:
    left, right = a["self"], a["other"]
    if isinstance(left, FxNode) and isinstance(right, FxNode):
        return Unknown(f"a product of two inputs: {products.TWO_INPUTS}")
    return _scale(_constant(right if isinstance(left, FxNode) else left, x[0]), x[0])


def _divide(a: dict, x: list[Tensor], node: FxNode) -> Op:
    if isinstance(a["other"], FxNode) or a.get("rounding_mode") is not None:
        return Unknown("a quotient by an input, or one that is rounded: no global Lipschitz constant")
    return _scale(1 / _constant(a["other"], x[0]), x[0])


def _scale(weight: Tensor, x: Tensor) -> Op:
    if torch.broadcast_shapes(weight.shape, x.shape) != x.shape:
        return Unknown("a product that broadcasts its input")
    return Scale(weight, None)


def _negate(a: dict, x: list[Tensor], node: FxNode) -> Op:
    return Scale(torch.tensor(-1.0, dtype=torch.float64), None)


def _elementwise(kind: str, *names: str) -> Callable[[dict, list[Tensor], FxNode], Op]:
    def convert(a: dict, x: list[Tensor], node: FxNode) -> Op:
        target: Any = node.target
        # In-place forms would change the values that others still read.
        packet = getattr(torch.ops.aten, name_of(node))
        overload = getattr(packet, target._overloadname, target) if target is not packet else packet
        rest, kwargs = node.args[1:], dict(node.kwargs)
        parameters = tuple(float("nan") if a[n] is None else float(a[n]) for n in names)
        return Elementwise(kind, parameters, lambda t: overload(t, *rest, **kwargs))

    return convert


def _rounded(value: Any, node: FxNode) -> float:
    """A number as the operation of `node` takes it: rounded to the type of its result."""
    return float(torch.as_tensor(value).to(node.meta["val"].dtype))


def _limited(kind: str, low: str | None, high: str | None) -> Callable[[dict, list[Tensor], FxNode], Op]:
    """Functions that keep values between limits, which may stand in buffers; `low`, `high`: the arguments' names."""

    def convert(a: dict, x: list[Tensor], node: FxNode) -> Op:
        least, most = (None if n is None or a[n] is None else _rounded(a[n], node) for n in (low, high))
        ends = tuple(float("nan") if end is None else end for end in (least, most))
        return Elementwise(kind, ends, lambda t: t.clamp(least, most))

    return convert


def _softplus(a: dict, x: list[Tensor], node: FxNode) -> Op:
    if a["beta"] <= 0 or a["threshold"] < 20:
        # Beyond the threshold torch goes over to the input itself, by a step of exp(-threshold) / beta.
        return Unknown("softplus that jumps")
    return _elementwise("softplus", "beta", "threshold")(a, x, node)


def _celu(a: dict, x: list[Tensor], node: FxNode) -> Op:
    if a["alpha"] <= 0:
        return Unknown("celu that grows without end")
    return _elementwise("celu", "alpha")(a, x, node)


def _gelu(a: dict, x: list[Tensor], node: FxNode) -> Op:
    kind = "gelu" if a["approximate"] == "none" else "gelu_tanh"
    return Elementwise(kind, (), lambda t: torch.nn.functional.gelu(t, approximate=a["approximate"]))


def _max(sign: float) -> Callable[[dict, list[Tensor], FxNode], Op]:
    of_two, extreme = composed.of_two(sign), composed.extreme(sign)
    return lambda a, x, node: of_two(a, x, node) if "other" in a else extreme(a, x, node)


def _clamp(a: dict, x: list[Tensor], node: FxNode) -> Op:
    ends = [torch.as_tensor(a[k]) for k in ("min", "max") if a[k] is not None]
    one_for_all = all(end.numel() == 1 for end in ends)
    return _limited("clamp", "min", "max")(a, x, node) if one_for_all else composed.clamp(a, x, node)


def _cumsum(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """Sums up to each place: the triangle of ones along an axis, of norm 1 / (2 sin(pi / (4 n + 2)))."""
    axis = int(a["dim"]) % x[0].ndim
    if axis == 0:
        return Unknown("cumsum across the batch")
    n = x[0].shape[axis]
    return Linear(lambda t: t.cumsum(axis), "cumsum", (torch.ones(n, n, dtype=torch.float64).tril(),))


def _without(reason: str) -> Callable[[dict, list[Tensor], FxNode], Op]:
    """What has no bound here, and why."""
    return lambda a, x, node: Unknown(f"{name_of(node)}: {reason}")


_STEEP = "no global Lipschitz constant, for its slope grows without end"
_JUMPS = "it jumps, so no Lipschitz constant holds"
_GATES = "its gates multiply what was computed before, which is not bounded here"


CONVERTERS: dict[str, Callable[[dict, list[Tensor], FxNode], Op]] = {
    "linear": _dense,
    "addmm": _addmm,
    "matmul": _matmul,
    "mm": _matmul,
    "add": _add(1.0),
    "sub": _add(-1.0),
    "rsub": _add(-1.0),
    "mul": _multiply,
    "div": _divide,
    "neg": _negate,
    "cat": composed.concat,
    "stack": composed.concat,
    "einsum": products.einsum,
    "bmm": _matmul,
    "mv": _matmul,
    "tensordot": products.tensordot,
    "cumsum": _cumsum,
    "maximum": composed.of_two(1.0),
    "minimum": composed.of_two(-1.0),
    "lerp": composed.lerp,
    "masked_fill": composed.masked,
    "batch_norm": _batch_norm,
    "mean": _reduce,
    "sum": _reduce,
    "prelu": composed.prelu,
    "rrelu": _rrelu,
    "threshold": _threshold,
    "amax": composed.extreme(1.0),
    "amin": composed.extreme(-1.0),
    "max": _max(1.0),
    "min": _max(-1.0),
    "gelu": _gelu,
    "relu": _elementwise("relu"),
    "relu6": _elementwise("relu6"),
    "leaky_relu": _elementwise("leaky_relu", "negative_slope"),
    "sigmoid": _elementwise("sigmoid"),
    "tanh": _elementwise("tanh"),
    "silu": _elementwise("silu"),
    "softplus": _softplus,
    "elu": _elementwise("elu", "alpha", "scale", "input_scale"),
    "celu": _celu,
    "selu": _elementwise("selu"),
    "hardtanh": _limited("hardtanh", "min_val", "max_val"),
    "hardsigmoid": _elementwise("hardsigmoid"),
    "hardswish": _elementwise("hardswish"),
    "mish": _elementwise("mish"),
    "log_sigmoid": _elementwise("log_sigmoid"),
    "softshrink": _elementwise("softshrink", "lambd"),
    "abs": _elementwise("abs"),
    "clamp": _clamp,
    "clamp_min": _limited("clamp", "min", None),
    "clamp_max": _limited("clamp", None, "max"),
    **{kind: _elementwise(kind) for kind in ("sin", "cos", "atan", "asinh", "erf")},
    "softmax": smooth.softmax,
    "logsumexp": smooth.logsumexp,
    "linalg_vector_norm": smooth.vector_norm,
    "cdist": smooth.distances,
    "sort": smooth.ordered,
    "topk": smooth.ordered,
    "log_softmax": smooth.log_softmax,
    "layer_norm": smooth.layer_norm,
    "group_norm": smooth.group_norm,
    "instance_norm": smooth.instance_norm,
    "rms_norm": smooth.rms_norm,
    **{f"conv{d}d": _convolution for d in (1, 2, 3)},
    **{f"conv_transpose{d}d": _convolution for d in (1, 2, 3)},
    "convolution": _convolution,
    "pad": _pad,
    "constant_pad_nd": _pad,
    **{f"{k}_pad{d}d": _pad for k in ("reflection", "replication") for d in (1, 2, 3)},
    **{f"avg_pool{d}d": _average for d in (1, 2, 3)},
    **{f"adaptive_avg_pool{d}d": _resized("adaptive_avg_pool") for d in (1, 2, 3)},
    **{f"max_pool{d}d{s}": _max_pool for d in (1, 2, 3) for s in ("", "_with_indices")},
    **{f"adaptive_max_pool{d}d": _adaptive_max for d in (1, 2, 3)},
    **{
        f"upsample_{m}": _resized("interpolate")
        for m in ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d", "bicubic2d")
    },
    **{f"_upsample_nearest_exact{d}d": _resized("interpolate") for d in (1, 2, 3)},
    **{f"_upsample_{m}2d_aa": _resized("interpolate") for m in ("bilinear", "bicubic")},
    # Kim, Papamakarios and Mnih 2021, "The Lipschitz constant of self-attention", arXiv:2006.04710, theorem 3.1.
    "scaled_dot_product_attention": _without(
        "dot-product attention has no global Lipschitz constant: its slope grows with the square of its inputs"
    ),
    **{name: _without(_STEEP) for name in ("pow", "square", "exp", "expm1", "glu", "bilinear", "sqrt", "log")},
    **{name: _without(_JUMPS) for name in ("sign", "round", "floor", "ceil", "trunc", "heaviside", "hardshrink")},
    **{name: _without(_GATES) for name in ("gru", "lstm", "gru_cell", "lstm_cell")},
}
