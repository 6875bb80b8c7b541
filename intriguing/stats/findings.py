"""What a test says: the rule that decides, the outcome in a word, and the sentence.

Every p-value of the package is judged by `significant`, and every test of a basis is put into words by `finding`: then
a page, a table and a job's output cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isnan
from typing import Any, Literal

from intriguing.stats.signs import signed, with_minus

LEVEL = 0.05
"""The level of every test."""


FAR = 20.0
"""Effects larger than this, in null standard deviations, are told in words."""


def significant(p: float | None) -> bool:
    """Whether a test with this p-value found something: p <= 0.05. None and NaN find nothing."""
    return p is not None and p <= LEVEL


def least_rotations(tests: int) -> int:
    """The fewest rotations by which a two-sided test can find anything after Holm's correction over `tests` tests."""
    return ceil(2 * tests / LEVEL) - 1


@dataclass(frozen=True)
class Wording:
    """How to name what was compared: "[Units] [are] [purer] than rotations"."""

    higher: str
    """What a higher statistic means, such as "purer"."""
    lower: str
    """What a lower one means, such as "less pure"."""
    subject: str = "units"
    """What an axis of the natural basis is called, in the plural."""
    opposite: str = "less so"
    """A short form of `lower`: "No evidence that units are purer than rotations, or [less so]"."""
    verb: str = "are"
    """The verb between the subject and `higher`."""
    datum: str = "input"
    """What the statistic rests on, in the singular."""


def scored_by(score: str, subject: str = "single units") -> Wording:
    """The wording for a score of which no more than the name is known: "Single units score higher by NPMI"."""
    return Wording(f"higher by {score}", f"lower by {score}", subject, "lower", "score")


Outcome = Literal["higher", "lower", "none", "undecided", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What a test says."""

    outcome: Outcome
    """higher or lower: the natural basis differs. none: no difference was found. undecided: it lies beyond all
    rotations, which are too few for the correction. unknown: there is no test."""
    sentence: str
    """The same in a sentence, with the figures."""
    opening: str = ""
    """The same without figures, as a clause without a full stop."""


def finding(test: Mapping[str, Any], wording: Wording, reason: str = "") -> Finding:
    """What a `test` of the natural basis says: a row of `rotation_tests` or `word_tests`, or `Comparison.row()`.

    Holm's p decides where there is one. No significant difference is never called equality: the sentence says what the
    test could have found. `reason` is a clause that says why a test has no figures.
    """
    compared = f"{wording.subject} {wording.verb} {wording.higher} than rotations"
    outcome, side = _decided(test)
    natural, mean, p_two, p_holm = (_known(test, name) for name in ("natural", "null_mean", "p_two", "p_holm"))
    if natural is None or mean is None or p_two is None:
        why = f"No verdict on whether {compared}: {reason or 'the score does not exist'}"
        return Finding("unknown", f"{why}.", why)
    if outcome == "undecided":
        beyond = "above" if side == "higher" else "below"
        opening = f"Undecided whether {compared}: {beyond} all rotations, too few to say more"
    elif outcome == "none":
        opening = f"No evidence that {compared}, or {wording.opposite}"
    else:
        meaning = wording.higher if side == "higher" else wording.lower
        opening = f"{wording.subject.capitalize()} {wording.verb} {meaning} than rotations"
    p, rotations = p_two if p_holm is None else p_holm, int(test["rotations"])
    label = "p" if p_holm is None else "Holm's p"
    return Finding(
        outcome,
        f"{opening}: {_figures(test, natural, mean, wording.datum)}, {label} = {p:.3g} "
        f"({counted(rotations, 'rotation')}, {counted(int(test['n']), wording.datum)}; {_limit(test)}).",
        opening,
    )


def outcome_of(test: Mapping[str, Any]) -> Outcome:
    """What a `test` of the natural basis found, in a word: the outcome of `finding`, without its sentence."""
    return _decided(test)[0]


def _decided(test: Mapping[str, Any]) -> tuple[Outcome, Literal["higher", "lower"]]:
    """The outcome of a test, and on which side of the rotations the natural basis lies."""
    natural, mean, p_two, p_holm = (_known(test, name) for name in ("natural", "null_mean", "p_two", "p_holm"))
    if natural is None or mean is None or p_two is None:
        return "unknown", "higher"
    tails = _known(test, "p_high"), _known(test, "p_low")
    side = _side(natural - mean, *tails)
    if significant(p_two if p_holm is None else p_holm):
        return side, side
    is_beyond = min((tail for tail in tails if tail is not None), default=1.0) <= 1 / (int(test["rotations"]) + 1)
    return "undecided" if is_beyond else "none", side


def _figures(test: Mapping[str, Any], natural: float, mean: float, datum: str) -> str:
    """The figures in a clause. The interval says how much other inputs would change; p compares with rotations."""
    low, high, effect = (_known(test, name) for name in ("low", "high", "effect"))
    interval = "" if low is None or high is None else f", 95 % interval over {datum}s {signed(low)} to {signed(high)}"
    deviations = "" if effect is None else f", {effect_in_words(effect)}"
    both = with_minus(f"{natural:.3g} against {mean:.3g}")
    return f"{both}, difference {signed(natural - mean)}{interval}{deviations}"


def _side(difference: float, p_high: float | None, p_low: float | None) -> Literal["higher", "lower"]:
    """On which side of the rotations the natural basis lies.

    The mean of a skewed null may lie beyond its own tail, so the smaller tail says which side.
    """
    if p_high is None or p_low is None or p_high == p_low:
        return "higher" if difference > 0 else "lower"
    return "higher" if p_high < p_low else "lower"


def _limit(test: Mapping[str, Any]) -> str:
    """What the test could have found, in a clause."""
    detectable, rotations = _known(test, "detectable_effect"), int(test["rotations"])
    if detectable is not None:
        before = "" if _known(test, "p_holm") is None else " before the correction"
        return f"smallest detectable effect {detectable:.1f}{before}"
    if _known(test, "null_sd") == 0 and rotations > 1:
        return "all rotations gave one value"
    if _known(test, "alpha"):
        return "a dose, for which no smallest effect is computed"
    return f"{counted(rotations, 'rotation')} {'is' if rotations == 1 else 'are'} too few for any finding"


def effect_in_words(effect: float) -> str:
    """An effect as people can read it: no null of so many rotations can tell 50 standard deviations from 2,000."""
    return f"{signed(effect, '.1f')} null standard deviations" if abs(effect) <= FAR else "far beyond every rotation"


def counted(n: int, noun: str) -> str:
    """A count with its noun: "1 input", "2 inputs"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _known(test: Mapping[str, Any], name: str) -> float | None:
    value = test.get(name)
    return None if value is None or isnan(value) else float(value)
