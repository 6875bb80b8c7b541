"""A semidefinite lower bound for dense networks, which couples the neurons of a layer under the L2 ball.

Bounds by lines take every neuron at its worst at once; under an L2 ball that cannot be. Here each neuron gives one
quadratic inequality, (d - a h)(d - b h) <= 0, with h what enters it less what enters at the image, d what leaves it,
and a, b the least and largest secant slope through the image on the neuron's interval (the sectors of Fazlyab et al.
2019, arXiv:1906.04893, made local). With a multiplier T_i >= 0 for each, weak duality gives for any T with P(T) > 0

    margin(x + r) >= margin(x) - |r| sqrt(q^T P(T)^-1 q),    P(T) = |r|^2 + sum_i T_i (d_i - a_i h_i)(d_i - b_i h_i),

where q holds the linear form of the margin. The root is convex in T, which is found by Newton's method; any T proves a
bound, and P is the same for all classes. A pixel at the edge of the box moves one way: a multiplier n >= 0 for r_i >= 0
puts -n into q.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from intriguing.stability.lines import relaxations
from intriguing.stability.lines.linear_bounds import Intervals, LinearBounds
from intriguing.stability.region import Region
from intriguing.stability.tracing.graph import Graph
from intriguing.stability.tracing.ops import Affine, Elementwise, flattened, size

_LARGEST = 1200
"""Neurons, all layers together, up to which the bound is tried."""
_THIN = 1e-3
"""Sectors are made at least this wide: one of no width needs an infinite multiplier."""
_GRID = 160
_NEAR = 1e-6
"""Points nearer than this to the image have the tangent as their secant."""

Start = tuple[Tensor, Tensor]
"""Multipliers of the neurons (B, count) and of the box (B, C, n)."""


@dataclass(frozen=True)
class Chain:
    """A network as dense layers: W_1, f_1, W_2, f_2, ..., W_last; biases are not needed."""

    weights: list[Tensor]
    """W_k (n_k, n_(k-1)), n_0 the size of the input; the last gives the logits."""
    functions: list[int]
    """The nodes of f_k."""

    @classmethod
    def of(cls, bounds: LinearBounds) -> "Chain | None":
        """The chain that a graph is, None where it is none or is too large."""
        graph = bounds.graph
        if any(len(n.inputs) != 1 or not isinstance(n.op, Affine | Elementwise) for n in graph.nodes[1:]):
            return None
        functions = [i for i, n in enumerate(graph.nodes) if isinstance(n.op, Elementwise)]
        if not functions or sum(size(graph.nodes[i].shape) for i in functions) > _LARGEST:
            return None
        if any(relaxations.shape_of(graph.nodes[i].op) is None for i in functions):  # type: ignore[arg-type]
            return None
        ends = [*functions, len(graph.nodes)]
        weights = [_dense(graph, start, end - 1, bounds.like) for start, end in zip([0, *functions], ends, strict=True)]
        return cls(weights, functions)


class Sectors(NamedTuple):
    """The sectors of all neurons: (d_i - a_i h_i)(d_i - b_i h_i) <= 0, with d = D^T w, h = H^T w, w = (u, d_1, ...)."""

    least: Tensor
    """(B, count): the slopes a."""
    most: Tensor
    """(B, count): the slopes b."""
    leave: Tensor
    """(N, count): D, where N = n_1 + count."""
    enter: Tensor
    """(N, count): H."""


def _dense(graph: Graph, start: int, end: int, like: Tensor) -> Tensor:
    """The matrix of the affine operations after node `start` up to node `end`."""
    n = size(graph.nodes[start].shape)
    unit = torch.eye(n, dtype=like.dtype, device=like.device).reshape(n, *graph.nodes[start].shape)
    for node in graph.nodes[start + 1 : end + 1]:
        assert isinstance(node.op, Affine)
        unit = node.op.linear(unit)
    return flattened(unit).T.contiguous()


def secants(op: Elementwise, at: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The least and largest slope of a line from (at, f(at)) to another point of the curve over [low, high]."""
    shape = relaxations.shape_of(op)
    assert shape is not None
    f, tangent = op.apply, shape.slope(at)
    origin = f(at)

    def slope(z: Tensor) -> Tensor:
        step = z - at
        near = step.abs() <= _NEAR * (1 + at.abs())
        return torch.where(near, tangent, (f(z) - origin) / torch.where(near, 1.0, step))

    kinks = [torch.minimum(torch.maximum(torch.full_like(at, k), low), high) for k in shape.kinks]
    values, room = [tangent, *[slope(z) for z in (low, high, *kinks)]], 1e-9 * (1 + at.abs())
    for kink in shape.kinks:
        # Where the image lies on a kink, the slope of either side.
        on = (at - kink).abs() <= _NEAR * (1 + at.abs())
        values += [torch.where(on, shape.slope(at + side * 2 * _NEAR * (1 + at.abs())), tangent) for side in (-1, 1)]
    if shape.bend:
        cell = (high - low) / _GRID
        marks = [low + cell * i for i in range(1, _GRID)]
        values += [slope(z) for z in marks]
        # The slope changes by at most bend / 2 per unit, so between the marks of a grid by a quarter of that a cell.
        room = room + shape.bend * (cell / 4 + 4 * _NEAR * (1 + at.abs()))
        if shape.kinks:
            # Across a kink the slope is not so smooth, but it stays between the least and the largest derivative.
            beside = [z + side * _NEAR for z in kinks for side in (-1, 1)]
            values += [shape.slope(z) for z in (low, high, *beside, *marks)]
            room = room + shape.bend * cell / 2
    least, most = torch.stack(values).amin(0) - room, torch.stack(values).amax(0) + room
    spread = (_THIN - (most - least)).clamp(min=0) / 2
    return least - spread, most + spread


class Coupled:
    """The bound for a block of images (B) and all their classes (C), float64."""

    def __init__(self, chain: Chain, graph: Graph, values: list[Tensor], region: Region, rows: Tensor) -> None:
        self.chain = chain
        self.graph = graph
        self.region = region
        self.values = values
        self.first = chain.weights[0]
        self.gram = self.first @ self.first.T
        factor, info = torch.linalg.cholesky_ex(self.gram + 0.0)
        self.usable = int(info) == 0
        self.inverse = torch.cholesky_inverse(factor) if self.usable else self.gram
        self.widths = [len(w) for w in chain.weights[:-1]]
        self.count = sum(self.widths)
        self.last = rows @ chain.weights[-1]
        """(B, C, n_last): the margins in what leaves the last function."""
        self.edge_low = (region.low == 0).to(rows)
        self.edge_high = (region.high == 0).to(rows)

    def sectors(self, intervals: Intervals) -> Sectors:
        """The sectors of all neurons within these intervals."""
        least, most = [], []
        for i in self.chain.functions:
            node = self.graph.nodes[i]
            source = node.inputs[0]
            assert isinstance(node.op, Elementwise)
            a, b = secants(node.op, self.values[source], *intervals[source])
            least.append(flattened(a))
            most.append(flattened(b))
        return Sectors(torch.cat(least, 1), torch.cat(most, 1), *self._ends())

    def falls(
        self, intervals: Intervals, margins: Tensor, wrong: Tensor, turns: int, start: Start | None
    ) -> tuple[Tensor, Start]:
        """(B, C): how fast each margin can fall per unit of |r|: sqrt(q^T P^-1 q); inf where nothing is proven.

        And the multipliers, as the `start` of a call for another radius. `turns` more lower it a little further.
        """
        sectors = self.sectors(intervals)
        box = torch.zeros(*margins.shape, self.first.shape[1], dtype=margins.dtype, device=margins.device)
        multipliers = self._begin(sectors)
        steps = 8
        if start is not None:
            fits = torch.linalg.cholesky_ex(self._matrix(start[0], sectors)).info == 0
            multipliers, box = torch.where(fits[:, None], start[0], multipliers), start[1]
            steps = 4 if bool(fits.all()) else 8
        best = torch.full_like(margins, torch.inf)
        for turn in range(turns):
            steps = steps if turn == 0 else 3
            multipliers = self._newton(multipliers, sectors, box, margins, wrong, steps)
            square, box = self._boxed(multipliers, sectors, box)
            best = torch.minimum(best, square)
        return (best.clamp(min=0) * (1 + 1e-6)).sqrt(), (multipliers, box)

    def _ends(self) -> tuple[Tensor, Tensor]:
        """The matrices D and H of `Sectors`."""
        n1 = self.widths[0]
        total = n1 + self.count
        leave = self.first.new_zeros(total, self.count)
        leave[n1:] = torch.eye(self.count, dtype=leave.dtype, device=leave.device)
        enter = self.first.new_zeros(total, self.count)
        enter[:n1, :n1] = torch.eye(n1, dtype=leave.dtype, device=leave.device)
        row, column = n1, n1
        for k, weight in enumerate(self.chain.weights[1:-1], start=1):
            enter[row : row + self.widths[k - 1], column : column + self.widths[k]] = weight.T
            row, column = row + self.widths[k - 1], column + self.widths[k]
        return leave, enter

    def _matrix(self, t: Tensor, sectors: Sectors) -> Tensor:
        """P(T) (B, N, N)."""
        a, b, leave, enter = sectors
        n1 = self.widths[0]
        middle, product = (a + b) / 2, a * b
        p = (enter * (t * product)[:, None]) @ enter.T
        cross = (enter * (t * middle)[:, None])[:, :, :] @ leave.T
        p = p - cross - cross.transpose(1, 2)
        p[:, n1:, n1:] += torch.diag_embed(t)
        p[:, :n1, :n1] += self.inverse
        return p

    def _begin(self, sectors: Sectors) -> Tensor:
        """Multipliers for which P > 0: small in the first layer, and falling fast from layer to layer until it is."""
        a, b = sectors.least, sectors.most
        widths = torch.tensor(self.widths, device=a.device)
        layer = torch.arange(len(self.widths), device=a.device).repeat_interleave(widths)
        radius = (b - a) / 2
        size_of = torch.cat([torch.linalg.matrix_norm(w, 2)[None].expand(len(w)) for w in self.chain.weights[:-1]])
        t = 0.5 / (radius * size_of).square().clamp(min=1e-8)
        t = t.clamp(max=1e3)
        scale = torch.ones(len(a), 1, dtype=a.dtype, device=a.device)
        for _ in range(40):
            power = t * scale ** layer.to(a)
            fails = torch.linalg.cholesky_ex(self._matrix(power, sectors)).info > 0
            if not bool(fails.any()):
                return power
            scale = torch.where(fails[:, None], scale * 0.4, scale)
            t = torch.where(fails[:, None], t * 0.8, t)
        return t * scale ** layer.to(a)

    def _linear(self, box: Tensor) -> tuple[Tensor, Tensor]:
        """The linear form q (B, C, N) for box multipliers (B, C, n), and the part of |q|^2 that no neuron sees."""
        k = -(box @ self.first.T)
        inner = k @ self.inverse
        zeros = box.new_zeros(*box.shape[:2], self.count - self.widths[-1])
        outside = (box * box).sum(2) - (inner * k).sum(2)
        return torch.cat([inner, zeros, self.last], 2), outside.clamp(min=0)

    def _newton(self, t: Tensor, sectors: Sectors, box: Tensor, margins: Tensor, wrong: Tensor, steps: int) -> Tensor:
        """Multipliers that lower the falls of the classes that matter, by damped Newton steps in all images at once."""
        q, outside = self._linear(box)
        a, b, leave, enter = sectors
        goal = margins.clamp(min=1e-9)
        for _ in range(steps):
            factor, _ = torch.linalg.cholesky_ex(self._matrix(t, sectors))
            y = torch.cholesky_solve(q.transpose(1, 2), factor)
            square = (q.transpose(1, 2) * y).sum(1) + outside
            weight = _weights(square / goal**2, wrong) / goal**2
            d, h = leave.T @ y, enter.T @ y
            gradient = -((d - a[:, :, None] * h) * (d - b[:, :, None] * h) * weight[:, None]).sum(2)
            hessian = self._hessian(d, h, sectors, factor, weight)
            # In the logarithm of t the steps stay positive, and the curvature gains the gradient's part.
            scaled = t[:, :, None] * hessian * t[:, None] + torch.diag_embed((gradient * t).abs())
            # Of an image that has no class of interest, since it is wrong already, the matrix is zero.
            largest = torch.diagonal(scaled, dim1=1, dim2=2).amax(1, True).clamp(min=1e-30)
            scaled = scaled + 1e-9 * torch.diag_embed(largest.expand_as(t))
            step = -torch.linalg.solve(scaled, (gradient * t)[:, :, None]).squeeze(2)
            step = step.clamp(-2.5, 2.5)
            t = self._moved(t, step, sectors, q, weight, outside, (square * weight).sum(1))
        return t

    def _moved(
        self, t: Tensor, step: Tensor, sectors: Sectors, q: Tensor, weight: Tensor, outside: Tensor, before: Tensor
    ) -> Tensor:
        """T exp(rate step) with the first of six falling rates at which P > 0 and the weighted falls lie below `before`
        (B,); t where there is none.
        """
        rate, moved = torch.ones(len(t), 1, dtype=t.dtype, device=t.device), t
        waiting = torch.ones(len(t), dtype=torch.bool, device=t.device)
        for _ in range(6):
            trial = t * (rate * step).exp()
            factor, info = torch.linalg.cholesky_ex(self._matrix(trial, sectors))
            y = torch.cholesky_solve(q.transpose(1, 2), factor)
            after = (((q.transpose(1, 2) * y).sum(1) + outside) * weight).sum(1)
            good = waiting & (info == 0) & (after < before)
            moved = torch.where(good[:, None], trial, moved)
            waiting = waiting & ~good
            if not bool(waiting.any()):
                break
            rate = rate / 3
        return moved

    def _hessian(self, d: Tensor, h: Tensor, sectors: Sectors, factor: Tensor, weight: Tensor) -> Tensor:
        """2 sum_c weight_c Z^T P^-1 Z, where the columns of Z are dP/dT_i y."""
        a, b, leave, enter = sectors
        middle, product = (a + b) / 2, a * b
        strongest = weight.topk(min(3, weight.shape[1]), dim=1)
        total = 0.0
        for place in range(strongest.indices.shape[1]):
            c = strongest.indices[:, place][:, None, None].expand(-1, d.shape[1], 1)
            dc, hc = d.gather(2, c).squeeze(2), h.gather(2, c).squeeze(2)
            z = leave * (dc - middle * hc)[:, None] + enter * (product * hc - middle * dc)[:, None]
            solved = torch.linalg.solve_triangular(factor, z, upper=False)
            total = total + 2 * strongest.values[:, place][:, None, None] * (solved.transpose(1, 2) @ solved)
        return total  # type: ignore[return-value]

    def _boxed(self, t: Tensor, sectors: Sectors, box: Tensor, steps: int = 25) -> tuple[Tensor, Tensor]:
        """The squared falls (B, C) at multipliers t, and the box multipliers that lower them (accelerated descent)."""
        factor, info = torch.linalg.cholesky_ex(self._matrix(t, sectors))
        n1 = self.widths[0]
        # An image whose matrix has no factor proves nothing; the others go on.
        factor = torch.where((info == 0)[:, None, None], factor, torch.eye(factor.shape[1]).to(factor))
        inverse = torch.cholesky_inverse(factor)[:, :n1, :n1]
        # The curvature in the box multipliers: 1 + W^T (H^-1 G H^-1 - H^-1) W, at most that of its image under W.
        root = torch.linalg.cholesky(self.gram)
        inner = root.T @ (self.inverse @ inverse @ self.inverse - self.inverse) @ root
        rate = 1 / (1 + torch.linalg.eigvalsh((inner + inner.transpose(1, 2)) / 2)[:, -1].clamp(min=0))
        down, up = self.edge_low[:, None], self.edge_high[:, None]
        best = torch.full(box.shape[:2], torch.inf, dtype=box.dtype, device=box.device)
        kept, ahead, last, momentum = box, box, box, 1.0
        for _ in range(steps):
            q, outside = self._linear(ahead)
            y = torch.cholesky_solve(q.transpose(1, 2), factor).transpose(1, 2)
            square = (q * y).sum(2) + outside
            better = (square < best) & (info == 0)[:, None]
            best = torch.where(better, square, best)
            kept = torch.where(better[:, :, None], ahead, kept)
            inside = y[:, :, :n1] @ self.inverse @ self.first
            # The part of -box outside of the span, and the part inside.
            slope = -(ahead - (ahead @ self.first.T) @ self.inverse @ self.first) + inside
            moved = ahead + rate[:, None, None] * slope
            # r_i >= 0 at the lower edge takes a multiplier >= 0, r_i <= 0 at the upper edge one <= 0.
            moved = down * moved.clamp(min=0) + up * moved.clamp(max=0)
            further = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = moved + (momentum - 1) / further * (moved - last)
            ahead = down * ahead.clamp(min=0) + up * ahead.clamp(max=0)
            last, momentum = moved, further
        return best, kept


def _weights(score: Tensor, wrong: Tensor) -> Tensor:
    """(B, C) weights that stress the classes nearest to failing: those of the largest squared fall over margin."""
    score = torch.where(wrong, score, 0.0)
    share = (score / score.amax(1, keepdim=True).clamp(min=1e-30)) ** 6
    return torch.where(wrong, share, 0.0) / share.sum(1, keepdim=True).clamp(min=1e-30)
