"""How the penalty c moves while a row is searched."""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing.blind_spots.engine import State

_INFINITY = float("inf")


@dataclass(frozen=True)
class Truncated:
    """c moves every `inner` accepted steps: up after a success, down after none, by a factor that shrinks at each turn.

    Any success met counts. The row ends after `ticks` evaluations.
    """

    ticks: int
    inner: int = 3
    rejections: int = 4
    noise: float = 0.0
    """As that of `Bracketing`; none, for here a refused step costs one evaluation of few."""
    forces: bool = True
    """At a kink no step may be acceptable: after `rejections` the last is taken, and the history forgotten."""

    def load(self, zero: Tensor) -> State:
        """What a row has to remember."""
        return {
            "accepted": zero.clone(),
            "factor": zero + 4,
            "turned_won": torch.zeros_like(zero, dtype=torch.bool),
            "tick": zero.clone(),
        }

    def move(
        self,
        state: State,
        penalty: Tensor,
        accept: Tensor,
        forced: Tensor,
        won: Tensor,
        success: Tensor,
        drop: Tensor,
        value: Tensor,
    ) -> State:
        """The next c, what to record, and the new memory.

        accept: the trial was taken; won: success at the point held now; success: at the trial; drop: by how much the
        objective, now `value`, fell.
        """
        del forced, drop, value
        accepted = state["accepted"] + accept
        turn = accept & (accepted >= self.inner)
        flipped = turn & (won != state["turned_won"])
        factor = torch.where(flipped, (state["factor"].double() ** 0.6).to(penalty.dtype), state["factor"])
        tick = state["tick"] + 1
        return {
            "penalty": torch.where(turn, torch.where(won, penalty * factor, penalty / factor), penalty),
            "record": success,
            "at_trial": torch.ones_like(success),
            "restart": torch.zeros_like(success),
            "accepted": torch.where(turn, torch.zeros_like(accepted), accepted),
            "factor": factor,
            "turned_won": torch.where(turn, won, state["turned_won"]),
            "tick": tick,
            "done": tick >= self.ticks,
        }


@dataclass(frozen=True)
class Bracketing:
    """The paper's line search over c (section 4.1), read as the largest c whose minimiser still succeeds.

    For each c the objective is minimised until it no longer falls; c is doubled or halved until one success and one
    failure are known, then their bracket is halved in log c until it is narrower than `tolerance`. Only minimisers
    count. Each minimisation starts at the last one's end; the problems solved are the same.
    """

    tolerance: float = 1e-3
    stillness: float = 3e-6
    """A minimisation ends when two accepted steps in a row lower the objective by less than this share of it."""
    noise: float = 3e-6
    """A step that raises the objective by no more than this share is taken: rounding hides whether it descends."""
    longest: int = 200
    """Evaluations per c, at most."""
    moves: int = 60
    """Values of c, at most."""
    rejections: int = 8
    forces: bool = False

    def load(self, zero: Tensor) -> State:
        """What a row has to remember."""
        return {
            "still": zero.clone(),
            "spent": zero.clone(),
            "moved": zero.clone(),
            "low": zero.clone(),
            "high": zero + _INFINITY,
        }

    def move(
        self,
        state: State,
        penalty: Tensor,
        accept: Tensor,
        forced: Tensor,
        won: Tensor,
        success: Tensor,
        drop: Tensor,
        value: Tensor,
    ) -> State:
        """The next c, what to record, and the new memory; arguments as in `Truncated.move`."""
        del success
        quiet = accept & (drop <= self.stillness * value.abs())
        still = torch.where(accept, torch.where(quiet, state["still"] + 1, torch.zeros_like(value)), state["still"])
        spent = state["spent"] + 1
        stuck = forced & ~accept
        settled = (still >= 2) | stuck | (spent >= self.longest)
        low = torch.where(settled & won, torch.maximum(state["low"], penalty), state["low"])
        high = torch.where(settled & ~won, torch.minimum(state["high"], penalty), state["high"])
        # A success above a failure happens where the minimiser jumps between basins: believe the success.
        high = torch.where(high <= low, torch.full_like(high, _INFINITY), high)
        both = (low > 0) & high.isfinite()
        middle = low.sqrt() * high.sqrt()
        ahead = torch.where(both, middle, torch.where(won, 2 * penalty, penalty / 2))
        moved = state["moved"] + settled
        zero = torch.zeros_like(value)
        return {
            "penalty": torch.where(settled, ahead, penalty),
            "record": settled & won,
            "at_trial": torch.zeros_like(won),
            "restart": settled,
            "still": torch.where(settled, zero, still),
            "spent": torch.where(settled, zero, spent),
            "moved": moved,
            "low": low,
            "high": high,
            "done": (both & (high <= low * (1 + self.tolerance))) | (moved >= self.moves),
        }
