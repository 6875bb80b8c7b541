"""Rounding errors counted where they arise, for networks so deep that the product of their norms tells nothing.

`Rounding` carries the error of each operation to the output by the norms of all layers behind it, which grows without
end with the depth. A linear bound goes back through these layers as well, and its row at an operation says what an
error there is worth: a row `a` loses |a| . d where no value of the operation errs by more than `d`. The intervals that
follow hold the values of the network as it is evaluated, so the lines around its functions hold for these.
"""

import math

import torch
from torch import Tensor

from intriguing.stability.lipschitz.gains import slope_bound
from intriguing.stability.region import Region
from intriguing.stability.rounding import Rounding, in_moduli, parts_of
from intriguing.stability.tracing.graph import Graph
from intriguing.stability.tracing.ops import Affine, Concat, Elementwise, Op, Scale, Sum, flattened


class Steps:
    """The errors of the operations of a network, one after the other, for changes of images up to a radius each."""

    def __init__(self, rounding: Rounding, graph: Graph, values: list[Tensor], region: Region, radius: Tensor) -> None:
        self.rounding = rounding
        self.graph = graph
        self.values = values
        room = torch.minimum(torch.maximum(region.high, -region.low), radius[:, None])
        self.moved = [room.reshape(values[0].shape)]
        """For every node (B, *shape): how far its computed value lies from the exact one at the image, at most."""
        self.errors: dict[int, Tensor] = {}
        """For nodes that round: how far at most their values (B, size) are from the exact result on the same inputs."""
        self.carried = {0: torch.zeros_like(self.moved[0])}
        """For nodes that are affine in the input: how far rounding takes them from their exact values, (B, *shape)."""

    def reach(self, node: int) -> None:
        """Go on up to `node`."""
        for i in range(len(self.moved), node + 1):
            self._next(i)

    def learn(self, node: int, low: Tensor, high: Tensor) -> None:
        """Take in an interval of the computed values of `node`, the last one that was reached."""
        at = self.values[node]
        self.moved[node] = torch.minimum(self.moved[node], torch.maximum(high - at, at - low).clamp(min=0))

    def softening(self) -> Tensor:
        """What a softmax behind the outputs can blur in the difference of two logits, (B,)."""
        self.reach(len(self.values) - 1)
        largest = torch.linalg.vector_norm(flattened(self.values[-1].abs() + self.moved[-1]), dim=1)
        return math.sqrt(2) * self.rounding.blur(largest)

    def _next(self, i: int) -> None:
        node = self.graph.nodes[i]
        op, inputs = node.op, node.inputs
        assert op is not None
        moved = _spread(op, [self.moved[j] for j in inputs])
        share = self.rounding.share(op)
        own = None
        if share:
            own = 1.01 * share * self._size(i, op, inputs, moved)
            moved = moved + own
            self.errors[i] = flattened(own)
        self.moved.append(moved)
        if isinstance(op, Affine | Sum | Concat) and all(j in self.carried for j in inputs):
            carried = _spread(op, [self.carried[j] for j in inputs])
            self.carried[i] = carried if own is None else carried + own

    def _size(self, i: int, op: Op, inputs: tuple[int, ...], moved: Tensor) -> Tensor:
        """What the roundings of an operation are relative to, at most."""
        largest = [self.values[j].abs() + self.moved[j] for j in inputs]
        if isinstance(op, Elementwise):
            return self.values[i].abs() + moved + largest[0] * slope_bound(op) * 0.5
        if isinstance(op, Affine):
            out = in_moduli(op, largest[0])
            out = out if op.offset is None else out + op.offset.abs()
            return out + 2 * parts_of(op) if isinstance(op, Scale) and op.offset is not None else out
        if isinstance(op, Sum):
            largest = [abs(c) * x for c, x in zip(op.coefficients, largest, strict=True)]
        return torch.stack(largest).sum(0)


def _spread(op: Op, moved: list[Tensor]) -> Tensor:
    """How far the result of `op` moves at most, where its inputs move by up to `moved`."""
    if isinstance(op, Affine):
        return in_moduli(op, moved[0])
    if isinstance(op, Elementwise):
        return slope_bound(op) * moved[0]
    if isinstance(op, Sum):
        return torch.stack([abs(c) * m for c, m in zip(op.coefficients, moved, strict=True)]).sum(0)
    # Max-pooling and concatenation: the largest of what moves, or what moves side by side.
    return op.apply(*moved)
