"""Schedules of the penalty c: how c changes while a row is searched."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from intriguing.blind_spots.loop import State

_INFINITY = float("inf")


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
        tick = state["tick"] + 1
        return {
            "penalty": torch.where(turn, torch.where(won, penalty * factor, penalty / factor), penalty),
            "record": step.success,
            "restart": torch.zeros_like(won),
            "accepted": torch.where(turn, torch.zeros_like(accepted), accepted),
            "factor": factor,
            "turned_won": torch.where(turn, won, state["turned_won"]),
            "tick": tick,
            "done": tick >= self.ticks,
        }


@dataclass(frozen=True)
class Bracketing:
    """The paper's line search over c (section 4.1), read as the largest c whose minimiser still succeeds.

    For each c the objective is minimised until it no longer falls. c is doubled or halved until there is one success
    and one failure. Then the bracket between the two is halved in log c until its ends differ by less than the factor
    1 + `tolerance`. Only minimisers count as results. Each minimisation starts at the minimiser of the one before.
    """

    tolerance: float = 1e-3
    stillness: float = 3e-6
    """A minimisation ends when two accepted steps in a row each lower the objective by less than this share of it."""
    noise: float = 3e-6
    """A step is accepted if it raises the objective by at most this share, since rounding causes such differences."""
    longest: int = 200
    """Largest number of evaluations per c."""
    moves: int = 60
    """Largest number of values of c."""
    rejections: int = 8
    forces: bool = False
    on_the_way: ClassVar[bool] = False

    def load(self, zero: Tensor) -> State:
        """The first state of the schedule, each (R,); zero: (R,) zeros."""
        return {
            "still": zero.clone(),
            "spent": zero.clone(),
            "moved": zero.clone(),
            "low": zero.clone(),
            "high": zero + _INFINITY,
        }

    def move(self, state: State, step: Step) -> State:
        """The next c, the points to record, and the new state of the schedule."""
        accept, won, penalty, value = step.accept, step.won, step.penalty, step.value
        quiet = accept & (step.drop <= self.stillness * value.abs())
        still = torch.where(accept, torch.where(quiet, state["still"] + 1, torch.zeros_like(value)), state["still"])
        spent = state["spent"] + 1
        stuck = step.forced & ~accept
        settled = (still >= 2) | stuck | (spent >= self.longest)
        low = torch.where(settled & won, torch.maximum(state["low"], penalty), state["low"])
        high = torch.where(settled & ~won, torch.minimum(state["high"], penalty), state["high"])
        # A success at a larger c than a failure happens where minimisers lie in different basins: keep the success.
        high = torch.where(high <= low, torch.full_like(high, _INFINITY), high)
        both = (low > 0) & high.isfinite()
        middle = low.sqrt() * high.sqrt()
        ahead = torch.where(both, middle, torch.where(won, 2 * penalty, penalty / 2))
        moved = state["moved"] + settled
        zero = torch.zeros_like(value)
        return {
            "penalty": torch.where(settled, ahead, penalty),
            "record": settled & won,
            "restart": settled,
            "still": torch.where(settled, zero, still),
            "spent": torch.where(settled, zero, spent),
            "moved": moved,
            "low": low,
            "high": high,
            "done": (both & (high <= low * (1 + self.tolerance))) | (moved >= self.moves),
        }
