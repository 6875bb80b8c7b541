"""The start: primal-dual descent with steps of about the size of the perturbation itself.

In a ReLU network, above all after adversarial training, many units change between active and inactive on the way from
the image to the boundary. A descent with a line search depends on the units that are active at the image and often ends
in a poor basin. Large steps average over these kinks. The finish only needs the right basin, so the steps hardly get
shorter.

Until its first success a row descends the cross-entropy, which still has a gradient where that of the margin is zero.
Afterwards it descends the margin, because the cross-entropy also depends on classes that are of no interest. The method
does not depend on scale: its unit of distance is the distance to the boundary that the gradient at the image predicts,
and its unit of the margin is the margin at the image.

Source: Matyasko and Chau 2021, "PDPGD: primal-dual proximal gradient descent adversarial attack", algorithm 1 (Adam on
the perturbation, sign ascent on the logarithm of the multipliers).
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from intriguing.blind_spots.box import Bound, clip
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.blind_spots.lbfgs import dot
from intriguing.blind_spots.loop import State
from intriguing.blind_spots.masks import chosen, finite_rows, surely_all, surely_none
from intriguing.blind_spots.objective import contest, cross_entropy, pair, slack

_SQUARE = 0.999
"""Decay of Adam's second moment."""
_DUAL_RATE, _DUAL_LARGEST = 0.2, math.log(1e6)
_FAR = 0.1
"""Upper limit of the predicted distance, as a root mean square over the values and as a share of the box's width."""
_WAIT, _GROWTH, _PROGRESS = 4, 1.5, 0.05
"""If a row has no success after `_WAIT` steps, each further step is longer by the factor `_GROWTH`, unless the margin
has come nearer to zero than ever before, by more than this share of what is missing. Where it comes nearer, longer
steps overshoot: in a photo network of 1,000 classes the first success was 30 times as far as the boundary.
"""
_NEAR = 0.25
"""Nor do they grow once the margin is nearer to zero than this share of the margin at the image: then the weight of the
gradient is what is missing, and it grows by itself."""
_FALL, _QUIET = 0.05, 4
"""A row has come nearer if its distance fell by this share. It goes on beyond `ticks` until it has not come nearer in
so many evaluations."""
_RECENT = 16
"""The estimate of a row's distance is the smallest of the last so many: all of a race. A single trial point may lie far
from the way to the boundary."""
PAUSED = (
    *("trial", "mean", "square", "unit", "scale", "dual", "weight", "tick", "clean_gap", "highest", "estimates"),
    *("mark", "quiet"),
)
"""What a paused row needs besides the outputs to go on."""


def _sigmoid(x: Tensor) -> Tensor:
    """The sigmoid, in float64: in float32 its last bit depends on the number of values in the tensor."""
    return torch.sigmoid(x.double()).to(x.dtype)


def _unit_of(state: State, logits: Tensor, gap: Tensor, classes: tuple[Tensor, Tensor], s: slice | Tensor) -> Tensor:
    """The unit of the margin (b,) of some rows: a quarter of the margin (b,) at the image."""
    unit = torch.maximum(gap.abs() / 4, slack(logits, *classes))
    unit = unit.where(unit > 0, torch.ones_like(unit))
    return torch.where(state["tick"][s] == 0, unit, state["unit"][s])


class _Point(NamedTuple):
    """What the model says of the trial points of R rows."""

    gap: Tensor
    """(R,) the margin."""
    gradient: Tensor
    """(R, n), of the loss."""
    norm: Tensor
    """(R,) that of the gradient."""
    sound: Tensor
    """(R,) whether margin and gradient are finite."""
    winner: Tensor
    """(R,) the goal with the largest logit."""
    unit: Tensor
    """(R,) the unit of the margin."""
    r: Tensor
    """(R, n) the change of the image."""
    l2: Tensor
    """(R,) its norm."""
    better: Tensor
    """(R,) whether this is the nearest success so far."""
    best_l2: Tensor
    """(R,) the norm of that."""


@dataclass(frozen=True)
class PrimalDual:
    """A solver with `ticks` evaluations per row; steps are `first` to `last` times as long as the unit of distance.

    patient: for rows without a success. The margin is descended from the start, because the cross-entropy of many
    classes has local minima, and the length of the steps does not depend on the gradient at the image.
    """

    evaluator: Evaluator
    lower: Bound
    upper: Bound
    ticks: int
    longest: int | None = None
    """Rows that still come nearer after `ticks` evaluations go on, up to so many; None: they end."""
    until: int | None = None
    """Rows pause after so many evaluations; None: they end after `ticks`. Paused rows go on if their outputs are given
    as inputs."""
    first: float = 4.0
    last: float = 2.0
    mean: float = 0.7
    """Decay of Adam's first moment."""
    inertia: float = 0.5
    """Decay of the weight of the gradient, which follows the multiplier."""
    dual: float = 0.0
    """Logarithm of the first multiplier."""
    patient: bool = False
    width: float | None = None
    """Width of the box as a root mean square over its values; None: upper - lower, for a box of two numbers."""
    poll: int = 4
    outputs: tuple[str, ...] = ("best", "best_l2", "best_class", "forward", "backward", "broken", "blind")

    def paused(self, begin: int, end: int) -> "PrimalDual":
        """The solver of the evaluations from `begin` to `end`; it returns all that a row needs to go on."""
        outputs = self.outputs if end >= self.ticks else (*self.outputs, *PAUSED)
        return replace(self, until=end, poll=math.gcd(self.poll, end - begin), outputs=outputs)

    def load(self, inputs: State) -> State:
        """The first state: rows start at the image or at `begin` (R, n), if it is given, or where they paused.

        `first` (R,) in the inputs gives each row its own length of the first step.
        """
        x0 = inputs["x0"]
        if "tick" in inputs:
            return {**inputs, "done": inputs["broken"].clone()}
        begin = inputs.get("begin", x0)
        inputs = {name: value for name, value in inputs.items() if name != "begin"}
        zero = x0.new_zeros(len(x0))
        none = torch.zeros_like(zero, dtype=torch.bool)
        return {
            **inputs,
            "trial": begin.clone(),
            "mean": torch.zeros_like(x0),
            "square": torch.zeros_like(x0),
            "unit": zero.clone(),
            "scale": zero.clone(),
            "dual": zero + self.dual,
            "weight": _sigmoid(zero + self.dual),
            "tick": zero.clone(),
            "clean_gap": zero.clone(),
            "highest": zero.clone(),
            "mark": zero + float("inf"),
            "quiet": zero.clone(),
            "estimates": x0.new_full((len(x0), _RECENT), float("inf")),
            "best": x0.clone(),
            "best_l2": zero + float("inf"),
            "best_class": inputs["target"].clone(),
            "forward": torch.zeros_like(inputs["target"]),
            "backward": torch.zeros_like(inputs["target"]),
            "broken": none.clone(),
            "blind": ~none,
            "done": none.clone(),
        }

    def _loss(self, state: State, logits: Tensor, s: slice | Tensor) -> tuple[Tensor, Tensor]:
        """The margin (b,) of some rows, and the gradient (b, C) of their loss in the logits (b, C)."""
        goals, rivals = state["goals"][s], state["rivals"][s]
        _, winner, rival = contest(logits, goals, rivals)
        gap, slope = pair(logits, winner, rival)
        unit = _unit_of(state, logits, gap, (winner, rival), s)
        hinge = -slope * _sigmoid(-gap / unit)[:, None]
        if self.patient:
            return gap, hinge / unit[:, None]
        never = state["best_l2"][s].isinf() & (gap < 0)
        if surely_none(never):
            return gap, hinge / unit[:, None]
        _, entropy = cross_entropy(logits, goals, rivals)
        return gap, torch.where(never[:, None], entropy, hinge) / unit[:, None]

    def step(self, state: State) -> State:
        """One evaluation of all rows, and the next trial points."""
        active = ~state["done"]
        point = self._judged(state, active)
        scale = self._scale(state, point)
        # After a first success that came late, what drove the row outwards would carry it far beyond.
        late = point.better & state["best_l2"].isinf() & (state["tick"] > _WAIT)
        start = torch.full_like(scale, self.dual)
        weight = torch.where(late, _sigmoid(start), state["weight"])
        dual = self._dual(torch.where(late, start, state["dual"]), point.gap, state["tick"])
        moving = self._moved(state, point, active, (scale, weight, late))
        nearer = point.best_l2 < (1 - _FALL) * state["mark"]
        quiet = torch.where(nearer, torch.zeros_like(scale), state["quiet"] + 1)
        count, first = state["tick"] + 1, state["tick"] == 0
        highest = torch.where(first, point.gap, torch.maximum(point.gap, state["highest"]))
        change = {
            "mark": torch.where(nearer, point.best_l2, state["mark"]),
            "quiet": quiet,
            "unit": point.unit,
            "scale": scale,
            "dual": dual,
            "weight": (1 - self.inertia) * _sigmoid(dual) + self.inertia * weight,
            "tick": count,
            "clean_gap": torch.where(first, point.gap, state["clean_gap"]),
            "highest": highest,
        }
        mute = first & ~point.sound
        return {
            **{name: torch.where(active, value, state[name]) for name, value in change.items()},
            **moving,
            "estimates": self._estimated(state, point, active),
            "best": chosen(point.better, state["trial"], state["best"]),
            "best_l2": point.best_l2,
            "best_class": torch.where(point.better, point.winner, state["best_class"]),
            "forward": state["forward"] + active,
            "backward": state["backward"] + active,
            "broken": state["broken"] | (mute & active),
            "blind": state["blind"] & ((point.norm == 0) | ~active),
            "done": state["done"] | self._ends(count, point.best_l2, quiet) | mute,
        }

    def _judged(self, state: State, active: Tensor) -> _Point:
        """What the model says of the trial points."""
        goals, rivals, trial = state["goals"], state["rivals"], state["trial"]
        z, gap, gradient = self.evaluator.gradient(trial, lambda logits, s: self._loss(state, logits, s), active)
        square = dot(gradient, gradient)
        sound = gap.isfinite() & finite_rows(gradient, square)
        _, winner, rival = contest(z, goals, rivals)
        r = trial - state["x0"]
        l2 = dot(r, r).sqrt()
        better = sound & (gap > slack(z, winner, rival)) & (l2 < state["best_l2"]) & active
        return _Point(
            gap,
            gradient,
            square.sqrt(),
            sound,
            winner,
            _unit_of(state, z, gap, (winner, rival), slice(None)),
            r,
            l2,
            better,
            torch.where(better, l2, state["best_l2"]),
        )

    def _estimated(self, state: State, point: _Point, active: Tensor) -> Tensor:
        """The last estimates (R, `_RECENT`) of the distance, with that of the trial points.

        It is where the ray from the image through the trial point crosses the boundary if the margin is linear along
        it.
        """
        gap, l2 = point.gap, point.l2
        clean_gap = torch.where(state["tick"] == 0, gap, state["clean_gap"])
        crossing = l2 * clean_gap / (clean_gap - gap)
        crossing = crossing.where((gap > clean_gap) & (l2 > 0), torch.full_like(l2, float("inf")))
        estimates = torch.cat([state["estimates"][:, 1:], crossing[:, None]], 1)
        return torch.where(active[:, None], estimates, state["estimates"])

    def _scale(self, state: State, point: _Point) -> Tensor:
        """The unit of the steps' lengths (R,)."""
        gap, tick, highest = point.gap, state["tick"], state["highest"]
        width = float(self.upper - self.lower) if self.width is None else self.width
        far = _FAR * width * math.sqrt(self.evaluator.size)
        if self.patient:
            return torch.full_like(gap, far)
        first = tick == 0
        clean_gap = torch.where(first, gap, state["clean_gap"])
        # The predicted distance: the margin, which is four units, divided by its slope.
        scale = torch.where(first, (4 / point.norm).clamp(1e-9 * far, far), state["scale"])
        rising = gap - highest > _PROGRESS * gap.abs()
        grows = point.best_l2.isinf() & (tick >= _WAIT) & ~rising & (highest < _NEAR * clean_gap)
        return torch.where(grows, _GROWTH * scale, torch.minimum(scale, point.best_l2))

    def _dual(self, dual: Tensor, gap: Tensor, tick: Tensor) -> Tensor:
        """The logarithm of the multipliers (R,) after a step by the sign of the margin."""
        rate = _DUAL_RATE * (1 - 0.9 * (tick / max(1, self.ticks - 1)).clamp(max=1))
        return (dual - rate * gap.sign().nan_to_num()).clamp(-_DUAL_LARGEST, _DUAL_LARGEST)

    def _moved(self, state: State, point: _Point, active: Tensor, steer: tuple[Tensor, Tensor, Tensor]) -> State:
        """The next trial points and Adam's averages. steer: scale, weight and mask of late successes, each (R,)."""
        scale, weight, late = steer
        trial = state["trial"]
        pull = (1 - weight) / (point.l2 * scale).clamp(min=1e-30)
        total = torch.addcmul(weight[:, None] * point.gradient, pull[:, None], point.r)
        mean = torch.lerp(total, state["mean"], (self.mean * (~late).to(scale.dtype))[:, None])
        square = torch.lerp(total * total, state["square"], _SQUARE)
        time = (state["tick"] + 1).double()
        first = state["first"].double() if "first" in state else self.first
        shrunk = (self.last / first) ** ((time - 1) / self.ticks)
        debiased = (1 - _SQUARE**time).sqrt() / (1 - self.mean**time)
        size = (first / math.sqrt(self.evaluator.size) * shrunk * debiased).to(scale.dtype) * scale
        moved = torch.addcdiv(trial, size[:, None] * mean, square.sqrt().add_(1e-20), value=-1)
        # Where an output or gradient is not finite: go half the way back and leave the averages as they are.
        # A finished row stays as it is: a paused one goes on later.
        keep = point.sound & active
        if not surely_all(keep):
            share = (1 - 0.5 * active.to(scale.dtype))[:, None]
            moved = torch.where(keep[:, None], moved, torch.lerp(state["x0"], trial, share))
            mean, square = chosen(keep, mean, state["mean"]), chosen(keep, square, state["square"])
        return {"trial": clip(moved, self.lower, self.upper), "mean": mean, "square": square}

    def _ends(self, count: Tensor, best_l2: Tensor, quiet: Tensor) -> Tensor:
        """Rows (R,) that pause or end after `count` evaluations."""
        if self.until is not None and self.until < self.ticks:
            return count >= self.until
        goes_on = best_l2.isfinite() & (quiet < _QUIET) & (count < (self.longest or self.ticks))
        return (count >= self.ticks) & ~goes_on
