"""Certified lower bounds on the minimal distortion that a search looks for.

    certificates = lower_bounds(model, x, labels)
    certificates.bound        # (B,): no change inside the box of a smaller L2 norm makes the model give another class

The problem is that of section 4.1 of arXiv:1312.6199: the least |r| with x + r in the box and another class. A bound
holds for the float32 network as it is evaluated: margins must exceed a bound of its rounding errors. Where nothing can
be proven the bound is NaN.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from intriguing.basics.brief import brief
from intriguing.errors import InputError, ModelError, unknown_name
from intriguing.stability.graph import Graph, linear_function, trace
from intriguing.stability.linear_bounds import can_bound
from intriguing.stability.ops import Dense, Smooth
from intriguing.stability.region import Region
from intriguing.stability.rounding import Rounding

EFFORTS = ("fast", "slow")
_TOLERANCE = 1e-6
_SHRINK = 1 - 1e-7
"""Bounds are cut by this: the rounding of an image to the box and of norms in float32."""


@dataclass(frozen=True)
class Certificates:
    """Lower bounds on minimal distortions, in L2, for B images and C classes, float64 on the device of the images."""

    __repr__ = brief

    bound: Tensor
    """(B,): no change inside the box of a smaller norm succeeds; NaN where nothing is proven. 0 where the image has the
    wrong (targeted: the wanted) class already."""
    per_class: Tensor
    """(B, C): the same for every class as a target; inf at the label. NaN where nothing is proven."""
    method: str
    """What proved them: exact (a linear model), lines (linear bounds, with the product of norms where that is better),
    coupled (lines and a semidefinite bound), product (norms alone), or none."""
    reason: str
    """Why the method is no better: the operations that cannot be bounded; empty where there is nothing to say."""


def lower_bounds(
    model: nn.Module | Graph,
    x: Tensor,
    labels: Tensor | Sequence[int],
    targets: Tensor | Sequence[int] | None = None,
    *,
    lower: float = 0.0,
    upper: float = 1.0,
    found: Tensor | None = None,
    effort: str = "fast",
) -> Certificates:
    """Certified lower bounds on the L2 norm of the least change of each image of `x` that makes `model` err.

    model: from (B, *shape) to logits (B, C), or its traced graph (`trace`). x: (B, *shape) inside the box [lower,
    upper]. labels: (B,) true classes. targets: (B,) classes to reach, None for any wrong one. found: (B,) norms that a
    search found: they save time, for nothing above them is tried, and say which classes are out of reach. effort: fast
    is linear bounds; slow proves more: on dense networks by a semidefinite bound that takes about twenty times as long,
    on others by the L2 balls of all layers (twice).

    Raises `InputError` for arguments that do not fit. A model that cannot be traced or bounded gives NaN, with the
    reason.
    """
    if effort not in EFFORTS:
        raise unknown_name("effort of lower_bounds", str(effort), EFFORTS)
    labels, wanted = _classes("labels", labels, x), None if targets is None else _classes("targets", targets, x)
    if bool(((x < lower - _TOLERANCE) | (x > upper + _TOLERANCE) | ~x.isfinite()).any()):
        raise InputError(f"x holds values that are not finite or lie outside of the box [{lower}, {upper}].")
    try:
        graph = model if isinstance(model, Graph) else trace(model, tuple(x.shape[1:]))
    except ModelError as e:
        return _nothing(x, 0, str(e))
    with torch.no_grad():
        problem = _Problem.of(graph, x, labels, lower, upper, found)
        return problem.certificates(wanted, effort)


def _classes(name: str, given: Tensor | Sequence[int], x: Tensor) -> Tensor:
    value = torch.as_tensor(given)
    if value.shape != (len(x),) or value.is_floating_point():
        raise InputError(f"{name} is {tuple(value.shape)} {value.dtype}; it must be {len(x)} whole numbers.")
    return value.to(x.device, torch.int64)


def _nothing(x: Tensor, classes: int, reason: str) -> Certificates:
    nan = torch.full((len(x),), math.nan, dtype=torch.float64, device=x.device)
    return Certificates(nan, nan[:, None].expand(-1, classes).clone(), "none", reason)


def without_softmax(graph: Graph) -> Graph:
    """The graph without a softmax at its end, which keeps the order of the classes."""
    last = graph.nodes[-1]
    if (
        isinstance(last.op, Smooth)
        and last.op.kind in ("softmax", "log_softmax")
        and last.inputs == (len(graph.nodes) - 2,)
    ):
        return without_softmax(Graph(graph.nodes[:-1]))
    return graph


@dataclass(frozen=True)
class _Problem:
    """Images with what is known about them: everything float64."""

    graph: Graph
    x: Tensor
    """(B, n)"""
    labels: Tensor
    values: list[Tensor]
    region: Region
    found: Tensor | None
    rounding: Rounding | None

    @classmethod
    def of(
        cls, graph: Graph, x: Tensor, labels: Tensor, lower: float, upper: float, found: Tensor | None
    ) -> "_Problem":
        whole, graph = graph, without_softmax(graph)
        images = x.detach().double().clamp(lower, upper)
        flat = images.flatten(1)
        region = Region.of(flat, lower, upper)
        known = None if found is None else found.to(flat).nan_to_num(torch.inf)
        graph = graph.to(flat)
        broken = graph.unknown
        values = [] if broken else graph.values(images)
        return cls(
            graph,
            flat,
            labels,
            values,
            region,
            known,
            None if broken else Rounding.of(graph, len(whole.nodes) != len(graph.nodes)),
        )

    def certificates(self, wanted: Tensor | None, effort: str) -> Certificates:
        if self.rounding is None:
            return _nothing(self.x, 0, "cannot be bounded: " + ", ".join(self.graph.unknown))
        logits = self.values[-1]
        if logits.ndim != 2 or not bool(logits.isfinite().all()):
            return _nothing(self.x, 0, "The model gives no finite (batch, classes) logits.")
        margins = logits.gather(1, self.labels[:, None]) - logits
        bounds = self._product(margins)
        method, reason = "product", ""
        if self.graph.is_affine:
            method, bounds = "exact", torch.fmax(bounds, self._exact(margins))
        elif can_bound(self.graph):
            method, bounds = self._lines(margins, bounds, effort)
        else:
            names = [f"{n.name} ({n.op.kind})" for n in self.graph.nodes if isinstance(n.op, Smooth)]
            reason = "no lines are known for " + ", ".join(names or ["an elementwise function"])
        return self._assembled(bounds, margins, wanted, method, reason)

    def _assembled(
        self, bounds: Tensor, margins: Tensor, wanted: Tensor | None, method: str, reason: str
    ) -> Certificates:
        bounds = bounds * _SHRINK
        own = torch.arange(margins.shape[1], device=margins.device) == self.labels[:, None]
        # A class that leads already, or whose lead float32 cannot tell, is at no distance.
        bounds = torch.where(margins <= 0, 0.0, bounds).masked_fill(own, math.inf)
        bounds = bounds.masked_fill(bounds.isnan(), math.nan)
        if wanted is None:
            least = torch.where(bounds.isnan().any(1), math.nan, bounds.amin(1))
        else:
            least = bounds.gather(1, wanted[:, None]).squeeze(1)
        if not bool(bounds.isfinite().any()):
            method = "none" if bool(bounds.isnan().all(1).any()) else method
        return Certificates(least, bounds, method, reason)

    def slack(self, radius: Tensor) -> Tensor:
        """What a margin (B,) must exceed for a change of up to `radius`: float32 errors of two logits."""
        return self.slack_of(radius, slice(None))

    def slack_of(self, radius: Tensor, rows: slice) -> Tensor:
        """`slack` of some of the images, whose radii (b,) are given."""
        assert self.rounding is not None
        return math.sqrt(2) * self.rounding.error([v[rows] for v in self.values], radius)

    def _product(self, margins: Tensor) -> Tensor:
        """Margins over Lipschitz bounds: the product of the norms, the last dense layer taken for pairs of classes.

        Tsuzuku et al. 2018 (arXiv:1802.04034, proposition 1).
        """
        assert self.rounding is not None
        last, reach = self.graph.nodes[-1], self.rounding.reach
        if isinstance(last.op, Dense):
            weight = last.op.weight
            pairs = torch.linalg.vector_norm(weight[self.labels][:, None] - weight, dim=2) * reach[last.inputs[0]]
        else:
            pairs = torch.full_like(margins, math.sqrt(2) * reach[-1])
        if not math.isfinite(reach[-1]):
            return torch.full_like(margins, math.nan)
        error = self.slack(torch.zeros_like(self.x[:, 0]))
        further = self.slack(torch.ones_like(error)) - error
        # The slack grows with the radius: (margin - error) / (slope + growth).
        return ((margins - error[:, None]) / (pairs + further[:, None]).clamp(min=1e-300)).clamp(min=0)

    def _exact(self, margins: Tensor) -> Tensor:
        """For an affine network: the distance to the half-space of each class in the box, from its dual."""
        forward, adjoint = linear_function(self.graph)
        del forward
        unit = torch.eye(margins.shape[1], dtype=margins.dtype, device=margins.device)
        weight = adjoint(unit).flatten(1)
        reach = torch.linalg.vector_norm(self.region.high - self.region.low, dim=1)
        bounds = torch.empty_like(margins)
        for rows in _split(len(self.x), weight.numel()):
            slope = weight[self.labels[rows]][:, None] - weight
            part = self.region.rows(rows)
            # Without rounding no bound is larger than these distances, so rounding counts no further away.
            plain = part.distance(slope, margins[rows], turns=40)
            far = torch.where(plain.isfinite(), plain, 0.0).amax(1)
            far = torch.where(plain.isinf().any(1), reach[rows], torch.minimum(far, reach[rows]))
            need = margins[rows] - self.slack_of(far, rows)[:, None]
            bounds[rows] = part.distance(slope, need, turns=40)
        return bounds.clamp(min=0)

    def _lines(self, margins: Tensor, bounds: Tensor, effort: str) -> tuple[str, Tensor]:
        from intriguing.stability.bisection import certify

        return certify(self, margins, bounds, effort)


def _split(count: int, each: int, held: int = 2**24) -> list[slice]:
    step = max(1, held // max(each, 1))
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]
