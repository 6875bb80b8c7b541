"""Linear lower bounds of a network around an image, by going back from its outputs through lines around each function.

CROWN (Zhang et al. 2018, arXiv:1811.00866) on a traced graph, for changes of bounded L2 norm inside a box.
"""

import math
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.stability.lines import relaxations
from intriguing.stability.lines.relu_ball import bending_norms, relu_ball
from intriguing.stability.region import Region
from intriguing.stability.rounding import Rounding
from intriguing.stability.stepwise import Steps
from intriguing.stability.tracing.graph import Graph, Node
from intriguing.stability.tracing.ops import Affine, Concat, Elementwise, MaxPool, Shape, Sum, flattened, size

_MATRIX = 2**24
"""Entries of the matrix of a layer that is affine in the input, up to which it is kept."""
_MANY = 600
"""Rows per image above which the balls are left out: those of a wide layer's intervals, where they cost the most."""
_NARROW = 256
"""Up to so many values of a layer that is affine in the input, the ball is that of the values that may bend."""
_HELD = 2**21
"""Numbers that the rows of one pass back may hold per step."""


@dataclass(frozen=True)
class Form:
    """rows . f(x + r) >= constant + slope . r for every r of the region with |r| <= radius: (B, R), (B, R, n)."""

    constant: Tensor
    slope: Tensor


Intervals = dict[int, tuple[Tensor, Tensor]]
"""For nodes that a nonlinear operation reads: the ends (B, *shape) of an interval that holds its values."""


Slopes = dict[int, tuple[Tensor, Tensor]]
"""For elementwise nodes: the slopes (B, R, size) of the lines below and above, for each row of a form its own."""


def can_bound(graph: Graph) -> bool:
    """Whether every operation of `graph` can be bounded by lines."""
    return all(has_lines(n) for n in graph.nodes[1:])


def has_lines(node: Node) -> bool:
    """Whether the operation of `node` can be bounded by lines."""
    if isinstance(node.op, Elementwise):
        return relaxations.can_relax(node.op)
    return isinstance(node.op, Affine | MaxPool | Sum | Concat)


class LinearBounds:
    """Bounds of `graph` around flat images; constants of the graph decide dtype and device."""

    def __init__(self, graph: Graph, like: Tensor) -> None:
        self.graph = graph.to(like)
        self.like = like
        self.size = size(graph.nodes[0].shape)
        self.affine = [True]
        for node in graph.nodes[1:]:
            plain = isinstance(node.op, Affine | Sum | Concat)
            self.affine.append(plain and all(self.affine[i] for i in node.inputs))
        self.nonlinear = [i for i, n in enumerate(graph.nodes) if isinstance(n.op, Elementwise | MaxPool)]
        self.read = sorted({self.graph.nodes[i].inputs[0] for i in self.nonlinear})
        self.matrices: dict[int, Tensor] = {}
        self.grams: dict[int, Tensor] = {}
        self.many = _MANY
        self.radii: dict[int, Tensor] = {}
        self.slopes: Slopes = {}
        self.lines: dict[int, tuple[Tensor, relaxations.Lines]] = {}
        """The lines of elementwise nodes, each with the lower ends that they are of."""
        self.centres: list[Tensor] = []
        self.rounding: Rounding | None = None
        """Where given, intervals and forms hold for the network as it is evaluated, without balls."""
        self.steps: Steps | None = None
        self.pools = {i: _gather(n.op, graph.nodes[n.inputs[0]].shape, like) for i, n in enumerate(graph.nodes)
                      if isinstance(n.op, MaxPool)}  # fmt: skip

    def within(self, radii: dict[int, Tensor] | None) -> "LinearBounds":
        """These bounds with L2 balls around the values at the images: for nodes, the radii (B,) of what they can do."""
        other = copy(self)
        other.radii = radii or {}
        return other

    def without_balls(self) -> "LinearBounds":
        """These bounds by lines alone."""
        other = copy(self)
        other.radii = {}
        return other

    def with_slopes(self, slopes: Slopes) -> "LinearBounds":
        """These bounds with lines of the given slopes, for forms of as many rows."""
        other = copy(self)
        other.slopes = slopes
        return other

    def intervals(
        self, values: list[Tensor], region: Region, radius: Tensor, known: Intervals | None = None
    ) -> Intervals:
        """Intervals for changes of up to `radius` (B,); `values` are those of the nodes at the images.

        `known` are intervals of a larger radius: where they prove that a ReLU does not bend they are kept.
        """
        found: Intervals = {}
        self.centres = values
        if self.rounding is not None:
            self.steps = Steps(self.rounding, self.graph, values, region, radius)
        for i in self.read:
            if self.steps is not None:
                self.steps.reach(i)
            found[i] = self._interval(i, values, region, radius, found, known)
            if i in self.radii and self.affine[i] and size(self.graph.nodes[i].shape) <= _NARROW:
                norm = bending_norms(self._gram(i), *(flattened(end) for end in found[i]))
                self.radii = self.radii | {i: torch.minimum(self.radii[i], norm * radius)}
            if self.steps is not None:
                self.steps.learn(i, *found[i])
        if self.steps is not None:
            self.steps.reach(len(values) - 1)
        return found

    def form(self, node: int, rows: Tensor, values: list[Tensor], intervals: Intervals) -> Form:
        """The linear lower bound of `rows` (B or 1, R, *shape of node) times the value of `node`."""
        slope, constant = self._back(node, rows, intervals)
        x = flattened(values[0])
        if len(slope) == 1 and len(x) > 1:
            slope = slope.expand(len(x), -1, -1)
        constant = constant + torch.bmm(slope, x[:, :, None]).squeeze(2)
        return Form(constant, slope)

    def _interval(
        self, i: int, values: list[Tensor], region: Region, radius: Tensor, found: Intervals, known: Intervals | None
    ) -> tuple[Tensor, Tensor]:
        shape, value = self.graph.nodes[i].shape, values[i]
        count = size(shape)
        reach = radius[:, None]
        if self.affine[i] and count * self.size <= _MATRIX:
            down, up = ((reach * n).reshape(value.shape) for n in region.shared_norms(self._matrix(i)))
            error = 0.0 if self.steps is None else self.steps.carried[i]
            return self._widened(value - down - error, value + up + error)
        index = self._open(i, known)
        if index is None:
            low, high = self._ends(i, torch.arange(count, device=value.device), values, region, radius, found)
            return self._widened(low.reshape(value.shape), high.reshape(value.shape))
        assert known is not None
        low, high = flattened(known[i][0]).clone(), flattened(known[i][1]).clone()
        if len(index):
            below, above = self._ends(i, index, values, region, radius, found)
            low[:, index], high[:, index] = torch.maximum(low[:, index], below), torch.minimum(high[:, index], above)
        return low.reshape(value.shape), high.reshape(value.shape)

    def _open(self, i: int, known: Intervals | None) -> Tensor | None:
        """The values of node `i` that only ReLUs read and that may bend for some image; None where all are needed."""
        readers = [n.op for n in self.graph.nodes if i in n.inputs and isinstance(n.op, Elementwise | MaxPool)]
        if known is None or i not in known or not all(r.kind == "relu" for r in readers):
            return None
        low, high = known[i]
        return flattened((low < 0) & (high > 0)).any(0).nonzero().squeeze(1)

    def _ends(
        self, i: int, index: Tensor, values: list[Tensor], region: Region, radius: Tensor, found: Intervals
    ) -> tuple[Tensor, Tensor]:
        """The ends (B, len(index)) for some of the values of node `i`."""
        shape = self.graph.nodes[i].shape
        widest = max(size(n.shape) for n in self.graph.nodes[: i + 1])
        step = max(8, _HELD // (2 * len(radius) * widest))
        low, high = [], []
        for part in index.split(step):
            unit = torch.zeros(2 * len(part), size(shape), dtype=self.like.dtype, device=self.like.device)
            unit[torch.arange(len(part)), part] = 1.0
            unit[len(part) + torch.arange(len(part)), part] = -1.0
            form = self.form(i, unit.reshape(1, -1, *shape), values, found)
            least = form.constant - radius[:, None] * region.norms(form.slope)
            low.append(least[:, : len(part)])
            high.append(-least[:, len(part) :])
        return torch.cat(low, 1), torch.cat(high, 1)

    def _widened(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Ends with room for the rounding of this computation."""
        slack = 1e-9 if self.like.dtype == torch.float64 else 1e-5
        room = slack * (low.abs() + high.abs() + 1e-3)
        return low - room, high + room

    def _lines(self, i: int, op: Elementwise, low: Tensor, high: Tensor) -> relaxations.Lines:
        """The lines (B, size) around an elementwise node, computed once for all passes back through it."""
        kept = self.lines.get(i)
        if kept is None or kept[0] is not low:
            below, least, above, most = (flattened(t) for t in relaxations.lines(op, low, high))
            kept = self.lines[i] = low, (below, least, above, most)
        return kept[1]

    def _matrix(self, i: int) -> Tensor:
        """The matrix (size of node, n) of a node that is affine in the input."""
        if i not in self.matrices:
            shape = self.graph.nodes[i].shape
            unit = torch.eye(size(shape), dtype=self.like.dtype, device=self.like.device)
            exact = copy(self)
            exact.steps = None
            self.matrices[i] = exact._back(i, unit.reshape(1, -1, *shape), {})[0][0]
        return self.matrices[i]

    def _gram(self, i: int) -> Tensor:
        """The products (size of node, size of node) of the rows of that matrix."""
        if i not in self.grams:
            matrix = self._matrix(i)
            self.grams[i] = matrix @ matrix.T
        return self.grams[i]

    def _back(self, start: int, rows: Tensor, intervals: Intervals) -> tuple[Tensor, Tensor]:
        """The slope (B or 1, R, n) in the input and the constant (B or 1, R) of a lower bound of `rows` at `start`."""
        pending = {start: rows}
        constant = rows.new_zeros(rows.shape[:2])
        for i in range(start, 0, -1):
            if i not in pending:
                continue
            a, node = pending.pop(i), self.graph.nodes[i]
            if self.steps is not None and i in self.steps.errors:
                constant = constant - _times(flattened(a, 2).abs(), self.steps.errors[i])
            for source, part, shift in self._step(i, node, a, intervals):
                pending[source] = pending[source] + part if source in pending else part
                constant = constant if shift is None else constant + shift
        slope = pending.get(0)
        if slope is None:
            slope = rows.new_zeros(*rows.shape[:2], self.size)
        return flattened(slope, 2), constant

    def _step(self, i: int, node: Node, a: Tensor, intervals: Intervals) -> list[tuple[int, Tensor, Tensor | None]]:
        """What rows `a` at `node` are in its inputs, each with what it adds to the constant."""
        op, shapes = node.op, [self.graph.nodes[j].shape for j in node.inputs]
        if isinstance(op, Affine):
            flat = a.reshape(-1, *node.shape)
            part = op.adjoint(flat, shapes[0]).reshape(*a.shape[:2], *shapes[0])
            if op.offset is None:
                return [(node.inputs[0], part, None)]
            offset = (
                op.offset.expand(1, *node.shape).reshape(-1) if op.offset.ndim else op.offset.expand(size(node.shape))
            )
            return [(node.inputs[0], part, flattened(a, 2) @ offset)]
        if isinstance(op, Sum):
            return [(j, c * a, None) for j, c in zip(node.inputs, op.coefficients, strict=True)]
        if isinstance(op, Concat):
            return [(j, p.contiguous(), None) for j, p in zip(node.inputs, op.parts(a, shapes), strict=True)]
        source = node.inputs[0]
        low, high = intervals[source]
        if isinstance(op, MaxPool):
            part, shift = _pool_back(a, self.pools[i], low, high)
            return [(source, part.reshape(*part.shape[:2], *shapes[0]), shift)]
        assert isinstance(op, Elementwise)
        flat = flattened(a, 2)
        plus = flat.clamp(min=0)
        if i in self.slopes:
            ends = [flattened(t)[:, None].expand_as(self.slopes[i][0]) for t in (low, high)]
            below, least, above, most = relaxations.lines(op, ends[0], ends[1], self.slopes[i])
            part = flat * above + plus * (below - above)
            shift = (flat * most + plus * (least - most)).sum(2)
        else:
            below, least, above, most = self._lines(i, op, low, high)
            part = flat * above[:, None] + plus * (below - above)[:, None]
            shift = _times(flat, most) + _times(plus, least - most)
        if source in self.radii and op.kind == "relu" and a.shape[1] <= self.many:
            at = flattened(self.centres[source])
            ball = relu_ball(flat, part, at, flattened(low), flattened(high), self.radii[source])
            shift = torch.maximum(shift, ball)
        return [(source, part.reshape(*part.shape[:2], *shapes[0]), shift)]


def _times(rows: Tensor, vector: Tensor) -> Tensor:
    """(B or 1, R, N) times (B, N): (B, R)."""
    if len(rows) == 1:
        return vector @ rows[0].T
    return torch.bmm(rows, vector[:, :, None]).squeeze(2)


def _gather(op: MaxPool, shape: Shape, like: Tensor) -> Tensor:
    """For every window of a max-pool the flat positions (windows, K) of what it reads; the first one fills up gaps."""
    d = len(op.windows)
    position = torch.arange(size(shape), device=like.device).reshape(-1, *shape[-d:])
    table = position
    for axis, windows in enumerate(op.windows):
        widest = max(len(w) for w in windows)
        index = torch.tensor([[*w, *[w[0]] * (widest - len(w))] for w in windows], device=like.device)
        table = table.index_select(axis + 1, index.flatten()).unflatten(axis + 1, index.shape)
        table = table.movedim(axis + 2, -1)
    return table.reshape(-1, math.prod(table.shape[d + 1 :]))


def _pool_back(a: Tensor, table: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Rows `a` at a max-pool's output as rows at its input (B, R, n), and what they add to the constant.

    Below: the maximum is at least any one of its inputs; the one whose interval lies highest is taken. Above: with m
    that input and t the largest upper end of the others, it is at most max(z_m, t), which is convex in z_m and so below
    its chord over the interval of z_m.
    """
    count = low[0].numel()
    low, high = flattened(low)[:, table], flattened(high)[:, table]
    best = (low + high).argmax(2, keepdim=True)
    low_m, high_m = low.gather(2, best).squeeze(2), high.gather(2, best).squeeze(2)
    chosen = table[None].expand(len(low), -1, -1).gather(2, best)
    rest = high.masked_fill(table[None] == chosen, -torch.inf).amax(2)
    floor = torch.maximum(rest, low_m)
    width = high_m - low_m
    flat = width <= 1e-9 * (1 + high_m.abs())
    slope = ((torch.maximum(high_m, rest) - floor) / torch.where(flat, 1.0, width)).clamp(0, 1)
    slope = torch.where(flat, torch.where(rest < low_m, 1.0, 0.0), slope)
    # The chord's height is set so that it holds at both ends, whatever the slope was rounded to.
    shift = torch.maximum(floor - slope * low_m, torch.maximum(high_m, rest) - slope * high_m)
    shift = shift + 1e-9 * (shift.abs() + floor.abs().nan_to_num(posinf=0.0, neginf=0.0))
    rows = flattened(a, 2)
    plus = rows.clamp(min=0)
    part = (rows - plus) * slope[:, None] + plus
    index = chosen.squeeze(2)[:, None].expand(len(low), rows.shape[1], -1)
    out = a.new_zeros(len(low), rows.shape[1], count)
    out.scatter_add_(2, index, part.expand_as(index).contiguous())
    return out, _times(rows - plus, shift)
