"""Figures of hardening as texts, for the page, a terminal and the documents alike."""

from math import exp

from intriguing.stages.hardening.outcome.judged import Row
from intriguing.stages.hardening.outcome.summary import Interval, ModelSummary, Reached, VariantSummary
from intriguing.stats.seeds import PairedDifference
from intriguing.stats.signs import signed, with_minus

SCHEDULE = (
    "The step size of a training falls along a cosine over all of its epochs, and most of the error falls with it at "
    "the end: epochs to an error compare variants that have the same number of epochs."
)
"""What is to be known to read how fast an error is reached."""


def value(claim: Row) -> tuple[str, str]:
    """A claim's figure and its interval, as texts; "–" and "" where there are none.

    Differences of errors are in percentage points, with their sign; ratios have none.
    """
    if claim["value"] is None:
        return "–", ""
    points = claim["measure"].startswith("difference")

    def shown(x: float) -> str:
        return signed(100 * x, ".2f") if points else with_minus(f"{x:.2f}")

    told = f"{shown(claim['value'])}{' points' if points else ''}"
    if claim["low"] is None:
        return told, "one seed, no interval" if claim["seeds"] == 1 else "no interval"
    return told, f"95 % interval {shown(claim['low'])} to {shown(claim['high'])}"


def noise(claim: Row, images: int) -> str:
    """The noise of the test set in a difference of errors: "0.19 points (19 images)"; "–" for other figures."""
    if claim["test_noise"] is None:
        return "–"
    return f"{100 * claim['test_noise']:.2f} points ({images * claim['test_noise']:.0f} images)"


def reached(one: Reached) -> str:
    """How soon an error is reached: "21.0 epochs, 12 CPU-s", "2 of 5: 9.5 epochs, 18 CPU-s" or "never"."""
    if one.epochs is None:
        return "never"
    some = "" if one.there == one.seeds else f"{one.there} of {one.seeds}: "
    return f"{some}{one.epochs:.1f} epochs, {one.seconds:.1f} CPU-s"


def sizes(model: ModelSummary, v: VariantSummary) -> list[str]:
    """The RMS of the changes in use at the end, per layer, with the share that a control has of what it controls."""
    name, shares = model.control_sizes(v) or ("", [None] * len(v.pool_rms))
    said = []
    for layer, rms, share in zip(v.layers, v.pool_rms, shares, strict=False):
        beside = "" if share is None else f" ({share:.2f} of {name}'s)"
        said.append(f"{layer} {'–' if rms is None else f'{rms:.4f}'}{beside}")
    return said


def ratio(difference: PairedDifference | None) -> Interval | None:
    """A ratio and its interval, from the difference of logarithms."""
    if difference is None:
        return None
    mean, low, high = difference.interval
    return exp(mean), exp(low), exp(high)


def spread(interval: Interval | None, scale: float, digits: int) -> str:
    """A mean and half the width of its interval: "1.90 ± 0.08"."""
    if interval is None:
        return "–"
    mean, low, high = (scale * x for x in interval)
    return f"{mean:.{digits}f} ± {(high - low) / 2:.{digits}f}" if high > low else f"{mean:.{digits}f}"
