"""What is to be proven: a network prepared once, and images of it with the distances of their classes."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from intriguing.basics.precision import Precision
from intriguing.errors import ModelError
from intriguing.stability import local
from intriguing.stability.cost import operations
from intriguing.stability.lines.bisection import certify, excluded
from intriguing.stability.lines.linear_bounds import can_bound, has_lines
from intriguing.stability.region import Bound, Region
from intriguing.stability.rounding import Rounding
from intriguing.stability.tracing.graph import Graph, linear_function
from intriguing.stability.tracing.ops import Dense, Smooth, size

NOTHING = "none"
_SHRINK = 1 - 1e-7
"""Bounds are cut by this: the rounding of an image to the box and of norms in float32."""
_EXACT_TURNS = 40
_NOTABLE = 0.1
_NO_ROOM = "the room for float32 rounding errors is larger than the margins"


def without_softmax(graph: Graph) -> Graph:
    """The graph without a softmax at its end, which keeps the order of the classes."""
    last = graph.nodes[-1]
    softmax = isinstance(last.op, Smooth) and last.op.kind in ("softmax", "log_softmax")
    if softmax and last.inputs == (len(graph.nodes) - 2,):
        return without_softmax(replace(graph, nodes=graph.nodes[:-1]))
    return graph


@dataclass(frozen=True)
class Network:
    """A network's graph in float64, with the constants of its rounding errors; a softmax at its end is left out."""

    graph: Graph
    home: Graph
    """The same on the CPU, where norms are computed."""
    softened: bool
    """Whether a softmax was left out."""
    products: tuple[float, float]
    """Relative errors of products whose factors are rounded to fewer bits, as `Rounding` has them."""

    @classmethod
    def of(cls, graph: Graph, like: Tensor, precision: Precision | None = None) -> "Network":
        """The network as it is evaluated on the device of `like` with this precision of products (None: the present).

        Raises `ModelError` where nothing about the network can be bounded; the message names the operations.
        """
        if graph.unknown:
            raise ModelError("cannot be bounded: " + ", ".join(graph.unknown))
        if graph.dtype not in (torch.float32, torch.float64):
            raise ModelError(f"it computes in {graph.dtype}: bounds hold for float32 networks".replace("torch.", ""))
        if len(graph.nodes[-1].shape) != 1:
            raise ModelError(f"it gives {graph.nodes[-1].shape} for an image, and no (classes,) logits")
        home = without_softmax(graph).to(torch.zeros(0, dtype=torch.float64))
        inner = home.to(torch.zeros(0, dtype=torch.float64, device=like.device))
        errors = (precision or Precision.now()).product_errors(like.device)
        products = errors if graph.dtype == torch.float32 else (0.0, 0.0)
        return cls(inner, home, len(graph.nodes) != len(home.nodes), products)

    @cached_property
    def rounding(self) -> Rounding:
        """Its rounding errors; the norms of all layers are computed for it, which takes a while for large networks."""
        return replace(Rounding.of(self.home, self.softened, self.products), graph=self.graph)

    @cached_property
    def least_rounding(self) -> Rounding:
        """The same from norms of a few steps, which are too small: so are the errors, those of unchanged images."""
        return replace(Rounding.of(self.home, self.softened, self.products, least=True), graph=self.graph)

    @property
    def classes(self) -> int:
        """How many logits it gives."""
        return self.graph.nodes[-1].shape[0]

    @property
    def held(self) -> int:
        """Numbers that an image's values and its pairs of classes take."""
        last = self.graph.nodes[-1]
        before = size(self.graph.nodes[last.inputs[0]].shape) if last.inputs else 1
        return sum(size(node.shape) for node in self.graph.nodes) + self.classes * (before + self.classes)

    @cached_property
    def gigaflops(self) -> float:
        """What the linear bounds of one image take, in billions of operations."""
        return operations(self.graph) / 1e9


@dataclass(frozen=True)
class Problem:
    """Images with what is known about them: everything float64."""

    network: Network
    x: Tensor
    """(B, n)"""
    labels: Tensor
    """(B,): the class whose lead is to be kept."""
    values: list[Tensor]
    region: Region
    found: Tensor | None
    wanted: Tensor | None = None
    """(B,): the one class whose distance matters; None: all of them."""

    @classmethod
    def of(
        cls, network: Network, x: Tensor, labels: Tensor, box: tuple[Bound, Bound], found: Tensor | None
    ) -> "Problem":
        """Images (B, *shape), labels (B,), the ends of the box, and what a search found (B,)."""
        images = x.detach().double()
        lower, upper = (torch.as_tensor(b).to(images).expand(images.shape[1:]) for b in box)
        images = torch.minimum(torch.maximum(images, lower), upper)
        region = Region.of(images.flatten(1), lower.flatten(), upper.flatten())
        return cls(network, images.flatten(1), labels, network.graph.values(images), region, found)

    @property
    def graph(self) -> Graph:
        """The network's graph."""
        return self.network.graph

    @property
    def rounding(self) -> Rounding:
        """The network's rounding errors."""
        return self.network.rounding

    @cached_property
    def margins(self) -> Tensor:
        """(B, C): how far the label's logit leads each other one; 0 at the label."""
        logits = self.values[-1]
        return logits.gather(1, self.labels[:, None]) - logits

    def against(self, wanted: Tensor) -> "Problem":
        """The same images when `wanted` (B,) is to be reached from the class that the network gives now."""
        return replace(self, labels=self.values[-1].argmax(1), wanted=wanted)

    def bounds(self, effort: str, gigaflops: float) -> tuple[str, str, Tensor]:
        """The name of the method, why it is no better, and (B, C) bounds; NaN where nothing is proven."""
        if not bool(self.values[-1].isfinite().all()):
            return NOTHING, "the logits are not finite", torch.full_like(self.margins, math.nan)
        dear = self.network.gigaflops > gigaflops
        reason = self._why_no_lines(gigaflops)
        if not reason and not self.graph.is_affine:
            return self._assembled(*self._by_lines(effort))
        if (dear and self._is_hopeless(self.network.least_rounding)) or self._is_hopeless(self.rounding):
            return self._assembled(NOTHING, reason, torch.full_like(self.margins, math.nan))
        method, bounds = "product", self._product()
        if self.graph.is_affine:
            method, bounds = "exact", torch.fmax(bounds, self._exact())
        else:
            near = local.bounds(self)
            method = "local" if bool((near > bounds).any()) else method
            bounds = torch.fmax(near, bounds)
        return self._assembled(method, reason, bounds)

    def excluded(self, radius: Tensor, gigaflops: float) -> Tensor:
        """Mask (B, C) of the wrong classes that no change of a norm below `radius` (B,) reaches, as far as proven."""
        if bool(self.values[-1].isfinite().all()) and not self._why_no_lines(gigaflops) and not self.graph.is_affine:
            return excluded(self, radius / _SHRINK)
        _, _, bounds = self.bounds("fast", gigaflops)
        own = torch.arange(bounds.shape[1], device=bounds.device) == self.labels[:, None]
        return (bounds >= radius[:, None]) & ~own

    def _why_no_lines(self, gigaflops: float) -> str:
        """Why linear bounds are not used; empty where they are, and for affine networks."""
        if not can_bound(self.graph):
            return "no lines are known for " + ", ".join(_without_lines(self.graph))
        if self.network.gigaflops > gigaflops and not self.graph.is_affine:
            needed = _rounded(self.network.gigaflops)
            return f"linear bounds take {needed} gigaflops an image, more than {gigaflops:g}"
        return ""

    def _by_lines(self, effort: str) -> tuple[str, str, Tensor]:
        method, bounds = certify(self, self.margins, self._product(), effort)
        return method, "", bounds

    @cached_property
    def is_deep(self) -> bool:
        """Whether rounding errors carried on by the product of norms take a notable part of most images' margins."""
        own = torch.arange(self.margins.shape[1], device=self.margins.device) == self.labels[:, None]
        radius = torch.zeros_like(self.margins[:, 0]) if self.found is None else self.found / 2
        slack = self.slack(torch.where(radius.isfinite(), radius, 0.0))
        least = torch.where(own | (self.margins <= 0), torch.inf, self.margins).min(1)
        small = slack.gather(1, least.indices[:, None]).squeeze(1) <= _NOTABLE * least.values
        return bool(small.to(slack).mean() < 0.5)

    def _is_hopeless(self, rounding: Rounding) -> bool:
        """Whether float32 errors may be larger than every margin, with no change of the images at all."""
        still = torch.zeros_like(self.margins[:, 0])
        return not bool((self.margins > rounding.pair_error(self.values, still, self.labels)).any())

    def _assembled(self, method: str, reason: str, bounds: Tensor) -> tuple[str, str, Tensor]:
        margins = self.margins
        own = torch.arange(margins.shape[1], device=margins.device) == self.labels[:, None]
        # A bound of 0 beside a margin above 0 proves nothing: the room for rounding errors took all of it.
        bounds = torch.where(bounds > 0, bounds * _SHRINK, math.nan)
        # A class that leads already, or whose lead float32 cannot tell, is at no distance.
        bounds = torch.where(margins <= 0, 0.0, bounds).masked_fill(own, math.inf)
        if bool((bounds.isnan() | own).all()) and not bool(own.all()):
            reason = "; ".join(filter(None, (reason, _NO_ROOM)))
            method = NOTHING
        return method, reason, bounds

    def slack(self, radius: Tensor, rows: slice = slice(None)) -> Tensor:
        """What a margin (B, C) must exceed for a change of up to `radius` (B,): float32 errors of two logits.

        With `rows`, of those images alone, whose radii (b,) are given.
        """
        return self.rounding.pair_error([v[rows] for v in self.values], radius, self.labels[rows])

    def pairs(self) -> tuple[Tensor, int]:
        """Per class (B, C) a gain from a node's value to the margin, and that node: the last dense layer taken apart.

        Tsuzuku et al. 2018 (arXiv:1802.04034, proposition 1).
        """
        last = self.graph.nodes[-1]
        if isinstance(last.op, Dense) and len(self.graph.nodes[last.inputs[0]].shape) == 1:
            weight = last.op.weight
            return torch.linalg.vector_norm(weight[self.labels][:, None] - weight, dim=2), last.inputs[0]
        return torch.full_like(self.margins, math.sqrt(2)), len(self.graph.nodes) - 1

    def _product(self) -> Tensor:
        """Margins over Lipschitz bounds: the product of the norms."""
        pairs, at = self.pairs()
        if not math.isfinite(self.rounding.reach[-1]):
            return torch.full_like(self.margins, math.nan)
        pairs = pairs * self.rounding.reach[at]
        error, one = (self.slack(torch.full((len(self.x),), r, dtype=pairs.dtype, device=pairs.device)) for r in (0, 1))
        further = one - error
        # The slack grows with the radius: (margin - error) / (slope + growth).
        bounds = ((self.margins - error) / (pairs + further).clamp(min=1e-300)).clamp(min=0)
        if not any(isinstance(node.op, Smooth) for node in self.graph.nodes):
            return bounds
        # It may not grow in proportion: that of the largest bound of an image, or of the least, holds up to there.
        known = torch.where(bounds.isfinite() & (bounds > 0), bounds, math.nan)
        proven = torch.zeros_like(bounds)
        for radius in (known.nan_to_num(0.0).amax(1), known.nan_to_num(math.inf).amin(1).nan_to_num(posinf=0.0)):
            reached = ((self.margins - self.slack(radius)) / pairs.clamp(min=1e-300)).clamp(min=0)
            proven = torch.maximum(proven, torch.minimum(torch.minimum(bounds, radius[:, None]), reached))
        return proven

    def _exact(self) -> Tensor:
        """For an affine network: the distance to the half-space of each class in the box, from its dual."""
        _, adjoint = linear_function(self.graph)
        margins = self.margins
        unit = torch.eye(margins.shape[1], dtype=margins.dtype, device=margins.device)
        weight = adjoint(unit).flatten(1)
        reach = torch.linalg.vector_norm(self.region.high - self.region.low, dim=1)
        bounds = torch.empty_like(margins)
        step = max(1, 2**24 // max(weight.numel(), 1))
        for start in range(0, len(self.x), step):
            rows = slice(start, start + step)
            slope = weight[self.labels[rows]][:, None] - weight
            part = self.region.rows(rows)
            # Without rounding no bound is larger than these distances, so rounding counts no further away.
            plain = part.distance(slope, margins[rows], turns=_EXACT_TURNS)
            far = torch.where(plain.isfinite(), plain, 0.0).amax(1)
            far = torch.where(plain.isinf().any(1), reach[rows], torch.minimum(far, reach[rows]))
            need = margins[rows] - self.slack(far, rows)
            bounds[rows] = part.distance(slope, need, turns=_EXACT_TURNS)
        return bounds.clamp(min=0)


def _rounded(x: float) -> str:
    """Three digits that count, the rest zeros: 30,900,000."""
    return f"{float(f'{x:.3g}'):,.10g}"


def _without_lines(graph: Graph) -> list[str]:
    """The operations that no lines are known for, by name."""
    return [f"{n.name} ({n.op.kind})" for n in graph.nodes[1:] if n.op is not None and not has_lines(n)]
