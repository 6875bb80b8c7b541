"""Margins and losses on logits.

A search wants class t and sees a set of competitors: targeted, all other classes; untargeted, the true class alone (the
set of inputs where any wrong class beats the true one is the union over t of those where t does).
"""

import torch
from torch import Tensor

_INFINITY = float("inf")


def margin(logits: Tensor, target: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
    """z_t minus the largest rival logit (R,), and that rival's class (R,). `rivals` (R, C) is a mask."""
    top, who = logits.masked_fill(~rivals, -_INFINITY).max(1)
    return logits.gather(1, target[:, None]).squeeze(1) - top, who


def slack(logits: Tensor) -> Tensor:
    """The margin (R,) that counts as success: 4e-6 of the largest logit.

    In float32 the same image gives logits that differ by about 1e-6 of their size from one batch size to another; a
    smaller margin could be a success here and none there.
    """
    return 4e-6 * logits.abs().amax(1)


def cross_entropy(logits: Tensor, target: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of t among {t} and its rivals (R,), and its gradient in the logits (R, C)."""
    one = torch.zeros_like(logits).scatter_(1, target[:, None], 1.0)
    seen = logits.masked_fill(~(rivals | one.bool()), -_INFINITY)
    log_p = seen.log_softmax(1)
    value = -log_p.gather(1, target[:, None]).squeeze(1)
    return value, log_p.exp() - one


def pair(logits: Tensor, target: Tensor, rival: Tensor) -> tuple[Tensor, Tensor]:
    """z_t - z_rival (R,), and its gradient in the logits (R, C)."""
    value = logits.gather(1, target[:, None]) - logits.gather(1, rival[:, None])
    slope = torch.zeros_like(logits).scatter_(1, target[:, None], 1.0).scatter_(1, rival[:, None], -1.0)
    return value.squeeze(1), slope
