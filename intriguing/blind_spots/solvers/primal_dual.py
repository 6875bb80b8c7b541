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
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Bound, clip
from intriguing.blind_spots.arithmetic.lbfgs import dot
from intriguing.blind_spots.arithmetic.masks import chosen, surely_all, surely_finite, surely_none
from intriguing.blind_spots.arithmetic.objective import Standing, cross_entropy, duel, one_entropy, standing
from intriguing.blind_spots.arithmetic.steepness import either_way, mended
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.solvers.loop import State

_INFINITY = float("inf")
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
_PACE = ("ticks", "first", "last", "decay")
"""Inputs that give rows a pace of their own."""
PAUSED = (
    *("trial", "mean", "square", "unit", "scale", "dual", "weight", "tick", "clean_gap", "highest", "estimates"),
    *("mark", "quiet", "predicted"),
)
"""What a paused row needs besides the outputs to go on."""


def _sigmoid(x: Tensor) -> Tensor:
    """The sigmoid, in float64: in float32 its last bit depends on the number of values in the tensor."""
    return torch.sigmoid(x.double()).to(x.dtype)


def _some(value: Tensor, s: slice | Tensor) -> Tensor:
    """The rows `s` of a tensor of the state; the tensor itself where these are all."""
    if isinstance(s, Tensor):
        return value.index_select(0, s)
    return value if s.start in (0, None) and s.stop in (value.shape[0], None) else value[s]


def _between(logits: Tensor, both: Standing, pull: Tensor) -> Tensor:
    """A gradient in the logits (b, C): `pull` (b,) at the best rival, and its negative at the best goal."""
    winner, rival, pull = both.winner[:, None], both.rival[:, None], pull[:, None]
    return torch.zeros_like(logits).scatter_(1, winner, -pull).scatter_(1, rival, pull)


class _Point(NamedTuple):
    """What the model says of the trial points of R rows."""

    gap: Tensor
    """(R,) the margin."""
    gradient: Tensor
    """(R, n), of the loss."""
    norm: Tensor
    """(R,) that of the gradient."""
    steep: Tensor | None
    """(R,) whether a slope is infinite or unknown; None where none is."""
    turned: Tensor | None
    """(R, n) values of unknown slope whose step was turned into the box; None where there is none."""
    sound: Tensor
    """(R,) whether the row is active, and margin and gradient are finite."""
    all_sound: bool
    """Whether margins and gradients are known to be finite everywhere."""
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


def _predicted(point: _Point) -> Tensor:
    """The distances (R,) that the slopes at the images predict: the margin, which is four units, over its slope."""
    return 4 / point.norm


class _Phase(NamedTuple):
    """Which rows need what only some of the steps do; None where no row is known to."""

    first: Tensor | None
    """(R,) rows at their first evaluation."""
    never: Tensor | None
    """(R,) active rows without a success so far."""


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
    lone: bool = False
    """Whether each row has one goal, its `target`."""
    width: float | None = None
    """Width of the box as a root mean square over its values; None: upper - lower, for a box of two numbers."""
    poll: int = 4
    outputs: tuple[str, ...] = ("best", "best_l2", "best_class", "forward", "backward", "broken", "blind")
    _tables: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What depends on the tick alone, per tick (T,)."""

    def paused(self, begin: int, end: int) -> "PrimalDual":
        """The solver of the evaluations from `begin` to `end`; it returns all that a row needs to go on."""
        outputs = self.outputs if end >= self.ticks else (*self.outputs, *PAUSED)
        return replace(self, until=end, poll=math.gcd(self.poll, end - begin), outputs=outputs)

    def load(self, inputs: State) -> State:
        """The first state: rows start at the image or at `begin` (R, n), if it is given, or where they paused.

        `ticks`, `first`, `last` and `decay` (R,) in the inputs give each row its own number of evaluations (not more
        than the solver's), lengths of steps and decay of the first moment.
        """
        x0 = inputs["x0"]
        if "tick" in inputs:
            return {**inputs, "done": inputs["broken"].clone()}
        begin = inputs.get("begin", x0)
        pace = self._pace(inputs)
        inputs = {name: value for name, value in inputs.items() if name not in ("begin", *_PACE)} | pace
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
            "tick": torch.zeros_like(inputs["target"]),
            "clean_gap": zero.clone(),
            "predicted": zero.clone(),
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

    @property
    def _pauses(self) -> bool:
        """Whether rows go on after the outputs."""
        return self.until is not None and self.until < self.ticks

    @property
    def _last(self) -> int:
        """The last tick. One more is a multiple of 16, so that kernels round all entries of a table alike."""
        return (max(self.ticks, self.longest or 0) // 16 + 1) * 16 - 1

    def _pace(self, inputs: State) -> State:
        """What rows with a pace of their own need for it: per row the tables of `_at`, and the decay."""
        if not any(name in inputs for name in _PACE):
            return {}
        like, own = inputs["x0"], {"ticks": self.ticks, "first": self.first, "last": self.last, "decay": self.mean}
        ticks, first, last, decay = (
            inputs.get(name, torch.tensor(value, dtype=torch.float64))
            .to(like.device, torch.float64)
            .expand(len(like))
            .unsqueeze(1)
            for name, value in own.items()
        )
        rates, sizes = self._rates(ticks, like), self._sizes((ticks, first, last, decay), like)
        most, decay = ticks.squeeze(1).to(torch.long), decay.squeeze(1).to(like.dtype)
        return {"sizes": sizes, "rates": rates, "most": most, "decay": decay}

    def _sizes(self, pace: tuple[Tensor | float, ...], like: Tensor) -> Tensor:
        """The lengths of the steps over their unit, per tick (..., T); pace: values, or (R, 1), in `_PACE`'s order."""
        ticks, first, last, decay = pace
        time = torch.arange(1, self._last + 2, dtype=torch.float64, device=like.device)
        shrunk = (last / first) ** ((time - 1) / ticks)
        debiased = (1 - _SQUARE**time).sqrt() / (1 - decay**time)
        return (first / math.sqrt(self.evaluator.size) * shrunk * debiased).to(like.dtype)

    def _rates(self, ticks: Tensor | float, like: Tensor) -> Tensor:
        """By how much a step changes the logarithm of the multiplier, per tick (..., T); ticks: a value, or (R, 1)."""
        tick = torch.arange(self._last + 1, dtype=like.dtype, device=like.device)
        last = (ticks - 1).clamp(min=1).to(like.dtype) if isinstance(ticks, Tensor) else max(1, ticks - 1)
        return _DUAL_RATE * (1 - 0.9 * (tick / last).clamp(max=1))

    def _at(self, state: State) -> tuple[Tensor, Tensor]:
        """The length of the next step over its unit (R,), and the change of the multiplier's logarithm (R,)."""
        tick, tables = state["tick"], self._tables
        if "sizes" in state:
            at = tick.unsqueeze(1)
            return state["sizes"].gather(1, at).squeeze(1), state["rates"].gather(1, at).squeeze(1)
        if not tables:
            like, pace = state["scale"], (self.ticks, self.first, self.last, self.mean)
            tables |= {"sizes": self._sizes(pace, like), "rates": self._rates(self.ticks, like)}
        return tables["sizes"].index_select(0, tick), tables["rates"].index_select(0, tick)

    def _phase(self, state: State, active: Tensor) -> _Phase:
        """Which rows are at their first evaluation, and which have no success."""
        first = None if surely_all(state["tick"]) else state["tick"] == 0
        never = None if surely_finite(state["best_l2"]) else active & state["best_l2"].isinf()
        return _Phase(first, None if never is None or surely_none(never) else never)

    def step(self, state: State) -> State:
        """One evaluation of all rows, and the next trial points."""
        active = ~state["done"]
        phase = self._phase(state, active)
        point = self._judged(state, active, phase)
        scale = self._scale(state, point, phase)
        size, rate = self._at(state)
        late = self._late(state, point, phase)
        dual, weight = state["dual"], state["weight"]
        if late is not None:
            start = torch.full_like(scale, self.dual)
            dual, weight = torch.where(late, start, dual), torch.where(late, _sigmoid(start), weight)
        sign = point.gap.sign() if point.all_sound else point.gap.sign().nan_to_num()
        dual = torch.addcmul(dual, rate, sign, value=-1).clamp_(-_DUAL_LARGEST, _DUAL_LARGEST)
        pull = (1 - weight) / (point.l2 * scale).clamp_(min=1e-30)
        count = (state["tick"] + 1).clamp_(max=self._last)
        change = {
            **self._moved(state, point, (weight, pull, size.mul_(scale)), late),
            **self._marked(state, point, phase),
            "unit": point.unit,
            "scale": scale,
            "dual": dual,
            "weight": (1 - self.inertia) * _sigmoid(dual) + self.inertia * weight,
            "tick": count,
        }
        if self._pauses and not surely_all(active):  # a paused row goes on later
            change = {name: chosen(active, value, state[name]) for name, value in change.items()}
        change["done"] = state["done"] | self._ends(state, count, point.best_l2, change.get("quiet"))
        if not point.all_sound and phase.first is not None:
            mute = phase.first & active & ~point.sound
            change |= {"broken": state["broken"] | mute, "done": change["done"] | mute}
        if not surely_none(state["blind"]):
            change["blind"] = state["blind"] & ((point.norm == 0) | ~active)
        if not surely_none(point.better):
            change["best"] = chosen(point.better, state["trial"], state["best"])
            change["best_l2"] = point.best_l2
            change["best_class"] = torch.where(point.better, point.winner, state["best_class"])
        return change | {"forward": state["forward"] + active, "backward": state["backward"] + active}

    def _stands(self, state: State, logits: Tensor, s: slice | Tensor, phase: _Phase) -> tuple[Standing, Tensor]:
        """How some rows stand, and their unit of the margin (b,): a quarter of the margin at the image."""
        target, rivals, unit = (_some(state[name], s) for name in ("target", "rivals", "unit"))
        both = duel(logits, target, rivals) if self.lone else standing(logits, _some(state["goals"], s), rivals)
        if phase.first is not None:
            new = torch.maximum(both.gap.abs() / 4, both.slack)
            new = new.where(new > 0, torch.ones_like(new))
            unit = torch.where(_some(phase.first, s), new, unit)
        return both, unit

    def _slope(
        self, state: State, logits: Tensor, s: slice | Tensor, never: Tensor | None, told: tuple[Standing, Tensor]
    ) -> Tensor:
        """The gradient (b, C) of the loss of some rows in their logits. never: as in `_Phase`; told: by `_stands`."""
        both, unit = told
        gap = both.gap
        pull = _sigmoid(-gap / unit)
        never = None if self.patient or never is None else _some(never, s) & (gap < 0)
        if never is None or surely_none(never):
            return _between(logits, both, pull / unit)
        goals, rivals = _some(state["goals"], s), _some(state["rivals"], s)
        if self.lone:
            _, entropy = one_entropy(logits, both.winner, goals | rivals)
        else:
            _, entropy = cross_entropy(logits, goals, rivals)
        return torch.where(never[:, None], entropy, _between(logits, both, pull)) / unit[:, None]

    def _judged(self, state: State, active: Tensor, phase: _Phase) -> _Point:
        """What the model says of the trial points."""
        trial, parts = state["trial"], list[tuple[Standing, Tensor]]()

        def loss(logits: Tensor, s: slice | Tensor) -> tuple[Tensor, Tensor]:
            parts.append(self._stands(state, logits, s, phase))
            return parts[-1][1], self._slope(state, logits, s, phase.never, parts[-1])

        z, _, gradient = self.evaluator.gradient(trial, loss, active)
        one = len(parts) == 1 and len(parts[0][1]) == len(trial)
        both, unit = parts[0] if one else self._stands(state, z, slice(None), phase)
        gap, square = both.gap, dot(gradient, gradient)
        sound, all_sound, steep, turned = active, surely_finite(gap, square), None, None
        if not all_sound:
            unknown = None if phase.first is None else gradient.isnan() & phase.first[:, None]
            steep = ~square.isfinite()
            gradient, known = mended(gradient)
            if unknown is not None:
                ways, turned = either_way(gradient, trial, self.lower, self.upper)
                gradient, turned = torch.where(unknown, ways, gradient), unknown & turned
            square = dot(gradient, gradient)
            sound = active & gap.isfinite() & known
        r = trial - state["x0"]
        l2 = dot(r, r).sqrt()
        better = sound & (gap > both.slack) & (l2 < state["best_l2"])
        best_l2 = torch.where(better, l2, state["best_l2"])
        told = (gap, gradient, square.sqrt(), steep, turned, sound, all_sound)
        return _Point(*told, both.winner, unit, r, l2, better, best_l2)

    def _late(self, state: State, point: _Point, phase: _Phase) -> Tensor | None:
        """Rows (R,) whose first success came late; None where there is surely none.

        What drove such a row outwards would carry it far beyond.
        """
        if phase.never is None:
            return None
        late = point.better & phase.never & (state["tick"] > _WAIT)
        return None if surely_none(late) else late

    def _marked(self, state: State, point: _Point, phase: _Phase) -> State:
        """What the state keeps of margins and distances, as far as it is of use."""
        gap, change = point.gap, State()
        if phase.first is not None:
            change["clean_gap"] = torch.where(phase.first, gap, state["clean_gap"])
            predicted = _predicted(point)
            predicted = predicted if point.steep is None else predicted.masked_fill(point.steep, _INFINITY)
            change["predicted"] = torch.where(phase.first, predicted, state["predicted"])
        if phase.never is not None and not self.patient:
            highest = torch.maximum(gap, state["highest"])
            change["highest"] = highest if phase.first is None else torch.where(phase.first, gap, highest)
        if (self.longest or 0) > self.ticks:
            nearer = point.best_l2 < (1 - _FALL) * state["mark"]
            change["mark"] = torch.where(nearer, point.best_l2, state["mark"])
            change["quiet"] = torch.where(nearer, 0, state["quiet"] + 1)
        if self._pauses:
            change["estimates"] = self._estimated(state, point, change.get("clean_gap", state["clean_gap"]))
        return change

    def _estimated(self, state: State, point: _Point, clean_gap: Tensor) -> Tensor:
        """The last estimates (R, `_RECENT`) of the distance, with that of the trial points.

        It is where the ray from the image through the trial point crosses the boundary if the margin is linear along
        it. clean_gap: (R,) the margin at the image.
        """
        gap, l2 = point.gap, point.l2
        crossing = l2 * clean_gap / (clean_gap - gap)
        crossing = crossing.where((gap > clean_gap) & (l2 > 0), torch.full_like(l2, _INFINITY))
        return torch.cat([state["estimates"][:, 1:], crossing[:, None]], 1)

    def _scale(self, state: State, point: _Point, phase: _Phase) -> Tensor:
        """The unit of the steps' lengths (R,)."""
        gap, tick, highest, clean_gap, scale = (
            point.gap, state["tick"], state["highest"], state["clean_gap"], state["scale"]
        )  # fmt: skip
        width = float(self.upper - self.lower) if self.width is None else self.width
        far = _FAR * width * math.sqrt(self.evaluator.size)
        if self.patient:
            return torch.full_like(gap, far)
        if phase.first is not None:
            clean_gap = torch.where(phase.first, gap, clean_gap)
            scale = torch.where(phase.first, _predicted(point).clamp(1e-9 * far, far), scale)
        nearest = torch.minimum(scale, point.best_l2)
        if phase.never is None:
            return nearest
        rising = gap - highest > _PROGRESS * gap.abs()
        grows = phase.never & ~point.better & (tick >= _WAIT) & ~rising & (highest < _NEAR * clean_gap)
        return torch.where(grows, _GROWTH * scale, nearest)

    def _moved(self, state: State, point: _Point, steer: tuple[Tensor, Tensor, Tensor], late: Tensor | None) -> State:
        """The next trial points and Adam's averages.

        steer: weight of the gradient, weight of the change, and length of the step, each (R,); late: (R,) the rows
        whose averages begin anew.
        """
        weight, pull, size = (value[:, None] for value in steer)
        trial = state["trial"]
        total = (weight * point.gradient).addcmul_(pull, point.r)
        square = (total * total).lerp_(state["square"], _SQUARE)
        decay = state.get("decay", self.mean)
        decay = decay if late is None else decay * (~late).to(total.dtype)
        mean = total.lerp_(state["mean"], decay.unsqueeze(1) if isinstance(decay, Tensor) else decay)
        moved = torch.addcdiv(trial, size * mean, square.sqrt().add_(1e-20), value=-1)
        if point.turned is not None:
            moved = torch.where(point.turned, torch.lerp(trial, moved, 0.5), moved)
        if not point.all_sound:
            # Where an output or gradient is not finite: go half the way back and leave the averages as they are.
            moved = chosen(point.sound, moved, torch.lerp(state["x0"], trial, 0.5))
            mean, square = chosen(point.sound, mean, state["mean"]), chosen(point.sound, square, state["square"])
        return {"trial": clip(moved, self.lower, self.upper), "mean": mean, "square": square}

    def _ends(self, state: State, count: Tensor, best_l2: Tensor, quiet: Tensor | None) -> Tensor:
        """Rows (R,) that pause or end after `count` evaluations."""
        if self._pauses:
            return count >= (self.until or 0)
        ends = count >= state.get("most", self.ticks)
        if quiet is None:
            return ends
        return ends & ~(best_l2.isfinite() & (quiet < _QUIET) & (count < (self.longest or self.ticks)))
