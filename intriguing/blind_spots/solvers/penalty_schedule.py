"""Schedules of the penalty c: how c changes while a row is searched."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.masks import surely_none
from intriguing.blind_spots.solvers.loop import State

_INFINITY = float("inf")
_NEARER = 2e-3
"""A share of the distance that is worth another minimisation."""
_NEAR = 1.25
"""How far beyond a point the boundary may lie, as a multiple of its distance, if a linear margin is to tell where."""
_STRIDE, _LONGEST = 0.02, math.log(16)
"""The smallest and the largest change of log c while the bracket has one end; the smallest doubles each time."""
_CAREFUL = 0.25
"""The largest change beyond a jump."""
_BEYOND = 1.25
"""How far the secant is followed then, as a multiple of the way to its root, so that the bracket gets its other end."""
_PATIENT = 3
"""An end of the bracket moves at most so often in a row before the bracket is halved."""
_LEAST = 1e-12
"""Without a success c falls to this share of the first one."""
_EXTRA = 4
"""Number of larger c that are tried where the bracket closes between two basins."""
_ROUGH, _COARSE = 1e-3, 0.03
"""While the bracket is wide a minimisation ends by a larger share than `stillness`: the second number times the square
of the width in log c, at most the first one. An objective that is above its minimum by a share of d leaves the point
wrong by a share of about sqrt(d), so half as wide a bracket asks for a quarter of d. Those that start at the image are
left out: on robust networks they have far to go, and where they lead decides which basin is searched."""
_HALF = 0.5
"""A success closes the bracket alone where the root of the margin is known to lie within this share of the tolerance,
and so does the boundary. The search aims at half of that before the root."""
_LOST = 3
"""After so many values of c without a success each minimisation starts at the image: one that starts where the one
before got stuck, on a plateau or at a kink, stays there."""
_MET = 0.02
"""A minimisation that began at the image leads to the best point when it comes so near, as a share of its distance."""


@dataclass(frozen=True)
class Step:
    """What a step of the minimisation did, per row, each (R,)."""

    penalty: Tensor
    """The c that it was made with."""
    accept: Tensor
    """Whether the trial point was accepted."""
    forced: Tensor
    """Whether no decrease was asked for."""
    won: Tensor
    """Whether the current point is a success."""
    success: Tensor
    """Whether the trial point is one."""
    drop: Tensor
    """The decrease of the objective."""
    value: Tensor
    """What the objective is now."""
    loss: Tensor
    """At the current point."""
    gap: Tensor
    """The margin of the current point, minus its rounding error: a success where it is positive."""
    clean_gap: Tensor
    """That of the image."""
    l2: Tensor
    """The distance of the current point from the image."""
    squared: bool
    """Whether c multiplies the square of the distance."""
    apart: Tensor | None = None
    """The distance of the current point from the best one; None: it is not known."""

    @property
    def reach(self) -> Tensor:
        """The distance of the boundary if the margin is linear between the image and the current point."""
        return self.l2 / self._stretch

    @property
    def boundary(self) -> Tensor:
        """The c whose minimiser lies on the boundary then.

        On the boundary |grad loss|, which c times the norm's gradient balances, is half of |grad margin|.
        """
        c = self.penalty * 0.5 / -torch.expm1(-self.loss)
        return c * self._stretch if self.squared else c

    @property
    def _stretch(self) -> Tensor:
        return (self.gap - self.clean_gap) / -self.clean_gap


@dataclass(frozen=True)
class Truncated:
    """c changes after every `inner` accepted steps: it grows after a success and falls after a failure.

    The factor of the change gets smaller each time that the direction changes. Every success on the way counts as a
    result. The row ends after `ticks` evaluations.
    """

    ticks: int
    inner: int = 3
    rejections: int = 4
    noise: float = 0.0
    """As in `Bracketing`. It is 0 because a refused step costs only one evaluation here."""
    on_the_way: ClassVar[bool] = True
    """Whether any point counts as a result, not the minimisers alone."""
    forces: bool = True
    """Whether the step after `rejections` refused ones is taken in any case, and the L-BFGS history emptied. At a kink
    of the loss it can happen that no step lowers the objective."""

    def load(self, zero: Tensor) -> State:
        """The first state of the schedule, each (R,); zero: (R,) zeros."""
        return {
            "accepted": zero.clone(),
            "factor": zero + 4,
            "turned_won": torch.zeros_like(zero, dtype=torch.bool),
            "tick": zero.clone(),
        }

    def move(self, state: State, step: Step) -> State:
        """The next c, the points to record, and the new state of the schedule."""
        accept, won, penalty = step.accept, step.won, step.penalty
        accepted = state["accepted"] + accept
        turn = accept & (accepted >= self.inner)
        flipped = turn & (won != state["turned_won"])
        factor = torch.where(flipped, (state["factor"].double() ** 0.6).to(penalty.dtype), state["factor"])
        tick, never = state["tick"] + 1, torch.zeros_like(won)
        return {
            "penalty": torch.where(turn, torch.where(won, penalty * factor, penalty / factor), penalty),
            "record": step.success,
            "restart": never,
            "home": never,
            "resume": never,
            "accepted": torch.where(turn, torch.zeros_like(accepted), accepted),
            "factor": factor,
            "turned_won": torch.where(turn, won, state["turned_won"]),
            "tick": tick,
            "done": tick >= self.ticks,
        }


@dataclass(frozen=True)
class Bracketing:
    """The paper's line search over c (section 4.1), read as the largest c whose minimiser still succeeds.

    For each c the objective is minimised until it no longer falls, and only minimisers count as results. The first c
    that are tried come from a margin that is linear on the way from the image, and then from a secant, until there is
    one success and one failure. The bracket between the two shrinks by the Illinois method, on the margin as a function
    of log c (Dowell and Jarratt 1971, "A modified regula falsi method"), until its ends differ by less than the factor
    1 + `tolerance` or its lower end lies on the boundary. Each minimisation starts at the minimiser of the one before,
    and is less exact while the bracket is wide.

    Two things may end that too far. Where the margin at the largest c with a success is still large, a larger c led
    into another basin: a few more of them are tried, from the success. And other basins may be nearer: one minimisation
    with this c (with a kink: with the first one, if that is smaller: it leaves the image) starts at the image again,
    and where it leads to a nearer point the search of c begins anew from there. It ends where it comes to the best one.

    Where some c have no success all smaller ones start at the image, as they do in a loop; where none has one, they are
    all tried once more, each from the minimiser of the one before.
    """

    tolerance: float = 1e-3
    stillness: float = 3e-6
    """A minimisation ends when two accepted steps in a row each lower the objective by less than this share of it, and
    earlier while the bracket is wide."""
    noise: float = 3e-6
    """A step is accepted if it raises the objective by at most this share, since rounding causes such differences."""
    longest: int = 200
    """Largest number of evaluations per c."""
    moves: int = 60
    """Largest number of values of c."""
    kink: bool = False
    """Whether the norm has a kink at the image, as |r| has. Where a minimisation ended there none can start: after a
    failure the next one starts at the nearest success."""
    rejections: int = 8
    forces: bool = False
    on_the_way: ClassVar[bool] = False

    def load(self, zero: Tensor) -> State:
        """The first state of the schedule, each (R,); zero: (R,) zeros."""
        no = torch.zeros_like(zero, dtype=torch.bool)
        return {
            "still": zero.clone(),
            "spent": zero.clone(),
            "share": zero + self.stillness,
            "moved": zero.clone(),
            "low": zero.clone(),
            "high": zero + _INFINITY,
            "low_gap": zero.clone(),
            "high_gap": zero.clone(),
            "run": zero.clone(),
            "halves": no.clone(),
            "short": zero + 1,
            "stride": zero + _STRIDE,
            "extra": zero.clone(),
            "least": zero.clone(),
            "jumped": no.clone(),
            "returns": no.clone(),
            "returned": no.clone(),
            "chained": no.clone(),
        }

    def move(self, state: State, step: Step) -> State:
        """The next c, the points to record, and the new state of the schedule."""
        met = self._met(state, step)
        count, settled = self._minimised(state, step, met)
        if surely_none(settled):
            never = dict.fromkeys(("record", "restart", "home", "resume", "done"), settled)
            return {**count, **never, "penalty": step.penalty}
        back = state["returns"] & settled
        nearer = back & ~met & self._nearer(state, step)
        ends = self._ends(state, step, settled, nearer)
        low, high = ends["low"], ends["high"]
        jumped = state["jumped"] & ~nearer
        extra = torch.where(settled, (state["extra"] - 1).clamp(min=0), state["extra"])
        both = (low > 0) & high.isfinite()
        closed = settled & ((both & self._closes(ends)) | (jumped & (extra == 0)))
        narrow = closed | (settled & both & ends["halves"] & (high <= low * math.exp(_STRIDE)))
        jump = narrow & ~jumped & (ends["short"] < 1 - _NEARER)
        home = closed & ~jump & ~state["returned"]
        jumped = jumped | jump
        extra = torch.where(jump, float(_EXTRA), extra)
        ahead = torch.where(both & ~jump, self._inside(ends), self._outside(state, step, jump, low))
        least = torch.where(state["moved"] == 0, _LEAST * step.penalty, state["least"])
        none = settled & ~step.won & state["best_l2"].isinf()
        hopeless = settled & (ahead < least)
        from_image = none & ~state["chained"] & (not self.kink)
        last = hopeless & from_image & ~state["blind"]
        lost = from_image & (state["moved"] >= _LOST - 1)
        ahead = torch.where(last, least / _LEAST, ahead)
        again = torch.minimum(low, least / _LEAST) if self.kink else low
        stride = torch.where(settled, (2 * state["stride"]).clamp(max=_LONGEST), state["stride"])
        return {
            **ends,
            **count,
            "share": torch.where(settled, self._share(ends, home | lost | (extra > 0)), state["share"]),
            "penalty": torch.where(settled, torch.where(home, again, ahead), step.penalty),
            "record": settled & step.won & ~met,
            "restart": settled,
            "home": home | lost,
            "resume": settled & ~step.won & ((low > 0) if self.kink else jumped & (extra > 0)) & ~home,
            "high": torch.where(jump | last, _INFINITY, high),
            "stride": torch.where(both | last, _STRIDE, stride),
            "extra": extra,
            "least": least,
            "jumped": jumped,
            "returns": torch.where(settled, home, state["returns"]),
            "returned": state["returned"] | home,
            "chained": state["chained"] | last,
            "done": (back & ~nearer) | (closed & ~jump & ~home) | (hopeless & ~last) | (count["moved"] >= self.moves),
        }

    def _met(self, state: State, step: Step) -> Tensor:
        """Minimisations (R,) that began at the image and lead to the best point, from which the search of c comes."""
        if step.apart is None or self.kink or surely_none(state["returns"]):
            return torch.zeros_like(state["returns"])
        return state["returns"] & step.accept & (step.apart < _MET * state["best_l2"])

    def _share(self, ends: State, exactly: Tensor) -> Tensor:
        """The share (R,) of the objective below which a decrease counts as none in the next minimisation."""
        width = (ends["high"] / ends["low"]).log()
        return (_COARSE * width.square()).clamp(self.stillness, _ROUGH).masked_fill(exactly, self.stillness)

    def _minimised(self, state: State, step: Step, met: Tensor) -> tuple[State, Tensor]:
        """The counts of steps, and which minimisations end with this one (R,)."""
        quiet = step.accept & (step.drop <= state["share"] * step.value.abs())
        still = torch.where(step.accept, torch.where(quiet, state["still"] + 1, 0.0), state["still"])
        spent = state["spent"] + 1
        stuck = step.forced & ~step.accept
        # Beyond a jump a minimisation that has left the success's basin goes nowhere that is of use.
        left = (state["extra"] > 0) & ~state["returns"] & ~step.won & (step.gap < -state["low_gap"])
        settled = (still >= 2) | stuck | (spent >= self.longest) | left | met
        still, spent = (torch.where(settled, 0.0, count) for count in (still, spent))
        return {"still": still, "spent": spent, "moved": state["moved"] + settled}, settled

    def _nearer(self, state: State, step: Step) -> Tensor:
        """Whether the current point is a success in another basin, or near the boundary, where that is nearer than the
        best.
        """
        best, reach = state["best_l2"], step.reach
        other = torch.where(step.won, (step.l2 - best).abs() > _NEARER * best, reach < _NEAR * step.l2)
        return other & (torch.minimum(step.l2.where(step.won, reach), reach) < (1 - _NEARER) * best)

    def _ends(self, state: State, step: Step, settled: Tensor, anew: Tensor) -> State:
        """The bracket (`low`, `high`), the margins at its ends, how often its lower end just moved (`run`; negative:
        the upper one), whether an end moved so often that the bracket is halved from now on (`halves`), and how far the
        boundary lies from the image as a share of the distance at the lower end if the margin is linear (`short`).

        anew: rows (R,) whose bracket begins anew. As the Illinois method wants it, the margin of an end is halved while
        the other one moves twice in a row.
        """
        up, down = settled & step.won, settled & ~step.won
        low = torch.where(anew, 0.0, state["low"])
        high = torch.where(anew, _INFINITY, state["high"])
        low = torch.where(up, torch.maximum(low, step.penalty), low)
        high = torch.where(down, torch.minimum(high, step.penalty), high)
        halved = torch.ones_like(high).masked_fill(self._again(state, step), 0.5)
        # A success at a larger c than a failure happens where minimisers lie in different basins: keep the success.
        high = torch.where(high <= low, _INFINITY, high)
        low_gap, high_gap, run = state["low_gap"], state["high_gap"], state["run"]
        run = torch.where(settled, torch.where(step.won, run.clamp(min=0) + 1, run.clamp(max=0) - 1), run)
        both = (low > 0) & high.isfinite()
        return {
            "low": low,
            "high": high,
            "low_gap": torch.where(up, step.gap, torch.where(down, halved * low_gap, low_gap)),
            "high_gap": torch.where(down, step.gap, torch.where(up, halved * high_gap, high_gap)),
            "run": torch.where(both, run, run.sign()),
            "halves": (state["halves"] & ~anew) | (both & (run.abs() > _PATIENT)),
            "short": torch.where(up, step.reach / step.l2, state["short"]),
        }

    def _closes(self, ends: State) -> Tensor:
        """Whether the bracket is narrow enough (R,), or its lower end so near to the root, in c and in distance."""
        low, high = ends["low"], ends["high"]
        root = self._root(ends, (high / low).log())
        near = (root <= _HALF * self.tolerance) & (ends["short"] >= 1 - _HALF * self.tolerance) & ~ends["halves"]
        return (high <= low * (1 + self.tolerance)) | near

    def _root(self, ends: State, width: Tensor) -> Tensor:
        """Log of the root of the straight line through both margins over the lower end (R,); width: of the bracket."""
        return width * (ends["low_gap"] / (ends["low_gap"] - ends["high_gap"]))

    def _again(self, state: State, step: Step) -> Tensor:
        """Whether the end of the bracket that moved last moves again if the minimisation ends here (R,)."""
        return torch.where(step.won, state["run"] > 0, state["run"] < 0)

    def _inside(self, ends: State) -> Tensor:
        """The next c (R,) within the bracket: the root of the straight line through both margins.

        It keeps so far from the ends that two of them close a bracket around a root that is known well. Where one end
        moved again and again, for the margin jumps, it is the middle.
        """
        width = (ends["high"] / ends["low"]).log()
        edge = (width / 2).clamp(max=0.9 * math.log1p(self.tolerance))
        root = self._root(ends, width) - _HALF**2 * self.tolerance
        root = torch.where(root.isfinite() & ~ends["halves"], root, width / 2)
        return ends["low"] * torch.maximum(torch.minimum(root, width - edge), edge).exp()

    def _outside(self, state: State, step: Step, jump: Tensor, low: Tensor) -> Tensor:
        """The next c (R,) where one end of the bracket is not known; after a jump: beyond the success at `low`."""
        won = step.won
        before, gap = (torch.where(won, state[a], state[b]) for a, b in (("low", "high"), ("low_gap", "high_gap")))
        secant = _BEYOND * step.gap * (step.penalty / before).log() / (gap - step.gap)
        again = self._again(state, step) & ~state["returns"]
        way = torch.where(again, secant, (step.boundary / step.penalty).log())
        upward = won | jump
        way = torch.where(upward, way, -way)
        longest = torch.full_like(way, _LONGEST).masked_fill(jump | state["jumped"], _CAREFUL)
        way = torch.minimum(torch.maximum(torch.where(way.isfinite(), way, 0.0), state["stride"]), longest)
        return torch.where(jump, low, step.penalty) * torch.where(upward, way, -way).exp()
