"""How far the float32 network, as it is evaluated, can lie from the network in exact arithmetic.

Every operation adds an error of its own, which the rest of the network carries on with at most its Lipschitz constant
(a telescoping sum, exact arithmetic behind each error). An inner product of n terms in any order, fused or not, errs by
at most n u / (1 - n u) times the product of the moduli (Higham 2002, "Accuracy and Stability of Numerical Algorithms",
section 3.1); convolutions may be computed by transforms that err more and get four times that. Where torch may round
the factors of products first (TF32 on a GPU), each product errs by as much besides.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from intriguing.stability.lipschitz.gains import gain, least_gain, slope_bound
from intriguing.stability.tracing.graph import Graph, Node
from intriguing.stability.tracing.ops import (
    Affine,
    Concat,
    Convolution,
    Dense,
    Elementwise,
    Linear,
    MaxPool,
    Op,
    Product,
    Reshape,
    Scale,
    Shift,
    Smooth,
    Sum,
    flattened,
    size,
)

_UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-50}
"""The unit roundoff; of float64 with room for the rounding of these bounds themselves."""


@dataclass(frozen=True)
class Rounding:
    """Bounds of the error of the float32 outputs, for a graph: at an image (B,) and per unit of the change's norm."""

    graph: Graph
    gains: list[float]
    """The gain of every node in its inputs (1 for the input)."""
    reach: list[float]
    """For every node a Lipschitz bound from the network's input to it."""
    carry: list[float]
    """For every node a Lipschitz bound from it to the output."""
    spread: list[float]
    """For every affine node a bound on the norm of the matrix of moduli."""
    softened: bool
    """Whether a softmax follows, which in float32 can make equal what differs by a few roundings."""
    products: tuple[float, float] = (0.0, 0.0)
    """Relative errors of products whose factors are rounded to fewer bits: in matrix products, in convolutions."""

    @classmethod
    def of(
        cls, graph: Graph, softened: bool = False, products: tuple[float, float] = (0.0, 0.0), *, least: bool = False
    ) -> "Rounding":
        """The constants of `graph` (float64). least: from norms of a few steps, too small, and no `spread`."""
        gains, spread = [1.0], [1.0]
        for node in graph.nodes[1:]:
            shapes = [graph.nodes[i].shape for i in node.inputs]
            assert node.op is not None
            one = least_gain(node.op, shapes, node.shape) if least else gain(node.op, shapes, node.shape, norm=False)
            gains.append(one.upper)
            spread.append(0.0 if least else _moduli_gain(node, graph))
        reach, carry = [1.0], [0.0] * len(graph.nodes)
        carry[-1] = 1.0
        for i, node in enumerate(graph.nodes[1:], start=1):
            reach.append(_join(node, [reach[j] for j in node.inputs], gains[i]))
        for i in range(len(graph.nodes) - 1, 0, -1):
            node = graph.nodes[i]
            for place, j in enumerate(node.inputs):
                if isinstance(node.op, Sum):
                    factor = abs(node.op.coefficients[place])
                else:
                    factor = 1.0 if isinstance(node.op, Concat) else gains[i]
                carry[j] += carry[i] * factor
        return cls(graph, gains, reach, carry, spread, softened, products)

    @property
    def unit(self) -> float:
        """The unit roundoff of the network's own arithmetic."""
        return _UNIT.get(self.graph.dtype, math.inf)

    def error(self, values: list[Tensor], radius: Tensor) -> Tensor:
        """A bound (B,) on the L2 error of the outputs, for every change of L2 norm up to `radius` (B,).

        `values` are those of the nodes at the images, float64.
        """
        return self._softening(values, radius) + self._carried(values, radius, len(self.graph.nodes))

    def pair_error(self, values: list[Tensor], radius: Tensor, labels: Tensor) -> Tensor:
        """A bound (B, C) on the error of the difference of each logit to that of `labels` (B,), as `error`.

        Where a dense layer is the last, its own errors are those of the two logits alone, and what came before counts
        by the pair of its rows.
        """
        last = self.graph.nodes[-1]
        if not isinstance(last.op, Dense) or values[-1].ndim != 2 or not self.gains[-1]:
            return (math.sqrt(2) * self.error(values, radius))[:, None].expand_as(values[-1])
        weight, x = last.op.weight, values[last.inputs[0]]
        positive = x.clamp(min=0) @ weight.clamp(min=0).T + x.clamp(max=0) @ weight.clamp(max=0).T
        negative = -(x.clamp(min=0) @ weight.clamp(max=0).T + x.clamp(max=0) @ weight.clamp(min=0).T)
        if last.op.offset is not None:
            positive, negative = positive + last.op.offset.clamp(min=0), negative - last.op.offset.clamp(max=0)
        # No partial sum, in any order, is larger than the sum of the terms of one sign.
        moved = torch.linalg.vector_norm(weight, dim=1) * (self.reach[last.inputs[0]] * radius)[:, None]
        own = self.share(last.op) * 1.01 * (torch.maximum(positive, negative).nan_to_num(posinf=0.0) + moved)
        before = self._carried(values, radius, len(self.graph.nodes) - 1) / self.gains[-1]
        pairs = torch.linalg.vector_norm(weight[labels][:, None] - weight, dim=2)
        softened = math.sqrt(2) * self._softening(values, radius)
        return pairs * before[:, None] + own + own.gather(1, labels[:, None]) + softened[:, None]

    def _softening(self, values: list[Tensor], radius: Tensor) -> Tensor:
        """What a softmax behind the outputs can blur."""
        return self.blur(torch.linalg.vector_norm(flattened(values[-1]), dim=1) + self.reach[-1] * radius)

    def blur(self, largest: Tensor) -> Tensor:
        """How near to each other a softmax behind the outputs, of norms up to `largest` (B,), can make two of them."""
        return 32 * self.unit * (1 + largest) if self.softened else torch.zeros_like(largest)

    def _carried(self, values: list[Tensor], radius: Tensor, stop: int) -> Tensor:
        """The errors (B,) that the nodes before `stop` make, as they reach the output."""
        total = torch.zeros_like(radius)
        for i, node in enumerate(self.graph.nodes[1:stop], start=1):
            op = node.op
            assert op is not None
            if isinstance(op, Smooth) and self.carry[i]:
                total = total + self.carry[i] * self.unit * 1.01 * _smooth_error(op, node, values, self.reach, radius)
            if _terms(op) == 0:
                continue
            at = flattened(_modulus(op, [values[j] for j in node.inputs]))
            further = self.spread[i] * max(self.reach[j] for j in node.inputs)
            # Values are those of the exact network; the computed ones differ by parts in a million, hence the 1.01.
            size_of = torch.linalg.vector_norm(at.nan_to_num(posinf=0.0), dim=1) + further * radius
            total = total + self.carry[i] * self.share(op) * 1.01 * size_of
        return total

    def share(self, op: Op) -> float:
        """The largest relative error of an output of `op`; 0 where it moves values only."""
        if _terms(op) == 0:
            return 0.0
        size_of = _terms(op) * self.unit
        share = size_of / (1 - size_of) if size_of < 0.5 else math.inf
        dense, convolved = self.products
        product = dense if isinstance(op, Dense) else convolved if isinstance(op, Convolution) else 0.0
        if isinstance(op, Product) or (isinstance(op, Linear) and not op.copies):
            product = max(dense, convolved)
        return share + product * (1 + product) * (1 + share)


def _smooth_error(op: Smooth, node: Node, values: list[Tensor], reach: list[float], radius: Tensor) -> Tensor:
    """The error (B,) of an operation that is known by its bound alone, in unit roundoffs; infinite if not known."""
    if op.error is None:
        return torch.full_like(radius, math.inf)
    source = node.inputs[0]
    return op.error(values[source], reach[source] * radius)


def _join(node: Node, before: list[float], gain_of: float) -> float:
    if isinstance(node.op, Sum):
        return sum(abs(c) * b for c, b in zip(node.op.coefficients, before, strict=True))
    if isinstance(node.op, Concat):
        return math.sqrt(sum(b * b for b in before))
    return gain_of * max(before)


def _terms(op: Op) -> int:
    """How many roundings an output of `op` goes through; 0 where it moves values only."""
    if isinstance(op, Dense):
        return op.weight.shape[1] + 2
    if isinstance(op, Product):
        return op.terms + 2
    if isinstance(op, Convolution):
        return 4 * (op.weight[0].numel() * (op.groups if op.transposed else 1) + 2)
    if isinstance(op, Linear):
        return 0 if op.copies else 4 * max((m.shape[1] for m in op.matrices), default=64) ** max(len(op.matrices), 1)
    if isinstance(op, Scale):
        # A batch norm computes (x - mean) / sqrt(var + eps) * weight + bias in one of several orders.
        return 12
    if isinstance(op, Elementwise):
        return 0 if op.kind in ("relu", "abs", "clamp", "clamp_min", "hardtanh", "relu6") else 16
    if isinstance(op, Sum) and any(abs(c) != 1 for c in op.coefficients):
        # A product and a sum; an interpolation is a difference, a product and a sum.
        return 6
    if isinstance(op, Shift | Sum):
        return 3
    return 0


def _moduli(op: Affine) -> Affine:
    """The operator with the moduli of its weights and offset."""
    changed: dict[str, Any] = {n: v.abs() for n, v in vars(op).items() if isinstance(v, Tensor)}
    if isinstance(op, Product) and op.moduli is not None:
        changed["weight"] = op.moduli.abs()
    if isinstance(op, Linear):
        changed["matrices"] = tuple(m.abs() for m in op.matrices)
    return replace(op, **changed) if changed else op  # type: ignore[type-var]


def in_moduli(op: Affine, x: Tensor) -> Tensor:
    """|A| x for x >= 0, or more than it: A the matrix of `op`."""
    if isinstance(op, Linear) and any(bool((m < 0).any()) for m in op.matrices):
        # Cubic interpolation: its function is known, the moduli of its weights are only by their sums.
        sums = math.prod(float(m.abs().sum(1).amax()) for m in op.matrices)
        largest = flattened(x).amax(1) * sums
        shape = op.linear(x[:1]).shape[1:]
        return largest.reshape(-1, *[1] * len(shape)).expand(-1, *shape)
    return _moduli(op).linear(x)


def _modulus(op: Op, inputs: list[Tensor]) -> Tensor:
    """The moduli that the roundings of `op` are relative to: |A| |x| + |offset|, or the size of values."""
    if isinstance(op, Affine):
        out = in_moduli(op, inputs[0].abs())
        out = out if op.offset is None else out + op.offset.abs()
        return out + 2 * parts_of(op) if isinstance(op, Scale) and op.offset is not None else out
    if isinstance(op, Elementwise):
        return op.apply(inputs[0]).abs() + inputs[0].abs() * slope_bound(op) * 0.5
    if isinstance(op, Sum):
        return torch.stack([abs(c) * x.abs() for c, x in zip(op.coefficients, inputs, strict=True)]).sum(0)
    return sum((x.abs() for x in inputs[1:]), inputs[0].abs())


def parts_of(op: Scale) -> Tensor:
    """What the roundings of a scale's offset are relative to."""
    assert op.offset is not None
    return op.offset.abs() if op.parts is None else op.parts


def _moduli_gain(node: Node, graph: Graph) -> float:
    op = node.op
    if isinstance(op, Reshape | MaxPool | Concat):
        return 1.0
    if isinstance(op, Affine):
        shapes = [graph.nodes[i].shape for i in node.inputs]
        return gain(_moduli(op), shapes, node.shape, norm=False).upper
    if isinstance(op, Elementwise):
        return 2 * slope_bound(op)
    if isinstance(op, Sum):
        return 2 * sum(abs(c) for c in op.coefficients)
    return math.inf if size(node.shape) else 1.0
