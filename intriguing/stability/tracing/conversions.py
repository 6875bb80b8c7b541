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

from intriguing.stability.tracing import smooth
from intriguing.stability.tracing.ops import (
    Concat,
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
    left, right = a["self"], a.get("other", a.get("mat2"))
    if isinstance(left, Tensor) and left.ndim == 2 and x[0].ndim > 2:
        # A matrix from the left: of the axis before the last.
        matrix = left.detach().double()
        return Linear(lambda t: matrix.to(t) @ t, "matmul", (matrix,))
    if not isinstance(right, Tensor) or right.ndim != 2:
        return Unknown("matmul of two inputs")
    return Dense(right.detach().double().T.contiguous(), None)


def _convolution(a: dict, x: list[Tensor], node: FxNode) -> Op:
    weight = _double(a["weight"])
    assert weight is not None
    d = weight.ndim - 2
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


def _maximum(a: dict, x: list[Tensor], node: FxNode) -> Op:
    """The maximum over the last axes, as a pool of one window."""
    given = a["dim"]
    dims = sorted(d % x[0].ndim for d in (given if isinstance(given, list | tuple) else [given]))
    if not dims or dims != list(range(x[0].ndim - len(dims), x[0].ndim)) or dims[0] == 0:
        return Unknown(f"{name_of(node)} over axes that are not the last")
    keep = bool(a["keepdim"])
    return MaxPool(lambda t: t.amax(dims, keep), tuple((tuple(range(x[0].shape[d])),) for d in dims))


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
            return Sum((1.0, scale)) if x[0].shape == x[1].shape else Unknown("a sum of inputs of other shapes")
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
        raise ValueError("a constant for every row of a batch")
    if constant.ndim > x.ndim:
        raise ValueError("a constant of more axes than the input")
    return constant


def _multiply(a: dict, x: list[Tensor], node: FxNode) -> Op:
    left, right = a["self"], a["other"]
    if isinstance(left, FxNode) and isinstance(right, FxNode):
        return Unknown("a product of two inputs")
    return _scale(_constant(right if isinstance(left, FxNode) else left, x[0]), x[0])


def _divide(a: dict, x: list[Tensor], node: FxNode) -> Op:
    if isinstance(a["other"], FxNode) or a.get("rounding_mode") is not None:
        return Unknown("a quotient by an input")
    return _scale(1 / _constant(a["other"], x[0]), x[0])


def _scale(weight: Tensor, x: Tensor) -> Op:
    if torch.broadcast_shapes(weight.shape, x.shape) != x.shape:
        return Unknown("a product that broadcasts its input")
    return Scale(weight, None)


def _negate(a: dict, x: list[Tensor], node: FxNode) -> Op:
    return Scale(torch.tensor(-1.0, dtype=torch.float64), None)


def _concat(a: dict, x: list[Tensor], node: FxNode) -> Op:
    parts = a["tensors"]
    axis = a.get("dim", 0) % x[0].ndim
    if axis and len(x) == 1 and all(p is parts[0] for p in parts):
        # The tracer lists an input once.
        count = len(parts)
        return Linear(lambda t: torch.cat([t] * count, axis), "cat", copies=True, times=count)
    if axis == 0 or not all(isinstance(p, FxNode) for p in parts) or len(parts) != len(x):
        return Unknown("cat across the batch, or with constants or repeats")
    return Concat(axis)


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


def _prelu(a: dict, x: list[Tensor], node: FxNode) -> Op:
    weight = _double(a["weight"])
    if weight is None or weight.numel() != 1:
        return Unknown("prelu with a slope for each channel")
    slope = float(weight.reshape(()))
    return Elementwise("leaky_relu", (slope,), lambda t: torch.nn.functional.leaky_relu(t, slope))


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
    "cat": _concat,
    "batch_norm": _batch_norm,
    "mean": _reduce,
    "sum": _reduce,
    "prelu": _prelu,
    "rrelu": _rrelu,
    "threshold": _threshold,
    "amax": _maximum,
    "max": _maximum,
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
    "clamp": _limited("clamp", "min", "max"),
    "clamp_min": _limited("clamp", "min", None),
    "clamp_max": _limited("clamp", None, "max"),
    "softmax": smooth.softmax,
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
}
