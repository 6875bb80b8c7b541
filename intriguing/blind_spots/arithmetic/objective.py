"""Margins and losses on logits.

A row is a success when one of its goals has a larger logit than all of its rivals. Targeted: the goal is class t, the
rivals are all others. Untargeted: the rival is the true class; the goals are one wrong class, or all of them.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_INFINITY = float("inf")
_ROUNDING = 2.0
"""A margin must be larger than this many units in the last place of its two logits."""


def margin(logits: Tensor, target: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
    """z_t minus the largest rival logit (R,), and that rival's class (R,). `rivals` (R, C) is a mask."""
    top, who = logits.where(rivals, -_INFINITY).max(1)
    return logits.gather(1, target[:, None]).squeeze(1) - top, who


class Standing(NamedTuple):
    """How the goals of R rows stand against their rivals."""

    high: Tensor
    """(R,) the largest logit of the goals."""
    top: Tensor
    """(R,) that of the rivals."""
    winner: Tensor
    """(R,) the class of the former."""
    rival: Tensor
    """(R,) that of the latter."""

    @property
    def gap(self) -> Tensor:
        """The margin (R,)."""
        return self.high - self.top

    @property
    def slack(self) -> Tensor:
        """The margin (R,) above which a row is a success, as in `slack`."""
        return _ROUNDING * torch.finfo(self.high.dtype).eps * torch.maximum(self.high.abs(), self.top.abs())


def standing(logits: Tensor, goals: Tensor, rivals: Tensor) -> Standing:
    """The best of the goals and of the rivals of each row; both masks are (R, C)."""
    high, winner = logits.where(goals, -_INFINITY).max(1)
    top, rival = logits.where(rivals, -_INFINITY).max(1)
    return Standing(high, top, winner, rival)


def duel(logits: Tensor, target: Tensor, rivals: Tensor) -> Standing:
    """What `standing` gives where each row has one goal, the class `target` (R,)."""
    top, rival = logits.where(rivals, -_INFINITY).max(1)
    return Standing(logits.gather(1, target[:, None]).squeeze(1), top, target, rival)


def slack(logits: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The margin (R,) between two classes (R,) above which a row is a success: the rounding error of their logits.

    It depends on the two logits only, not on a class that is masked with a huge number. Rounding inside the model can
    be larger; `confirmation.confirm` takes account of it by classifying each result alone.
    """
    pair = torch.stack([one, other], 1)
    return _ROUNDING * torch.finfo(logits.dtype).eps * logits.gather(1, pair).abs().amax(1)


def cross_entropy(logits: Tensor, goals: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
    """-log of the probability of the goals among goals and rivals (R,), and its gradient in the logits (R, C).

    With one goal and all other classes as rivals it is the ordinary cross-entropy.
    """
    log_p = logits.masked_fill(~(goals | rivals), -_INFINITY).log_softmax(1)
    goal_log_p = log_p.masked_fill(~goals, -_INFINITY)
    log_q = goal_log_p.logsumexp(1)
    return -log_q, log_p.exp() - (goal_log_p - log_q[:, None]).exp()


def one_entropy(logits: Tensor, target: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """What `cross_entropy` gives where each row has one goal, the class `target` (R,), with less work.

    allowed: (R, C), goals and rivals.
    """
    log_p = logits.where(allowed, -_INFINITY).log_softmax(1)
    goal = target[:, None]
    less = torch.full_like(goal, -1, dtype=logits.dtype)
    return -log_p.gather(1, goal).squeeze(1), log_p.exp().scatter_add_(1, goal, less)


def pair(logits: Tensor, target: Tensor, rival: Tensor) -> tuple[Tensor, Tensor]:
    """z_t - z_rival (R,), and its gradient in the logits (R, C)."""
    value = logits.gather(1, target[:, None]) - logits.gather(1, rival[:, None])
    slope = torch.zeros_like(logits).scatter_(1, target[:, None], 1.0).scatter_(1, rival[:, None], -1.0)
    return value.squeeze(1), slope
