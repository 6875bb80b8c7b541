"""Whether a classifier is better than whoever always names the commonest class: one rule, for `init` and for runs."""

import math

CLEARLY = 1e-4
"""Smaller is the probability of being right so often by luck: a model of unknown origin is taken for a trained one."""
HARDLY = 0.05
"""Larger is that probability: a run says that its model is no better than the commonest class."""
FEWEST = 20
"""Test images, at least, of which a run says so: with fewer a good model can look so by luck."""


def beats_commonest(right: int, count: int, commonest: float, level: float = HARDLY) -> bool:
    """Whether `right` of `count` inputs says that a classifier is better than always naming the commonest class.

    That is so where who is right with probability `commonest`, the share of that class, would be right so often with a
    probability below `level` (the exact one-sided binomial test).
    """
    if right <= count * commonest:
        return False
    odds, ways = math.log(commonest) - math.log1p(-commonest), math.lgamma(count + 1)
    tail = 0.0
    for k in range(right, count + 1):  # above the mean the terms only fall
        log_ways = ways - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        term = math.exp(log_ways + k * odds + count * math.log1p(-commonest))
        tail += term
        if term <= 1e-9 * tail:
            break
    return tail < level


def no_better_than_commonest(model: str, error: float, count: int, commonest: float) -> str | None:
    """A sentence on a model that is no better than the commonest class on `count` test images, None where it is.

    error: the share of the test images that it has wrong. Nothing is said of fewer than `FEWEST` images, or one class.
    """
    right = round((1 - error) * count)
    if count < FEWEST or commonest >= 1 or beats_commonest(right, count, commonest):
        return None
    than = "no" if right <= count * commonest else "hardly"
    return (
        f"{model} is wrong on {error:.0%} of the test images, {than} better than always naming the commonest class "
        f"({1 - commonest:.0%}): do labels, preprocessing (values in [0, 1], normalisation inside the model) and "
        "weights fit?"
    )
