"""The operations that a traced network is made of: affine maps, elementwise functions, pools, sums.

Tensors are (R, *shape): R rows (images, or rows of a linear form), then the shape of one sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

Shape = tuple[int, ...]


class Op:
    """One operation. `inputs` of `apply` are (R, *shape) each, its result is (R, *output shape)."""

    kind: str

    def apply(self, *inputs: Tensor) -> Tensor:
        """The operation itself, in the dtype of its inputs."""
        raise NotImplementedError

    def to(self, like: Tensor) -> "Op":
        """The operation with its constants on the device and of the dtype of `like`."""
        moved = {k: v.to(like) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved) if moved else self  # type: ignore[type-var]


class Affine(Op):
    """x -> A x + offset. `linear` is A, `adjoint` its transpose."""

    offset: Tensor | None

    def linear(self, x: Tensor) -> Tensor:
        """A x for rows x (R, *input shape)."""
        raise NotImplementedError

    def apply(self, *inputs: Tensor) -> Tensor:
        """A x + offset."""
        y = self.linear(inputs[0])
        return y if self.offset is None else y + self.offset

    def adjoint(self, y: Tensor, shape: Shape) -> Tensor:
        """A^T y (R, *shape) for rows y (R, *output shape); `shape` is that of an input."""
        with torch.enable_grad():
            x = torch.zeros(len(y), *shape, dtype=y.dtype, device=y.device, requires_grad=True)
            (g,) = torch.autograd.grad(self.linear(x), x, y, create_graph=y.requires_grad)
        return g


@dataclass(frozen=True, eq=False)
class Dense(Affine):
    """x W^T + b along the last axis; weight (out, in), offset (out,)."""

    weight: Tensor
    offset: Tensor | None
    kind: str = "linear"

    def linear(self, x: Tensor) -> Tensor:  # noqa: D102
        return x @ self.weight.T

    def adjoint(self, y: Tensor, shape: Shape) -> Tensor:  # noqa: D102
        return y @ self.weight


@dataclass(frozen=True, eq=False)
class Pad(Affine):
    """Pads the last axes: `pads` as in torch.nn.functional.pad; constant, reflect, replicate or circular.

    `offset` is the border itself where the constant is not zero.
    """

    pads: tuple[int, ...]
    mode: str = "constant"
    offset: Tensor | None = None
    kind: str = "pad"

    def linear(self, x: Tensor) -> Tensor:  # noqa: D102
        return F.pad(x, self.pads, mode=self.mode)


@dataclass(frozen=True, eq=False)
class Convolution(Affine):
    """A convolution over the last `len(stride)` axes, or its transpose; `pad`, if any, comes before it."""

    weight: Tensor
    offset: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool = False
    output_padding: tuple[int, ...] = ()
    groups: int = 1
    pad: Pad | None = None
    kind: str = "convolution"

    def linear(self, x: Tensor) -> Tensor:  # noqa: D102
        x = x if self.pad is None else self.pad.linear(x)
        return torch.ops.aten.convolution(x, self.weight, None, *self._form())

    def adjoint(self, y: Tensor, shape: Shape) -> Tensor:  # noqa: D102
        inner = shape if self.pad is None else padded_shape(shape, self.pad.pads)
        x = y.new_zeros(()).expand(len(y), *inner)
        g = torch.ops.aten.convolution_backward(y, x, self.weight, None, *self._form(), [True, False, False])[0]
        return g if self.pad is None else self.pad.adjoint(g, shape)

    def _form(self) -> tuple:
        extra = self.output_padding or (0,) * len(self.stride)
        return self.stride, self.padding, self.dilation, self.transposed, extra, self.groups


@dataclass(frozen=True, eq=False)
class Scale(Affine):
    """x * weight + offset, value by value (both are broadcast): normalisations by constants, batch norm in eval."""

    weight: Tensor
    offset: Tensor | None
    kind: str = "scale"
    parts: Tensor | None = None
    """The sum of the moduli of what `offset` is computed from, where that is more than its own: the roundings of a
    batch norm with a large mean and a bias that undoes it are relative to these."""

    def linear(self, x: Tensor) -> Tensor:  # noqa: D102
        return x * self.weight

    def adjoint(self, y: Tensor, shape: Shape) -> Tensor:  # noqa: D102
        return (y * self.weight).sum_to_size(len(y), *shape)


@dataclass(frozen=True, eq=False)
class Shift(Affine):
    """x + offset."""

    offset: Tensor | None
    kind: str = "shift"

    def linear(self, x: Tensor) -> Tensor:  # noqa: D102
        return x

    def adjoint(self, y: Tensor, shape: Shape) -> Tensor:  # noqa: D102
        return y


@dataclass(frozen=True, eq=False)
class Reshape(Affine):
    """The same values in another shape."""

    shape: Shape
    offset: Tensor | None = None
    kind: str = "reshape"

    def linear(self, x: Tensor) -> Tensor:  # noqa: D102
        return x.reshape(len(x), *self.shape)

    def adjoint(self, y: Tensor, shape: Shape) -> Tensor:  # noqa: D102
        return y.reshape(len(y), *shape)


@dataclass(frozen=True, eq=False)
class Linear(Affine):
    """Any other linear map, given as a function of rows: pooling by mean, permutation, slice, interpolation.

    `matrices` are the maps (outputs, inputs) of some of its axes where it is their Kronecker product with the identity
    of the others, empty where it is not. `copies` says that it moves values: each output is one input value or 0. An
    input value is read by `times` outputs at most.
    """

    function: Callable[[Tensor], Tensor]
    kind: str
    matrices: tuple[Tensor, ...] = ()
    copies: bool = False
    offset: Tensor | None = None
    times: int = 1

    def linear(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.function(x)

    def adjoint(self, y: Tensor, shape: Shape) -> Tensor:  # noqa: D102
        # What reads no input has no gradient that autograd could find.
        return super().adjoint(y, shape) if self.times else y.new_zeros(len(y), *shape)


@dataclass(frozen=True, eq=False)
class Product(Affine):
    """Sums of products of the input's values with those of a constant tensor: einsum, matmul, stacks of matrices.

    The map is the matrices `blocks(weight)` (K, m, n) side by side, each applied to values of its own, times a map of
    norm `factor` that comes before: so its norm is `factor` times the largest of theirs. An output is the sum of
    `terms` products.
    """

    weight: Tensor
    function: Callable[[Tensor, Tensor], Tensor]
    """(x (R, *shape), weight) -> (R, *output shape), linear in both."""
    blocks: Callable[[Tensor], Tensor]
    terms: int
    factor: float = 1.0
    kind: str = "product"
    offset: Tensor | None = None
    moduli: Tensor | None = None
    """The moduli that the roundings of `weight` are relative to, where it is itself a product of constants that the
    model may multiply with the input one by one; None where they are its own."""

    def linear(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.function(x, self.weight)


@dataclass(frozen=True, eq=False)
class Elementwise(Op):
    """A function of single values, one of `relaxations.FUNCTIONS` where it can be relaxed."""

    kind: str
    parameters: tuple[float, ...] = ()
    function: Callable[..., Tensor] = field(default=torch.relu)
    weight: Tensor | None = None
    """A parameter for each value of a sample (*shape), the second argument of `function`; None without any."""

    def apply(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        x = inputs[0]
        return self.function(x) if self.weight is None else self.function(x, self.beside(x))

    def beside(self, x: Tensor) -> Tensor:
        """The weights as they stand beside `x`: (R, *shape), or flat with the values of a sample last."""
        assert self.weight is not None
        return self.weight if x.shape[1:] == self.weight.shape else self.weight.flatten()


@dataclass(frozen=True, eq=False)
class MaxPool(Op):
    """The maximum of each window of the last axes; `windows[a][j]` lists the positions of window j along axis a."""

    function: Callable[[Tensor], Tensor]
    windows: tuple[tuple[tuple[int, ...], ...], ...]
    kind: str = "max_pool"

    def apply(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        return self.function(inputs[0])


@dataclass(frozen=True, eq=False)
class Sum(Op):
    """The sum of `coefficients[i] * input i`; inputs that are broadcast give an infinite bound, as unknown ones do."""

    coefficients: tuple[float, ...]
    kind: str = "sum"

    def apply(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        total = inputs[0] if self.coefficients[0] == 1 else self.coefficients[0] * inputs[0]
        for c, x in zip(self.coefficients[1:], inputs[1:], strict=True):
            total = total + (x if c == 1 else c * x)
        return total


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """The inputs side by side along `axis` (of a batch: the rows are axis 0), which is a new one where it `stacks`."""

    axis: int
    stacks: bool = False
    kind: str = "concat"

    def apply(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        return torch.stack(inputs, self.axis) if self.stacks else torch.cat(inputs, self.axis)

    def parts(self, rows: Tensor, shapes: list[Shape]) -> list[Tensor]:
        """`rows` (B, R, *output shape) as rows at each input, whose `shapes` are given."""
        if self.stacks:
            return list(rows.unbind(self.axis + 1))
        return list(rows.split([s[self.axis - 1] for s in shapes], dim=self.axis + 1))


@dataclass(frozen=True, eq=False)
class Smooth(Op):
    """An operation of which only a global Lipschitz bound is known: softmax, layer norm, local response norm."""

    kind: str
    function: Callable[[Tensor], Tensor]
    bound: float
    attained: float
    """A value that the Lipschitz constant is at least; NaN where none is known."""
    local: Callable[[Tensor, Tensor], Tensor] | None = None
    """(values (B, *shape), radii (B,)) -> bounds (B,) on the Lipschitz constant within these distances of them."""
    error: Callable[[Tensor, Tensor], Tensor] | None = None
    """The same -> bounds (B,) on the L2 error of the result by its own roundings, in unit roundoffs."""

    def apply(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        return self.function(inputs[0])


@dataclass(frozen=True, eq=False)
class Several(Op):
    """Operations in place of one. Each reads, by number, the inputs and then the results of those before it."""

    steps: tuple[tuple[Op, tuple[int, ...]], ...]
    kind: str = "several"

    @classmethod
    def chain(cls, *ops: Op) -> "Several":
        """Operations one after the other on one input."""
        return cls(tuple((op, (place,)) for place, op in enumerate(ops)))


@dataclass(frozen=True, eq=False)
class Unknown(Op):
    """An operation that cannot be bounded. `kind` is its name; `follows`: another one before it stands in the way."""

    kind: str
    follows: bool = False

    def apply(self, *inputs: Tensor) -> Tensor:  # noqa: D102
        raise NotImplementedError(self.kind)


def flattened(values: Tensor, keep: int = 1) -> Tensor:
    """`values` with all axes behind the first `keep` as one, also where there is none behind them."""
    return values.flatten(keep) if values.ndim > keep else values.unsqueeze(keep)


def padded_shape(shape: Shape, pads: tuple[int, ...]) -> Shape:
    """The shape after padding the last axes by `pads` (last axis first, low then high)."""
    out = list(shape)
    for i in range(len(pads) // 2):
        out[-1 - i] += pads[2 * i] + pads[2 * i + 1]
    return tuple(out)


def size(shape: Shape) -> int:
    """The number of values of a sample of `shape`."""
    return math.prod(shape)
