"""How far the float32 network, as it is evaluated, can lie from the network in exact arithmetic.

Every operation adds an error of its own, which the rest of the network carries on with at most its Lipschitz constant
(a telescoping sum, exact arithmetic behind each error). An inner product of n terms in any order, fused or not, errs by
at most n u / (1 - n u) times the product of the moduli (Higham 2002, "Accuracy and Stability of Numerical Algorithms",
section 3.1); convolutions may be computed by transforms that err more and get four times that.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from intriguing.stability.gains import gain, slope_bound
from intriguing.stability.graph import Graph, Node
from intriguing.stability.ops import (
    Affine,
    Concat,
    Convolution,
    Dense,
    Elementwise,
    Linear,
    MaxPool,
    Op,
    Reshape,
    Scale,
    Shift,
    Sum,
    size,
)

_UNIT = 2.0**-24


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

    @classmethod
    def of(cls, graph: Graph, softened: bool = False) -> "Rounding":
        """The constants of `graph` (float64)."""
        gains, spread = [1.0], [1.0]
        for node in graph.nodes[1:]:
            shapes = [graph.nodes[i].shape for i in node.inputs]
            assert node.op is not None
            gains.append(gain(node.op, shapes, node.shape, norm=False).upper)
            spread.append(_moduli_gain(node, graph))
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
        return cls(graph, gains, reach, carry, spread, softened)

    @property
    def product(self) -> float:
        """The Lipschitz bound of the whole network."""
        return self.reach[-1]

    def error(self, values: list[Tensor], radius: Tensor) -> Tensor:
        """A bound (B,) on the L2 error of the outputs, for every change of L2 norm up to `radius` (B,).

        `values` are those of the nodes at the images, float64.
        """
        total = torch.zeros_like(radius)
        if self.softened:
            largest = torch.linalg.vector_norm(values[-1].flatten(1), dim=1) + self.reach[-1] * radius
            total = 32 * _UNIT * (1 + largest)
        for i, node in enumerate(self.graph.nodes[1:], start=1):
            op = node.op
            assert op is not None
            terms = _terms(op)
            if terms == 0:
                continue
            share = terms * _UNIT / (1 - terms * _UNIT) if terms * _UNIT < 0.5 else math.inf
            inputs = [values[j] for j in node.inputs]
            at = _modulus(op, inputs).flatten(1)
            further = self.spread[i] * max(self.reach[j] for j in node.inputs)
            # Values are those of the exact network; the computed ones differ by parts in a million, hence the 1.01.
            total = total + self.carry[i] * share * 1.01 * (torch.linalg.vector_norm(at, dim=1) + further * radius)
        return total


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
    if isinstance(op, Convolution):
        return 4 * (op.weight[0].numel() * (op.groups if op.transposed else 1) + 2)
    if isinstance(op, Linear):
        return 0 if op.copies else 4 * max((m.shape[1] for m in op.matrices), default=64) ** max(len(op.matrices), 1)
    if isinstance(op, Scale):
        # A batch norm computes (x - mean) / sqrt(var + eps) * weight + bias in one of several orders.
        return 12
    if isinstance(op, Elementwise):
        return 0 if op.kind in ("relu", "abs", "clamp", "clamp_min", "hardtanh", "relu6") else 16
    if isinstance(op, Shift | Sum):
        return 3
    return 0


def _moduli(op: Affine) -> Affine:
    """The operator with the moduli of its weights and offset."""
    changed = {n: v.abs() for n, v in vars(op).items() if isinstance(v, Tensor)}
    return replace(op, **changed) if changed else op  # type: ignore[type-var]


def _modulus(op: Op, inputs: list[Tensor]) -> Tensor:
    """The moduli that the roundings of `op` are relative to: |A| |x| + |offset|, or the size of values."""
    if isinstance(op, Affine):
        out = _moduli(op).apply(inputs[0].abs())
        return out + 2 * op.offset.abs() if isinstance(op, Scale) and op.offset is not None else out
    if isinstance(op, Elementwise):
        return op.apply(inputs[0]).abs() + inputs[0].abs() * slope_bound(op) * 0.5
    return sum((x.abs() for x in inputs[1:]), inputs[0].abs())


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
