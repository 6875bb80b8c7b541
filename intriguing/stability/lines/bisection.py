"""The largest radius that linear bounds certify, per image: a few evaluations, each of which proves a radius."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from intriguing.stability.lines.coupled import Chain, Coupled
from intriguing.stability.lines.linear_bounds import Form, Intervals, LinearBounds
from intriguing.stability.lines.slopes import Aligned, Forms, aligned
from intriguing.stability.region import Region
from intriguing.stability.tracing.ops import Elementwise, MaxPool, size

if TYPE_CHECKING:
    from intriguing.stability.problem import Problem

_TOGETHER = 16
"""Images whose semidefinite bounds are found side by side."""
_SHARES = (0.6, 0.45, 0.2)
"""The first radius, as a part of what a search found, for one, two, and more nonlinear layers."""
_TURNS = (1, 1)
"""Turns of Newton's method and the box's multipliers, for each radius that is tried."""
_STEEP = 4.0
"""How much faster the logarithm of what is proven falls, less the radius's own, where no two points tell it."""
_OFF = 0.01
"""An image is looked at once more where less than 1 minus this part of the last radius is proven."""
_FAR_OFF = 0.5
_DOWN = 0.05
"""Where no radius passed at all, the last look is at this part of the last one."""
_BACK = 0.998
"""The last radius is this part of the one that the bracket points to: beyond the meeting less is proven."""
_GUIDES = {"fast": ((3, 2), (2, 2), (3, 0)), "slow": ((3, 2), (2, 2), (2, 2))}
"""Evaluations in float32 that look for the radius, with lines as they are and then with lines turned, for one, two, and
more nonlinear layers; then one, in float64, proves it."""
_TURNED = 2
"""Classes whose lines are turned to suit them: those that decide the radius."""
_BLOCK = 2**23
"""Numbers that the widest step of one image's pass back times the images of a block may hold."""


def certify(problem: "Problem", margins: Tensor, bounds: Tensor, effort: str) -> tuple[str, Tensor]:
    """The name of the method, and (B, C) bounds that are at least `bounds`."""
    guide, prover = _lines(problem, torch.float32), _lines(problem, torch.float64)
    chain = Chain.of(prover) if effort == "slow" and not problem.is_deep else None
    if effort == "slow" and chain is None:
        guide.many = prover.many = 2**30
    out = bounds.clone()
    for part in _parts(problem, prover):
        block = _Block.of(problem, part, margins[part], bounds[part])
        out[part] = torch.fmax(block.certified(guide, prover, effort), out[part])
    if chain is None:
        return "lines", out
    for start in range(0, len(margins), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        block = _Block.of(problem, part, margins[part], out[part])
        out[part] = torch.fmax(block.coupled(prover, chain, out[part]), out[part])
    return "coupled", out


def excluded(problem: "Problem", radius: Tensor) -> Tensor:
    """Mask (B, C) of the wrong classes that the lines at `radius` (B,) prove to be no nearer."""
    prover = _lines(problem, torch.float64)
    out = torch.zeros_like(problem.margins, dtype=torch.bool)
    for part in _parts(problem, prover):
        block = _Block.of(problem, part, problem.margins[part], torch.zeros_like(problem.margins[part]))
        reached, _ = block.evaluate(prover, radius[part], None)
        out[part] = block.wrong & (reached >= radius[part][:, None])
    return out


def _lines(problem: "Problem", dtype: torch.dtype) -> LinearBounds:
    """The linear bounds of the network in a precision."""
    lines = LinearBounds(problem.graph, problem.x.to(dtype)[:0])
    if problem.is_deep:
        lines.rounding = problem.rounding
    return lines


def _parts(problem: "Problem", prover: LinearBounds) -> list[slice]:
    """The images in blocks whose passes back fit a cache."""
    nodes, count = problem.graph.nodes, len(problem.margins)
    rows = max([2 * size(nodes[i].shape) for i in prover.read] + [problem.margins.shape[1]])
    each = min(rows * max(size(n.shape) for n in nodes), 2**23)
    step = max(1, min(64, _BLOCK // each))
    return [slice(start, start + step) for start in range(0, count, step)]


@dataclass(frozen=True)
class _Block:
    """Some images of a problem, float64."""

    problem: "Problem"
    values: list[Tensor]
    region: Region
    margins: Tensor
    """(B, C): how far the label's logit leads each other one; 0 at the label."""
    rows: Tensor
    """(B, C, C): the linear forms of the logits that are the margins."""
    wrong: Tensor
    """(B, C): classes that are not the label and do not lead already."""
    start: Tensor
    """(B,): bounds that are proven already."""
    top: Tensor
    """(B,): nothing above is of interest."""
    labels: Tensor
    """(B,)"""
    depth: int
    """Nonlinear layers."""

    @classmethod
    def of(cls, problem: "Problem", part: slice, margins: Tensor, bounds: Tensor) -> "_Block":
        labels = problem.labels[part]
        classes = margins.shape[1]
        unit = torch.eye(classes, dtype=margins.dtype, device=margins.device)
        wrong = torch.arange(classes, device=margins.device) != labels[:, None]
        wrong = wrong & (margins > 0)
        if problem.wanted is not None:
            wrong = wrong & (torch.arange(classes, device=margins.device) == problem.wanted[part][:, None])
        values = [v[part] for v in problem.values]
        start = torch.where(wrong, bounds, torch.inf).amin(1)
        start = torch.where(start.isfinite(), start, 0.0)
        top = torch.full_like(start, torch.inf) if problem.found is None else problem.found[part]
        depth = sum(isinstance(n.op, Elementwise | MaxPool) for n in problem.graph.nodes)
        return cls(
            problem,
            values,
            problem.region.rows(part),
            margins,
            unit[labels][:, None] - unit,
            wrong,
            start,
            top,
            labels,
            depth,
        )

    def like(self, bounds: LinearBounds) -> "_Block":
        """In the dtype of `bounds`."""
        to = bounds.like
        moved = {"values": [v.to(to) for v in self.values], "region": self.region.to(to)}
        moved |= {n: getattr(self, n).to(to) for n in ("margins", "rows", "start", "top")}
        return replace(self, **moved)  # type: ignore[arg-type]

    def certified(self, guide: LinearBounds, prover: LinearBounds, effort: str) -> Tensor:
        """(B, C): the radius that is proven for every class."""
        rough = self.like(guide)
        bracket = _Bracket.of(rough._first(), rough.start, rough.top)
        known, reach = None, bracket.radius
        plain, turned = _GUIDES[effort][min(self.depth, 3) - 1]
        for _ in range(plain):
            # Intervals of a larger radius say which ReLUs need not be looked at again.
            fits = known is not None and bool((bracket.radius <= reach).all())
            reached, known = rough.evaluate(guide, bracket.radius, known if fits else None)
            reach = bracket.radius
            bracket.learn(rough._least(reached))
        slopes = None
        for _ in range(turned):
            reached, slopes = rough.turned(guide, bracket.radius, slopes)
            bracket.learn(rough._least(reached))
        final = torch.maximum(bracket.radius.double() * _BACK, self.start)
        proven, excess = self._proven(prover, final, turned > 0, slopes)
        aimed = self.problem.wanted is not None
        again = (excess < (1 - _OFF if aimed else _FAR_OFF)).nonzero().squeeze(1)
        if len(again):
            # The bracket pointed too far, by much where the lines of smaller radii allowed no success at all. Of one
            # class that happens, and in deep networks, whose lines part soon; the nearest of all is met well elsewhere
            # (another look would give 0.05 % more).
            radius = final[again] * excess[again] ** (1 / (1 + _STEEP)) * _BACK
            passed = bracket.low[again].double().exp() * _BACK
            passed = torch.where(passed > 0, passed, final[again] * _DOWN)
            radius = torch.where(excess[again] < _FAR_OFF, passed, radius)
            radius = torch.maximum(radius, self.start[again]).clamp(min=1e-9)
            better, _ = self._some(again)._proven(prover, radius, turned > 0, None)
            proven[again] = torch.fmax(better, proven[again])
        return proven

    def _proven(
        self, prover: LinearBounds, radius: Tensor, turn: bool, before: Aligned | None
    ) -> tuple[Tensor, Tensor]:
        """(B, C): what the lines at `radius` (B,) prove, no more than it; 0 for classes of no interest.

        And per image (B,) the least norm that they allow, over the radius: 1 where the two meet.
        """
        reached = self.turned(prover, radius, before)[0] if turn else self.evaluate(prover, radius, None)[0]
        proven = torch.where(self.wrong, torch.minimum(reached, radius[:, None]), 0.0)
        return proven, self._least(reached) / radius

    def _some(self, index: Tensor) -> "_Block":
        """The images of `index` alone."""
        parts = {n: getattr(self, n)[index] for n in ("margins", "rows", "wrong", "start", "top", "labels")}
        return replace(self, values=[v[index] for v in self.values], region=self.region.rows(index), **parts)

    def coupled(self, prover: LinearBounds, chain: Chain, bounds: Tensor) -> Tensor:
        """(B, C): radii that the semidefinite bound proves, from those that lines prove."""
        problem = Coupled(chain, prover.graph, self.values, self.region, self.rows)
        if not problem.usable:
            return bounds
        radius = torch.minimum(1.35 * self.start, self.top * 0.999).clamp(min=1e-9)
        out, multipliers = bounds, None
        for turns in _TURNS:
            intervals = prover.intervals(self.values, self.region, radius, None)
            falls, multipliers = problem.falls(intervals, self.margins, self.wrong, turns, multipliers)
            need = (self.margins - self.slack(radius)).clamp(min=0)
            reached = torch.where(self.wrong, need / falls.clamp(min=1e-300), 0.0)
            out = torch.fmax(out, torch.minimum(reached, radius[:, None]))
            least = self._least(torch.fmax(reached, bounds))
            # Less is proven at a larger radius, but slowly: the two meet near the geometric mean, a little below.
            radius = torch.minimum((radius * least).sqrt() * 0.99, self.top * 0.999).clamp(min=1e-9)
        return out

    def evaluate(self, bounds: LinearBounds, radius: Tensor, known: Intervals | None) -> tuple[Tensor, Intervals]:
        """Per class (B, C) the least norm at which the lines at `radius` (B,) allow a success, and the intervals.

        The least norm is proven only as far as it does not exceed `radius`.
        """
        bounds = self._within(bounds, radius)
        intervals = bounds.intervals(self.values, self.region, radius, known)
        form = bounds.form(len(self.values) - 1, self.rows, self.values, intervals)
        return self._reached(form, self.slack(radius, bounds), self.wrong), intervals

    def turned(self, bounds: LinearBounds, radius: Tensor, before: Aligned | None) -> tuple[Tensor, Aligned]:
        """What `evaluate` gives, with lines that suit the classes that decide; and these lines, to begin with again."""
        bounds = self._within(bounds, radius)
        intervals = bounds.intervals(self.values, self.region, radius, None)
        last, slack = len(self.values) - 1, self.slack(radius, bounds)
        reached = self._reached(bounds.form(last, self.rows, self.values, intervals), slack, self.wrong)
        worst = torch.where(self.wrong, reached, torch.inf).topk(min(_TURNED, reached.shape[1]), largest=False)
        rows = self.rows.gather(1, worst.indices[:, :, None].expand(-1, -1, self.rows.shape[2]))
        forms = Forms(rows, worst.indices, self.region, radius)
        lines = aligned(bounds, forms, self.values, intervals, before)
        again = bounds.with_slopes(lines.slopes).form(last, rows, self.values, intervals)
        better = self._reached(again, slack.gather(1, worst.indices), self.wrong.gather(1, worst.indices))
        return reached.scatter(1, worst.indices, torch.maximum(better, worst.values)), lines

    def _within(self, bounds: LinearBounds, radius: Tensor) -> LinearBounds:
        """These bounds with the balls that values keep to within `radius`."""
        if bounds.rounding is not None:
            return bounds.within(None)
        reach = self.problem.rounding.reach
        return bounds.within({i: reach[i] * radius for i in bounds.read if math.isfinite(reach[i])})

    def _reached(self, form: Form, slack: Tensor, wrong: Tensor) -> Tensor:
        """The least norms (B, R) that the lower bounds of margins allow to take them to 0."""
        need = torch.where(wrong, form.constant - slack, 1.0)
        need = need - (1e-9 if need.dtype == torch.float64 else 1e-6) * form.constant.abs()
        return self.region.distance(form.slope, need)

    def slack(self, radius: Tensor, bounds: LinearBounds | None = None) -> Tensor:
        """The rounding slack (B, C) of the margins of these images, less what `bounds` have counted in themselves."""
        if bounds is not None and bounds.steps is not None:
            return bounds.steps.softening()[:, None].expand_as(self.margins)
        values = [v.double() for v in self.values]
        error = self.problem.rounding.pair_error(values, radius.double(), self.labels)
        return error.to(radius)

    def _least(self, reached: Tensor) -> Tensor:
        return torch.where(self.wrong, reached, torch.inf).amin(1)

    def _first(self) -> Tensor:
        """A radius to begin with: half of what a search found, or of the distance by the gradient at the image."""
        guess = self.top
        if not bool(guess.isfinite().all()):
            guess = torch.where(guess.isfinite(), guess, 8 * self.start + 1e-3)
        share = _SHARES[min(self.depth, len(_SHARES)) - 1]
        return torch.maximum(share * guess, self.start)


class _Bracket:
    """Regula falsi per image for the radius at which the norm that is proven meets the radius itself.

    What is proven falls with about the fourth power of the radius, so both are taken by their logarithms. A bracket of
    the last radius that passed and the last that did not; the end that stays twice is halved (Illinois).
    """

    def __init__(self, radius: Tensor, top: Tensor) -> None:
        self.radius = radius
        self.top = top
        self.low, self.high = torch.full_like(radius, -torch.inf), torch.full_like(radius, torch.inf)
        self.at_low, self.at_high = torch.zeros_like(radius), torch.zeros_like(radius)
        self.last = torch.zeros_like(radius)
        self.before, self.at = torch.full_like(radius, torch.nan), radius.log()

    @classmethod
    def of(cls, radius: Tensor, start: Tensor, top: Tensor) -> "_Bracket":
        return cls(torch.maximum(radius, start).clamp(min=1e-9), top)

    def learn(self, least: Tensor) -> None:
        """Take in that `least` was proven at the radius, and move on to the next one."""
        excess = (least / self.radius).clamp(0.2, 20.0).log()
        passed = excess >= 0
        here = self.radius.log()
        again = torch.where(passed, self.last > 0, self.last < 0)
        self.at_high = torch.where(passed & again, self.at_high / 2, self.at_high)
        self.at_low = torch.where(~passed & again, self.at_low / 2, self.at_low)
        self.low, self.at_low = torch.where(passed, here, self.low), torch.where(passed, excess, self.at_low)
        self.high, self.at_high = torch.where(passed, self.high, here), torch.where(passed, self.at_high, excess)
        self.last = torch.where(passed, 1.0, -1.0).to(excess)
        steep = ((self.before - excess) / (here - self.at).clamp(min=-10, max=10)).nan_to_num(_STEEP).clamp(1.2, 8.0)
        self.before, self.at = excess, here
        both = self.low.isfinite() & self.high.isfinite()
        share = self.at_low / (self.at_low - self.at_high).clamp(min=1e-12)
        between = torch.where(both, self.low + share * (self.high - self.low), here + excess / steep)
        self.radius = torch.minimum(between.exp(), self.top).clamp(min=1e-9)
