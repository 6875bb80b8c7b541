"""What linear bounds cost: the operations of one image, counted before any is done."""

import math

from intriguing.stability.tracing.graph import Graph, Node
from intriguing.stability.tracing.ops import (
    Affine,
    Concat,
    Convolution,
    Dense,
    Elementwise,
    Linear,
    MaxPool,
    Product,
    Sum,
    size,
)

_EVALUATIONS = 5
"""How many radii are tried, on average."""
_STEP = 1e5
"""Operations that a pass back through one node costs at least, for an image of a block."""


def operations(graph: Graph) -> float:
    """Floating-point operations that the linear bounds of one image take, to within a factor of about two.

    The interval of every value that a nonlinear operation reads takes two rows that go back to the input.
    """
    last = len(graph.nodes) - 1
    each = [0.0, *(_row(graph, node) for node in graph.nodes[1:])]
    affine, before, back = [True], [0], [0.0]
    for i, node in enumerate(graph.nodes[1:], start=1):
        affine.append(isinstance(node.op, Affine | Sum | Concat) and all(affine[j] for j in node.inputs))
        # A row that goes back passes each operation before it once, by however many branches.
        before.append(1 << i)
        for j in node.inputs:
            before[i] |= before[j]
        chain = len(node.inputs) == 1 and before[i] == before[node.inputs[0]] | 1 << i
        back.append(
            back[node.inputs[0]] + each[i] if chain else sum(each[j] for j in range(i + 1) if before[i] >> j & 1)
        )
    read = {n.inputs[0] for n in graph.nodes[1:] if isinstance(n.op, Elementwise | MaxPool)}
    pixels = size(graph.nodes[0].shape)
    total = size(graph.nodes[last].shape) * back[last]
    for i in read:
        count = size(graph.nodes[i].shape)
        total += _STEP * before[i].bit_count()
        total += 4.0 * count * pixels if affine[i] else 2.0 * count * (back[i] + 4 * pixels)
    return _EVALUATIONS * total


def _row(graph: Graph, node: Node) -> float:
    """The operations that take one row from a node to its inputs."""
    values = sum(size(graph.nodes[j].shape) for j in node.inputs) + size(node.shape)
    if isinstance(node.op, Dense):
        return 2.0 * node.op.weight.numel() * max(1, math.prod(node.shape[:-1]))
    if isinstance(node.op, Product):
        return 2.0 * node.op.terms * size(node.shape)
    if isinstance(node.op, Convolution):
        smaller = node.shape if not node.op.transposed else graph.nodes[node.inputs[0]].shape
        return 2.0 * node.op.weight.numel() * math.prod(smaller[1:])
    if isinstance(node.op, Linear):
        return values * (1.0 if node.op.copies else 8.0)
    return 6.0 * values
