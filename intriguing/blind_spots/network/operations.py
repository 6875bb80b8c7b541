"""The operations that a recording knows, each with the gradient in its inputs, and how neighbours become one.

A step takes the values of other steps, tensors (B, ...) of images channels last, and gives one. Weights are constants.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from intriguing.blind_spots.network.few_channels import FEW, Shape, pulled_last, side_of, transposed_last
from intriguing.blind_spots.network.strips import Strips

_MOST, _USEFUL = 64, 0.65
"""The most values in a square of places of the input, and the least share of useful products, with which a strided
convolution of many channels has its gradient quicker by a convolution of its own: 1.3 to 1.8 times for 5 x 5 taps and 8
or 16 channels."""
_LAST = torch.channels_last
aten = torch.ops.aten


class Unknown(Exception):
    """An operation that cannot be recorded."""


class Step:
    """One operation. inputs, output: numbers of values."""

    inputs: tuple[int, ...] = ()
    output: int = 0
    relu = False
    """Whether a ReLU follows, which overwrites the output."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        """The output, and what the gradient needs besides inputs and output."""
        out, saved = self._value(*inputs)
        return (out.relu_() if self.relu else out), saved

    def backward(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        """The gradients in the inputs from that in the output."""
        if self.relu:
            slope = aten.threshold_backward(slope, out, 0)
        return self._slopes(slope, inputs, out, saved)

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        """As `forward`, without the ReLU."""
        raise NotImplementedError

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        """As `backward`, without the ReLU."""
        raise NotImplementedError


def last(x: Tensor) -> Tensor:
    """A copy (B, C, H, W) whose channels come last in memory, in its strides as well where it has one channel only."""
    return torch.empty_like(x, memory_format=_LAST).copy_(x)


class Convolution(Step):
    """A convolution of images (B, C, H, W)."""

    def __init__(self, weight: Tensor, bias: Tensor | None, options: tuple[Any, ...]) -> None:
        self.weight, self.bias = weight, bias
        self.stride, self.padding, self.dilation, self.groups = options
        self._pulls: dict[tuple[int, int], Callable[[Tensor], Tensor] | None] = {}
        self.laid = weight

    def scaled(self, scale: Tensor, shift: Tensor) -> None:
        """Let scale * output + shift (C,) be the output; both in float64."""
        bias = 0.0 if self.bias is None else self.bias.double()
        self.bias = (bias * scale + shift).to(self.weight.dtype)
        self.weight = (self.weight.double() * scale[:, None, None, None]).to(self.weight.dtype)

    def lay_out(self) -> None:
        """Prepare the weights."""
        self.laid = last(self.weight)

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        (x,) = inputs
        return conv2d(x, self.laid, self.bias, self.stride, self.padding, self.dilation, self.groups), None

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        (x,) = inputs
        size = (x.shape[2], x.shape[3])
        if size not in self._pulls:
            self._pulls[size] = self._quick(size)
        quick = self._pulls[size]
        slope = slope.contiguous(memory_format=_LAST)
        if quick is not None:
            return (quick(slope),)
        options = (self.stride, self.padding, self.dilation, False, [0, 0], self.groups)
        return (aten.convolution_backward(slope, x, self.laid, None, *options, [True, False, False])[0],)

    def _quick(self, size: tuple[int, int]) -> Callable[[Tensor], Tensor] | None:
        """The gradient by products of strips, or as a convolution of its own, where that is quicker."""
        (high, wide), (_, channels, *taps) = self.stride, self.weight.shape
        if self.groups != 1 or high != wide or taps[0] != taps[1] or list(self.dilation) != [1, 1]:
            return None
        side = side_of(channels, taps[0], high) if channels <= FEW else high
        useful = taps[0] / (high * -(-taps[0] // high))
        if side == 1 or (channels > FEW and (channels * side**2 > _MOST or useful**2 < _USEFUL)):
            return None
        shape = Shape(taps[0], high, side, (self.padding[0], self.padding[1]), size)
        strips = Strips.of(self.weight, shape)
        return strips or partial(pulled_last, kernel=transposed_last(self.weight, shape), shape=shape)


class Linear(Step):
    """A dense layer from (B, n) to (B, m)."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight
        """(n, m)"""
        self.bias = bias
        self.back = weight

    def reorder(self, channels: int) -> None:
        """Take inputs whose channels come last, not first, as those of a flattened image."""
        n, m = self.weight.shape
        moved = self.weight.reshape(channels, n // channels, m).transpose(0, 1).reshape(n, m)
        self.weight = moved.t().contiguous().t()  # as a layer keeps it: other orders are rounded otherwise

    def lay_out(self) -> None:
        """Prepare the weights."""
        self.back = self.weight.t()

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        (x,) = inputs
        return (x.mm(self.weight) if self.bias is None else torch.addmm(self.bias, x, self.weight)), None

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        return (slope.mm(self.back),)


class Reshaped(Step):
    """The same values in another shape (B, *shape). last: channels come last in the vector, not first."""

    def __init__(self, before: tuple[int, ...], shape: tuple[int, ...]) -> None:
        self.before, self.shape = before, shape
        self.last = False

    @property
    def flattens(self) -> bool:
        """Whether an image (C, H, W) becomes a vector."""
        return len(self.before) == 3 and len(self.shape) == 1

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        (x,) = inputs
        return (x.permute(0, 2, 3, 1) if self.last else x).reshape(len(x), *self.shape), None

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        if self.last:
            channels, *size = self.before
            return (slope.reshape(len(slope), *size, channels).permute(0, 3, 1, 2),)
        return (slope.reshape(len(slope), *self.before),)


class Added(Step):
    """The sum of two values of one shape."""

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        return torch.add(*inputs), None

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        return slope, slope


class Multiplied(Step):
    """The product of two values, which may be broadcast to each other, as a gate of a channel is."""

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        return torch.mul(*inputs), None

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        one, other = inputs
        return (slope * other).sum_to_size(one.shape), (slope * one).sum_to_size(other.shape)


class Joined(Step):
    """Values one after the other along a dimension that is not that of the rows."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        return torch.cat(inputs, self.dim), None

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        return slope.split([x.shape[self.dim] for x in inputs], self.dim)


class Normed(Step):
    """Batch norm with the statistics of training: scale * x + shift per channel, (C,) in float64."""

    def __init__(self, scale: Tensor, shift: Tensor, like: Tensor) -> None:
        self.scale, self.shift = scale, shift
        ones = [1] * (like.ndim - 2)
        self.wide = [v.to(like.dtype).reshape(-1, *ones) for v in (scale, shift)]

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        (x,) = inputs
        return torch.addcmul(self.wide[1], x, self.wide[0]), None

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        return (slope * self.wide[0],)


class ByOutput(Step):
    """A function of each value whose derivative follows from its output."""

    def __init__(self, function: Callable[..., Tensor], derivative: Callable[..., Tensor]) -> None:
        self.function, self.derivative = function, derivative

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        return self.function(*inputs), None

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        return (self.derivative(slope, out),)


class Relu(ByOutput):
    """ReLU by itself."""

    def __init__(self) -> None:
        super().__init__(torch.relu, lambda slope, out: aten.threshold_backward(slope, out, 0))


class Pooled(Step):
    """The largest value of each window."""

    def __init__(self, options: tuple[Any, ...]) -> None:
        size, stride, padding, dilation, ceil = (*options, *((), 0, 1, False)[len(options) - 1 :])
        self.options = (size, stride or size, padding, dilation, ceil)

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        return aten.max_pool2d_with_indices(*inputs, *self.options)

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        return (aten.max_pool2d_with_indices_backward(slope, *inputs, *self.options, saved),)


class Other(Step):
    """Any operation of one value, whose gradient autograd gives."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def _value(self, *inputs: Tensor) -> tuple[Tensor, Any]:
        (x,) = inputs
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            graph = self.function(leaf)
        return graph.detach(), (graph, leaf)

    def _slopes(self, slope: Tensor, inputs: Sequence[Tensor], out: Tensor, saved: Any) -> Sequence[Tensor]:
        graph, leaf = saved
        return torch.autograd.grad(graph, leaf, slope)


_SAME = {aten.detach.default, aten.alias.default, aten.clone.default, aten.lift_fresh.default}
_OTHERS = {
    *(aten.slice.Tensor, aten.constant_pad_nd.default, aten.avg_pool2d.default, aten._adaptive_avg_pool2d.default),
    *(aten.mean.dim, aten.leaky_relu.default, aten.elu.default, aten.gelu.default, aten.silu.default),
    *(aten.mish.default, aten.hardswish.default, aten.hardsigmoid.default, aten.softplus.default),
    *(aten.clamp.default, aten.abs.default),
    *(aten.neg.default, aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.rsub.Scalar),
}
"""Of one value and constants; the rows do not meet in them (a slice or mean over rows shows in the shape)."""


_OVERWRITING = {
    getattr(getattr(aten, f"{name}_"), overload): getattr(getattr(aten, name), overload)
    for overload, names in (
        ("default", "relu hardtanh leaky_relu elu silu mish hardswish hardsigmoid sigmoid tanh clamp"),
        ("Tensor", "add sub mul div"),
    )
    for name in names.split()
}
"""For each operator that overwrites its input, the one that computes the same into a tensor of its own."""


def made(func: Any, args: Any, kwargs: Any, used: list[Tensor], out: Tensor) -> Step | None:
    """The step of an operator that was called with these arguments, of which `used` are values; None: nothing to do.

    Raises: `Unknown`.
    """
    x = used[0]
    if out.dtype != x.dtype:
        raise Unknown
    if func in _SAME:
        return None
    func = _OVERWRITING.get(func, func)
    if func is aten.cat.default:
        dim = args[1] % x.ndim if len(args) > 1 else 0
        if dim == 0 or len(used) != len(args[0]):
            raise Unknown
        return Joined(dim)
    if len(used) == 2:
        if func is aten.add.Tensor and not kwargs and x.shape == used[1].shape and len(args) == 2:
            return Added()
        if func is aten.mul.Tensor and x.ndim == used[1].ndim:
            return Multiplied()
        raise Unknown
    if len(used) != 1 or (args[0] is not x and func is not aten.addmm.default):
        raise Unknown
    if func is aten.relu.default:
        return Relu()
    if func in (aten.view.default, aten._unsafe_view.default, aten.reshape.default):
        same = x.shape == out.shape
        return None if same else Reshaped(tuple(x.shape[1:]), tuple(out.shape[1:]))
    if func is aten.convolution.default and x.ndim == 4 and not args[6] and len(args) == 9:
        return Convolution(args[1], args[2], (args[3], args[4], args[5], args[8]))
    if func is aten.addmm.default and args[1] is x and len(args) == 3 and not kwargs:
        return Linear(args[2], args[0])
    if func is aten.mm.default:
        return Linear(args[1], None)
    if func is aten.native_batch_norm.default and not args[5]:
        weight, bias, mean, variance = args[1:5]
        return _normed(x, weight, bias, mean, variance, args[7])
    if func is aten.max_pool2d_with_indices.default and x.ndim == 4:
        return Pooled(tuple(args[1:]))
    if func is aten.sigmoid.default:
        return ByOutput(torch.sigmoid, aten.sigmoid_backward)
    if func is aten.tanh.default:
        return ByOutput(torch.tanh, aten.tanh_backward)
    if func is aten.hardtanh.default:
        ends = (*args[1:], *(-1, 1)[len(args) - 1 :])
        return ByOutput(lambda value: func(value, *ends), lambda slope, out: aten.hardtanh_backward(slope, out, *ends))
    if func in _OTHERS:
        return Other(lambda value: func(value, *args[1:], **kwargs))
    raise Unknown


def _normed(x: Tensor, weight: Any, bias: Any, mean: Tensor, variance: Tensor, epsilon: float) -> Normed:
    scale = (variance.double() + epsilon).rsqrt()
    scale = scale if weight is None else scale * weight.double()
    shift = -mean.double() * scale
    return Normed(scale, shift if bias is None else shift + bias.double(), x)


def simplified(steps: list[Step], output: int) -> tuple[list[Step], int]:
    """The steps, of which neighbours have become one, and the number of the value that is the output.

    Batch norm goes into the convolution before it, ReLU into the step before it that makes a new tensor; an image that
    is flattened for dense layers alone keeps its order in memory.
    """
    uses = Counter([output, *(i for step in steps for i in step.inputs)])
    by_output: dict[int, Step] = {}
    same: dict[int, int] = {}
    kept: list[Step] = []
    for step in steps:
        step.inputs = tuple(same.get(i, i) for i in step.inputs)
        first = step.inputs[0]
        before = by_output.get(first) if uses[first] == 1 else None
        if isinstance(step, Normed) and isinstance(before, Convolution) and not before.relu:
            before.scaled(step.scale, step.shift)
        elif isinstance(step, Relu) and isinstance(before, (Convolution, Linear, Added, Normed)):
            before.relu = True
        else:
            kept.append(step)
            by_output[step.output] = step
            continue
        same[step.output] = first
        uses[first] = uses[step.output]
    output = same.get(output, output)
    for step in kept:
        if isinstance(step, Reshaped) and step.flattens and step.inputs != (0,) and step.output != output:
            after = [other for other in kept if step.output in other.inputs]
            dense = [other for other in after if isinstance(other, Linear)]
            step.last = len(dense) == len(after)
            for other in dense if step.last else ():
                other.reorder(step.before[0])
    for step in kept:
        if isinstance(step, (Convolution, Linear)):
            step.lay_out()
    return kept, output
