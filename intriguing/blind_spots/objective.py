"""Margins and losses on logits.

A search wants some classes to beat their rivals: targeted, class t all others; untargeted, one wrong class the true one
(where any wrong class beats it is the union of these sets), or all wrong classes together the true one.
"""

import torch
from torch import Tensor

_INFINITY = float("inf")
_ROUNDING = 2.0
"""How many units in the last place of the two logits a margin must exceed."""


def margin(logits: Tensor, target: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
    """z_t minus the largest rival logit (R,), and that rival's class (R,). `rivals` (R, C) is a mask."""
    top, who = logits.masked_fill(~rivals, -_INFINITY).max(1)
    return logits.gather(1, target[:, None]).squeeze(1) - top, who


def contest(logits: Tensor, wanted: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The largest wanted logit minus the largest rival logit (R,), and both classes (R,); (R, C) masks."""
    high, winner = logits.masked_fill(~wanted, -_INFINITY).max(1)
    top, rival = logits.masked_fill(~rivals, -_INFINITY).max(1)
    return high - top, winner, rival


def slack(logits: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The margin (R,) between two classes (R,) that counts as success: what their own rounding may hide.

    Only the two logits that the margin is between count: a class that is masked with a huge number plays no part. What
    rounding inside the model does beyond that, which no formula knows, shows when each result is fed alone in the end
    (`final.settle`).
    """
    pair = torch.stack([one, other], 1)
    return _ROUNDING * torch.finfo(logits.dtype).eps * logits.gather(1, pair).abs().amax(1)


def cross_entropy(logits: Tensor, wanted: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
    """-log of the probability of the wanted classes among them and their rivals (R,), and its gradient (R, C).

    With one wanted class and all others as rivals it is the ordinary cross-entropy.
    """
    log_p = logits.masked_fill(~(wanted | rivals), -_INFINITY).log_softmax(1)
    chosen = log_p.masked_fill(~wanted, -_INFINITY)
    log_q = chosen.logsumexp(1)
    return -log_q, log_p.exp() - (chosen - log_q[:, None]).exp()


def pair(logits: Tensor, target: Tensor, rival: Tensor) -> tuple[Tensor, Tensor]:
    """z_t - z_rival (R,), and its gradient in the logits (R, C)."""
    value = logits.gather(1, target[:, None]) - logits.gather(1, rival[:, None])
    slope = torch.zeros_like(logits).scatter_(1, target[:, None], 1.0).scatter_(1, rival[:, None], -1.0)
    return value.squeeze(1), slope
