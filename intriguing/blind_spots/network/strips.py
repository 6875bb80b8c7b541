"""The gradient of a strided convolution in its input, by products of strips.

The outputs of a few neighbouring places in a row meet one strip of the input's rows. One matrix, with the taps of all
these places and zeros between them, takes the gradients of the former to those in the latter; neighbouring strips
overlap and are added. In layers of small networks this takes half to nine tenths of the time of a convolution of the
gradients (`few_channels.pulled_last`), least for few rows, where a convolution costs more to call than to compute.
"""

from dataclasses import dataclass

from torch import Tensor

from intriguing.blind_spots.network.few_channels import Shape

_ADDITION = 24_000
"""An addition of strips takes as long as so many products of each row, at 32 rows."""
_MOST = 4500
"""Largest number of values in the strips of a row: those of a batch stay in the cache of a core."""


@dataclass(frozen=True)
class Strips:
    """The gradient in inputs of one size."""

    matrix: Tensor
    """(w * O, h * l * C): from the gradients of w places to a strip of h rows and l columns of the input."""
    shape: Shape
    width: int
    """w"""

    @classmethod
    def of(cls, weight: Tensor, shape: Shape) -> "Strips | None":
        """For a convolution's weight (O, C, h, h); None where strips of no width are quicker than a convolution."""
        rows, columns = shape.outputs
        costs = []
        for width in range(1, columns + 1):
            values = rows * (columns // width) * weight[0].numel() * _across(shape, width) // shape.taps
            additions = columns // width * shape.reach
            if columns % width == 0 and values <= _MOST:
                costs.append((values * width * len(weight) + additions * _ADDITION, width))
        if shape.stride == 1 or not costs:
            return None
        _, width = min(costs)
        return cls(_matrix(weight, shape, width), shape, width)

    def __call__(self, gradient: Tensor) -> Tensor:
        """The gradient (B, C, H, W) in the input from that in the output (B, O, h, w), both channels last."""
        taps, stride, across = self.shape.taps, self.shape.stride, _across(self.shape, self.width)
        (top, left), (high, wide) = self.shape.padding, self.shape.size
        count, channels, rows, columns = gradient.shape
        parts, length = columns // self.width, self.matrix.shape[1]
        line = length // taps
        row = (wide + 2 * left) * line // across
        strips = gradient.permute(0, 2, 3, 1).reshape(-1, self.width * channels).mm(self.matrix)
        found = strips.new_zeros(count, high + 2 * top, row)
        outer, between = found.stride(0), parts * length
        for part in range(parts):
            begin = part * self.width * stride * line // across
            for tap in range(0, taps, stride):
                size = (count, rows, min(stride, taps - tap), line)
                here = strips.as_strided(size, (rows * between, between, line, 1), part * length + tap * line)
                found.as_strided(size, (outer, stride * row, row, 1), tap * row + begin).add_(here)
        found = found.unflatten(2, (wide + 2 * left, -1))
        return found[:, top : top + high, left : left + wide].permute(0, 3, 1, 2)


def _across(shape: Shape, width: int) -> int:
    """The number of the input's columns that the outputs of so many neighbouring places meet."""
    return shape.stride * (width - 1) + shape.taps


def _matrix(weight: Tensor, shape: Shape, width: int) -> Tensor:
    """The matrix of `Strips` for a weight (O, C, h, h)."""
    outputs, channels, taps, _ = weight.shape
    matrix = weight.new_zeros(width, outputs, taps, _across(shape, width), channels)
    for place in range(width):
        begin = shape.stride * place
        matrix[place, :, :, begin : begin + taps] = weight.permute(0, 2, 3, 1)
    return matrix.reshape(width * outputs, -1)
