"""What a run says about units, in a sentence per score."""

from collections import Counter
from statistics import median

from intriguing.report.glossary import glossary
from intriguing.report.parts import Context, Row
from intriguing.report.text import number, score_label
from intriguing.report.verdicts import Verdict
from intriguing.stats.findings import FAR, Wording, finding, scored_by
from intriguing.units.scores import METRICS

_REFUTED = {
    "higher": "a score of the units inside the band of the rotations, in every layer",
    "lower": "a score of the units inside the band of the rotations, in every layer",
    "mixed": "scores of the units inside the band of the rotations, in every layer",
    "none": "a layer whose units score outside the band of the rotations, after Holm's correction",
    "undecided": "units inside the band of the rotations; that they are outside needs more rotations to be shown",
}


_ORDER = tuple(METRICS)


def verdicts(context: Context) -> list[Verdict]:
    """Per score: whether the units of the trained networks differ from rotations of their own layers.

    What people say of units comes first: whether their top images mean one thing, then how their values are spread.
    """
    tests = context.run.table("rotation_tests", alpha=0.0, condition="raw").to_pylist()
    tests = [test | {"score": score_label(test)} for test in tests if test["effect"] is not None]
    trained = [test for test in tests if test["control"] == "trained"]
    untrained = [test for test in tests if test["control"] == "random_init"]
    made = [
        (rows[0]["metric"], _verdict(context, key["score"], rows, [t for t in untrained if t["score"] == key["score"]]))
        for key, rows in context.grouped(trained, "score")
    ]
    return [verdict for _, verdict in sorted(made, key=lambda one: _place(one[0]))]


def _place(metric: str) -> int:
    return _ORDER.index(metric) if metric in _ORDER else len(_ORDER)


def _verdict(context: Context, score: str, tests: list[Row], untrained: list[Row]) -> Verdict:
    metric = METRICS.get(tests[0]["metric"])
    wording = metric.wording(tests[0].get("judge")) if metric else scored_by(score)
    outcomes = _outcomes(score, tests)
    found = [outcome for outcome in outcomes if outcome in ("higher", "lower")]
    sides = sorted(set(found))
    decided = "none" if "undecided" not in outcomes else "undecided"
    value, interval, measure = _figure(context, tests, is_mixed=len(sides) > 1)
    return Verdict(
        f"{_sentence(outcomes, wording)}{_also(score, found, untrained) if found else ''}.",
        measure,
        value,
        interval,
        "unit-tests",
        _REFUTED["mixed" if len(sides) > 1 else sides[0] if sides else decided],
        f"{score.capitalize()}: {_meaning(tests[0]['metric'])} Effect: how far the mean over all units lies from that "
        "of whole random rotations of the layer.",
    )


def _sentence(outcomes: list[str], wording: Wording) -> str:
    """What the tests of all layers say, without a full stop."""
    counts, layers = Counter(outcomes), len(outcomes)
    each = "" if layers == 1 else f" in {{}} of {layers} layers tested"
    units, higher, lower = "single units are", wording.higher, wording.lower
    others = "random directions of the same layer"
    if counts["higher"] and counts["lower"]:
        return f"S{units[1:]} {higher} than {others}{each.format(counts['higher'])}, and {lower} in {counts['lower']}"
    if counts["higher"] or counts["lower"]:
        said = higher if counts["higher"] else lower
        return f"S{units[1:]} {said} than {others}{each.format(counts['higher'] or counts['lower'])}"
    if counts["undecided"]:
        return (
            f"Undecided whether {units} {higher} than {others}: they lie beyond all rotations"
            f"{each.format(counts['undecided'])}, which are too few for the correction"
        )
    anywhere = "" if layers == 1 else f", in any of {layers} layers tested"
    return f"No evidence that {units} {higher} than {others}, or {wording.opposite}{anywhere}"


def _figure(context: Context, tests: list[Row], is_mixed: bool) -> tuple[str, str, str]:
    """The effect, its interval, and what it is: the median of the layers, or of layers that disagree the largest."""
    unit = "in standard deviations of the rotations"
    effects = [test["effect"] for test in tests]
    if len(tests) > 1 and not is_mixed:
        span = f"{_far(min(effects))} to {_far(max(effects))} over the layers"
        return _far(median(effects)), span, f"effect, {unit} (median of the layers)"
    largest = max(tests, key=lambda test: abs(test["effect"]))
    where = f" in {context.label(largest)} · {largest['layer']}, where it is largest" if is_mixed else ""
    return _far(largest["effect"]), _interval(largest), f"effect{where}, {unit}"


def _meaning(metric: str) -> str:
    """What a score is, as the glossary has it, else the score itself."""
    known = {term.name: term.sentence for term in glossary()}
    sentence = known.get(metric) or (METRICS[metric].sentence if metric in METRICS else "A score of the run's own.")
    return f"{sentence[:1].lower()}{sentence[1:]}"


def _found(score: str, tests: list[Row]) -> list[str]:
    """The sides on which units differ, a side per test that found something."""
    return [outcome for outcome in _outcomes(score, tests) if outcome in ("higher", "lower")]


def _outcomes(score: str, tests: list[Row]) -> list[str]:
    return [finding(test, scored_by(score)).outcome for test in tests]


def _also(score: str, found: list[str], untrained: list[Row]) -> str:
    """Whether the untrained networks show the same: then it is no work of the training."""
    if not untrained:
        return "; whether those of an untrained network are so too was not tested"
    same = [side for side in _found(score, untrained) if side in set(found)]
    if not same:
        return "; in no untrained network were they found to be so"
    return f"; in {'the untrained network' if len(untrained) == 1 else 'untrained networks'} they are so too"


def _interval(test: Row) -> str:
    """The 95 % interval of one test's effect."""
    if test["low"] is None or test["high"] is None or not test["null_sd"]:
        return ""
    return f"95 % interval {_far(test['low'] / test['null_sd'])} to {_far(test['high'] / test['null_sd'])}"


def _far(effect: float) -> str:
    if abs(effect) > FAR:
        return f"far beyond every rotation ({'above +' if effect > 0 else 'below −'}{FAR:g})"
    return ("+" if effect > 0 else "") + number(effect, 2)
