"""The gradient of a convolution in an input of few channels, such as an image.

On a CPU torch computes it by a kernel that fills its vectors with channels of the input, and so leaves most of them
empty: for the first layer of a small network (5 x 5, stride 2, one channel) it takes 6 times as long as what is here,
and it was half of all the work of a search. Here a square of the input's places takes the part of the channels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, pixel_shuffle

FEW, _VECTOR = 4, 16
"""Largest number of channels of the input, and of values that are computed at once."""
Convolution = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@contextmanager
def quick_gradients(model: nn.Module) -> Iterator[None]:
    """Inside, convolutions of `model` on a CPU that have few input channels have this gradient; they return the same.

    It holds for inputs that need a gradient, of layers whose weights need none. A compiled model is left as it is.
    """
    layers = [] if _compiled(model) else [m for m in model.modules() if isinstance(m, nn.Conv2d) and _suits(m)]
    try:
        for layer in layers:
            layer.__dict__["_conv_forward"] = _quick(layer)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("_conv_forward", None)


def _compiled(model: nn.Module) -> bool:
    return any(isinstance(m, torch.jit.ScriptModule) or hasattr(m, "_orig_mod") for m in model.modules())


def _suits(layer: nn.Conv2d) -> bool:
    """Whether this is an ordinary convolution, whose code nobody has replaced, and the gradient here is quicker."""
    if type(layer) is not nn.Conv2d or "_conv_forward" in layer.__dict__ or "forward" in layer.__dict__:
        return False
    plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    square = layer.stride[0] == layer.stride[1] and layer.kernel_size[0] == layer.kernel_size[1]
    if not (plain and square and not isinstance(layer.padding, str) and layer.in_channels <= FEW):
        return False
    return side_of(layer.in_channels, layer.kernel_size[0], layer.stride[0]) > 1


def side_of(channels: int, taps: int, stride: int) -> int:
    """The side of the square of the input's places that are computed at once, a multiple of the stride."""
    side = stride
    while 2 * side <= min(4, taps - 1) * stride and channels * (2 * side) ** 2 <= _VECTOR:
        side *= 2
    return side


def _quick(layer: nn.Conv2d) -> Convolution:
    """What `layer` computes, with the quick gradient where it applies."""
    usual, kept = layer._conv_forward, _Kernel()

    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        still = not (weight.requires_grad or (bias is not None and bias.requires_grad) or weight.is_inference())
        fits = x.requires_grad and x.ndim == 4 and x.dtype == weight.dtype == torch.float32
        if not (torch.is_grad_enabled() and still and fits and x.device.type == weight.device.type == "cpu"):
            return usual(x, weight, bias)
        if torch.is_autocast_enabled("cpu"):
            return usual(x, weight, bias)
        shape = Shape.of(layer, x)
        return Thin.apply(x, weight, bias, kept.of(weight, shape), shape)

    return forward


@dataclass(frozen=True)
class Shape:
    """The sizes of a convolution, alike in both directions but for padding and input."""

    taps: int
    stride: int
    side: int
    padding: tuple[int, int]
    size: tuple[int, int]
    """Height and width of the input."""

    @classmethod
    def of(cls, layer: nn.Conv2d, x: Tensor) -> "Shape":
        """That of `layer` for inputs x (B, C, H, W)."""
        taps, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding
        side = side_of(layer.in_channels, taps, stride)
        return cls(taps, stride, side, (int(padding[0]), int(padding[1])), (x.shape[2], x.shape[3]))

    @property
    def reach(self) -> int:
        """How many outputs meet one place of the input, in each direction."""
        return -(-self.taps // self.stride)

    @property
    def outputs(self) -> tuple[int, int]:
        """Height and width of the output."""
        (high, wide), (top, left) = self.size, self.padding
        return (high + 2 * top - self.taps) // self.stride + 1, (wide + 2 * left - self.taps) // self.stride + 1


class _Kernel:
    """The kernel of the gradient, computed again only where the weight has changed."""

    def __init__(self) -> None:
        self._made_from: tuple[Tensor, int] | None = None
        self._kernel = torch.empty(0)

    def of(self, weight: Tensor, shape: Shape) -> Tensor:
        """The kernel for `weight` (O, C, h, h)."""
        if self._made_from is None or self._made_from[0] is not weight or self._made_from[1] != weight._version:
            self._made_from, self._kernel = (weight, weight._version), transposed(weight.detach(), shape)
        return self._kernel


class Thin(torch.autograd.Function):
    """A convolution with that gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, kernel: Tensor, shape: Shape) -> Tensor:
        """The usual convolution of x (B, C, H, W)."""
        return conv2d(x, weight, bias, shape.stride, shape.padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the gradient needs, of which the input is no part."""
        _, _, _, kernel, ctx.shape = inputs
        ctx.save_for_backward(kernel)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient in x."""
        (kernel,) = ctx.saved_tensors
        return pulled(gradients[0], kernel, ctx.shape), None, None, None, None


def transposed(weight: Tensor, shape: Shape) -> Tensor:
    """The kernel (C * side^2, O, h', h') that `pulled` wants, for a convolution's weight (O, C, h, h).

    Output i meets place t of the padded input by the tap t - stride * i. With t = side * q + r and i = step * q - e,
    where step = side / stride, that is the tap r + stride * e, whatever q is.
    """
    step, channels = shape.side // shape.stride, weight.shape[1]
    shift = shape.reach - 1 - torch.arange(shape.reach + step - 1, device=weight.device)
    tap = torch.arange(shape.side, device=weight.device)[:, None] + shape.stride * shift
    there = ((tap >= 0) & (tap < shape.taps)).to(weight.dtype)
    tap = tap.clamp(0, shape.taps - 1)
    taps = weight[:, :, tap][:, :, :, :, tap] * (there[:, :, None, None] * there)
    kernel = taps.permute(1, 2, 4, 0, 3, 5)
    return kernel.reshape(channels * shape.side**2, len(weight), *kernel.shape[4:]).contiguous()


def pulled(gradient: Tensor, kernel: Tensor, shape: Shape) -> Tensor:
    """The gradient (B, C, H, W) in the input of a convolution, from that in its output (B, O, h, w).

    It is a convolution of the latter, which gives a square of the input's places at each place.
    """
    side, step, before = shape.side, shape.side // shape.stride, shape.reach - 1
    (top, left), (high, wide) = shape.padding, shape.size
    below = step * -(-(high + top) // side) - gradient.shape[2]
    right = step * -(-(wide + left) // side) - gradient.shape[3]
    squares = conv2d(pad(gradient, (before, right, before, below)), kernel, stride=step)
    return pixel_shuffle(squares, side)[:, :, top : top + high, left : left + wide]


def transposed_last(weight: Tensor, shape: Shape) -> Tensor:
    """As `transposed`, in the order that `pulled_last` wants: channels last in memory, and in a square of places."""
    kernel = transposed(weight, shape).unflatten(0, (weight.shape[1], shape.side**2)).transpose(0, 1).flatten(0, 1)
    return torch.empty_like(kernel, memory_format=torch.channels_last).copy_(kernel)


def pulled_last(gradient: Tensor, kernel: Tensor, shape: Shape) -> Tensor:
    """As `pulled`, for a gradient (B, O, h, w) whose channels come last in memory, and so do those of the result."""
    side, step, before = shape.side, shape.side // shape.stride, shape.reach - 1
    channels = len(kernel) // side**2
    (top, left), (high, wide) = shape.padding, shape.size
    below, right = (
        step * -(-(size + start) // side) - length
        for size, start, length in zip(shape.size, shape.padding, gradient.shape[2:], strict=True)
    )
    if max(below, right) > before:
        gradient, before = pad(gradient, (before, right, before, below)), 0
    squares = conv2d(gradient, kernel, stride=step, padding=before)
    count, _, rows, columns = squares.shape
    places = squares.permute(0, 2, 3, 1).reshape(count, rows, columns, side, side * channels).transpose(2, 3)
    places = places.reshape(count, rows * side, columns * side, channels)
    return places[:, top : top + high, left : left + wide].permute(0, 3, 1, 2)
