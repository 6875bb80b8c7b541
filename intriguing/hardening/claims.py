"""The claims about hardening, and the tests of them on finished runs, by differences paired by seed.

Source of the claims: arXiv:1312.6199, section 4.1 (the regularisation of 100-100-10), and the follow-up study's two
(robustness and convergence). This module is plain NumPy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Literal

import numpy as np

from intriguing.stats.findings import significant
from intriguing.stats.multiple import holm
from intriguing.stats.seeds import PairedDifference, paired_difference

Outcome = Literal["held", "contradicted", "open", "unknown"]
"""held: the difference is there, in the direction that was claimed. contradicted: it is there in the other direction.
open: no significant difference. unknown: the runs have no figure for it."""


@dataclass(frozen=True)
class Outcomes:
    """The outcome of one training."""

    error: float
    """The fraction of images that the network misclassifies after the last epoch."""
    images: int
    """The number of images of that measurement."""
    distortions: np.ndarray
    """(n,): the minimal distortion of each image, the same images for every training; NaN where there is none."""
    epochs: int | None
    """Epochs until the error first is at most the goal; None: never."""
    seconds: float | None
    """CPU-seconds of training until then; None: never."""


@dataclass(frozen=True)
class Claim:
    """A claim: the variant that it is about, the variant that it is compared with, and the figure that is compared."""

    name: str
    variant: str
    against: str
    figure: Literal["error", "rms", "seconds"]
    sentence: str
    """The claim as a clause: "Training on ... gives a lower error than ..."."""
    opposite: str
    """The opposite of the claim, as a clause."""


_EACH = "Training on the examples of each layer"
CLAIMS = (
    Claim(
        "lower error than weight decay", "each layer", "weight decay", "error",
        f"{_EACH} gives a lower error than weight decay alone", f"{_EACH} gives a higher error than weight decay alone",
    ),
    Claim(
        "lower error than dropout", "each layer", "dropout", "error",
        f"{_EACH} gives a lower error than dropout", f"{_EACH} gives a higher error than dropout",
    ),
    Claim(
        "lower error than noise of the same size", "each layer", "noise", "error",
        f"{_EACH} gives a lower error than noise of the same size at each layer",
        f"{_EACH} gives a higher error than noise of the same size at each layer",
    ),
    Claim(
        "higher layers help most", "top layers", "input only", "error",
        "Examples of the higher layers lower the error more than examples of the input",
        "Examples of the input lower the error more than examples of the higher layers",
    ),
    Claim(
        "more robust", "each layer", "weight decay", "rms",
        f"{_EACH} makes networks harder to fool than weight decay alone",
        f"{_EACH} makes networks easier to fool than weight decay alone",
    ),
    Claim(
        "faster", "each layer", "weight decay", "seconds",
        f"{_EACH} reaches a given error in less CPU time than weight decay alone",
        f"{_EACH} needs more CPU time to reach a given error than weight decay alone",
    ),
    Claim(
        "lower error than L2 adversarial training", "each layer", "pgd", "error",
        f"{_EACH} gives a lower error than L2 adversarial training",
        f"{_EACH} gives a higher error than L2 adversarial training",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """The answer to a claim. Errors are compared by their difference (fractions), other figures by their ratio."""

    claim: Claim
    outcome: Outcome
    sentence: str
    """The answer in plain words, without figures."""
    measure: str
    """What `value` is."""
    value: float | None
    """The mean difference, or the geometric mean of the ratios."""
    low: float | None
    """Lower end of its 95 % interval over seeds."""
    high: float | None
    """Upper end."""
    p: float | None
    """Two-sided, corrected for all claims by Holm's method."""
    seeds: int
    """Number of seeds that both variants have."""
    test_noise: float | None
    """Errors: the binomial standard deviation of the difference for two independent test sets. It bounds how much the
    difference would vary with another test set."""
    remark: str
    """What else a reader should know; "" for nothing."""
    refuted_by: str
    """What would have refuted the answer: completes "It would have been refuted by ..."."""


Runs = Mapping[str, Mapping[int, Outcomes]]
"""The outcomes of all trainings, by variant and seed."""


def judge(runs: Runs, claims: Sequence[Claim] = CLAIMS) -> list[Judged]:
    """The answer of `runs` to each claim, with p-values corrected over all claims."""
    measured = [_measured(claim, runs) for claim in claims]
    given = [None if m.difference is None else m.difference.p for m in measured]
    corrected = holm(np.array([np.nan if p is None else p for p in given]))
    return [
        _judged(claim, m, None if np.isnan(p) else float(p))
        for claim, m, p in zip(claims, measured, corrected, strict=True)
    ]


@dataclass(frozen=True)
class _Measured:
    difference: PairedDifference | None
    test_noise: float | None = None
    remark: str = ""
    seeds: int = 0
    """Without a difference: how many seeds were looked at."""


def _measured(claim: Claim, runs: Runs) -> _Measured:
    """The paired difference of a claim: of the errors, or of the logarithms of distortions and seconds."""
    ours, theirs = runs.get(claim.variant), runs.get(claim.against)
    for name, found in ((claim.variant, ours), (claim.against, theirs)):
        if not found:
            return _Measured(None, remark=f"no run of the variant {name!r}: the spec has none, or none has ended")
    assert ours and theirs
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return _Measured(None, remark=f"{claim.variant!r} and {claim.against!r} have no seed in common")
    if claim.figure == "error":
        one, other = ([run[seed].error for seed in seeds] for run in (ours, theirs))
        images = min(ours[seeds[0]].images, theirs[seeds[0]].images)
        noise = (sum(p * (1 - p) for p in (float(np.mean(one)), float(np.mean(other)))) / max(images, 1)) ** 0.5
        return _Measured(paired_difference(one, other), noise)
    if claim.figure == "rms":
        ratios = distortion_ratio(*([run[seed].distortions for seed in seeds] for run in (ours, theirs)))
        return _Measured(ratios, remark="" if ratios else "nothing was found to compare")
    times = [(ours[seed].seconds, theirs[seed].seconds) for seed in seeds]
    known = [(a, b) for a, b in times if a and b]
    remark = _reached(claim, ours, theirs, seeds)
    if len(known) < len(times):
        # Seeds that never reach the goal cannot be left out: the mean of the others would be of lucky ones.
        return _Measured(None, remark=remark, seeds=len(seeds))
    return _Measured(paired_difference([log(a) for a, _ in known], [log(b) for _, b in known]), remark=remark)


def distortion_ratio(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> PairedDifference | None:
    """The logarithm of the ratio of two mean minimal distortions, over seeds.

    ours, theirs: a seed's distortions (n,), image by image, NaN where there is none. Each seed's two means are over the
    images that both networks get right, so they are of the same images; None where no seed has such an image.
    """
    one, another = [], []
    for mine, other in zip(ours, theirs, strict=True):
        both = (mine > 0) & (other > 0) if len(mine) == len(other) else np.zeros(0, bool)
        if both.any():
            one.append(log(mine[both].mean()))
            another.append(log(other[both].mean()))
    return paired_difference(one, another) if one else None


def _reached(claim: Claim, ours: Mapping[int, Outcomes], theirs: Mapping[int, Outcomes], seeds: list[int]) -> str:
    """How many runs of both variants reach the goal, and after how many epochs."""
    said = []
    for name, runs in ((claim.variant, ours), (claim.against, theirs)):
        epochs = [runs[seed].epochs for seed in seeds]
        there = [n for n in epochs if n is not None]
        after = f" after {np.mean(there):.1f} epochs" if there else ""
        said.append(f"{name}: {len(there)} of {len(seeds)} reach the goal{after}")
    return "; ".join(said)


_EQUAL = "every seed gives the same difference, so its spread cannot be told"
_MEASURES = {
    "error": "difference of the errors",
    "rms": "ratio of the mean minimal distortions",
    "seconds": "ratio of the CPU-seconds to the goal",
}


def _judged(claim: Claim, measured: _Measured, p: float | None) -> Judged:
    """The answer to a claim from its difference and its corrected p-value."""
    difference, measure = measured.difference, f"{_MEASURES[claim.figure]}, {claim.variant} against {claim.against}"
    if difference is None:
        looked = measured.seeds > 0
        sentence = f"{'It was not shown that' if looked else 'No answer to whether'} {_lowered(claim.sentence)}"
        refuted = "runs that all reach the goal, sooner" if looked else "runs of both variants with the same seeds"
        outcome = "open" if looked else "unknown"
        none = None, None, None, None
        return Judged(claim, outcome, sentence, measure, *none, measured.seeds, None, measured.remark, refuted)
    wanted = difference.mean > 0 if claim.figure == "rms" else difference.mean < 0
    outcome: Outcome = "open"
    if significant(p):
        outcome = "held" if wanted else "contradicted"
    sentence = {
        "held": claim.sentence,
        "contradicted": claim.opposite,
        "open": f"It was not shown that {_lowered(claim.sentence)}",
    }[outcome]
    scale = (lambda x: x) if claim.figure == "error" else exp
    value, low, high = (None if x is None else scale(x) for x in (difference.mean, difference.low, difference.high))
    remark = measured.remark
    if difference.low is None and difference.n > 1:
        remark = "; ".join(filter(None, [remark, _EQUAL]))
    if measured.test_noise is not None and outcome != "open" and abs(difference.mean) < 1.96 * measured.test_noise:
        remark = "the difference is below 1.96 binomial deviations of two test sets of this size"
    return Judged(
        claim, outcome, sentence, measure, value, low, high, p, difference.n, measured.test_noise, remark,
        _refuted_by(claim, outcome),
    )  # fmt: skip


def _refuted_by(claim: Claim, outcome: Outcome) -> str:
    what = {"error": "difference of the errors", "rms": "ratio of the distortions", "seconds": "ratio of the times"}
    side = f"the other side of {'zero' if claim.figure == 'error' else 'one'}"
    corrected = "significant after Holm's correction over the claims"
    if outcome == "open":
        return f"a {what[claim.figure]} that is {corrected}"
    return f"a {what[claim.figure]} that is not {corrected}, or lies on {side}"


def _lowered(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
