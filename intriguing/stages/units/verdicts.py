"""What a run says about units, in a sentence per score."""

from statistics import median

from intriguing.report.parts import Context, Row
from intriguing.report.text import number, score_label
from intriguing.report.verdicts import Verdict
from intriguing.stats.findings import FAR, finding, scored_by
from intriguing.units.scores import METRICS

_REFUTED = {
    "higher": "a score of the units inside the band of the rotations, in every layer",
    "lower": "a score of the units inside the band of the rotations, in every layer",
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
        (rows[0]["metric"], _verdict(key["score"], rows, [t for t in untrained if t["score"] == key["score"]]))
        for key, rows in context.grouped(trained, "score")
    ]
    return [verdict for _, verdict in sorted(made, key=lambda one: _place(one[0]))]


def _place(metric: str) -> int:
    return _ORDER.index(metric) if metric in _ORDER else len(_ORDER)


def _verdict(score: str, tests: list[Row], untrained: list[Row]) -> Verdict:
    found, undecided = _found(score, tests), _outcomes(score, tests).count("undecided")
    where = "" if len(tests) == 1 else f" in {len(found) or undecided} of {len(tests)} layers tested"
    if not found and undecided:
        sentence = (
            f"Undecided whether single units differ in {score} from random directions of the same layer: "
            f"they lie beyond all rotations{where}, which are too few for the correction."
        )
    elif not found:
        sentence = f"No evidence that single units differ in {score} from random directions of the same layer."
    else:
        said = f"Single units score {found[0]} by {score} than random directions of the same layer{where}"
        if len(set(found)) > 1:
            said = (
                f"Single units differ in {score} from random directions of the same layer{where}, higher in some and "
                "lower in others"
            )
        sentence = f"{said}{_also(score, found, untrained)}."
    effects = [test["effect"] for test in tests]
    return Verdict(
        sentence,
        "effect, in standard deviations of the rotations" + ("" if len(tests) == 1 else " (median of the layers)"),
        _far(median(effects)),
        _interval(tests[0]) if len(tests) == 1 else f"{_far(min(effects))} to {_far(max(effects))} over the layers",
        "unit-tests",
        _REFUTED[found[0] if found else "undecided" if undecided else "none"],
    )


def _found(score: str, tests: list[Row]) -> list[str]:
    """The sides on which units differ, a side per test that found something."""
    return [outcome for outcome in _outcomes(score, tests) if outcome in ("higher", "lower")]


def _outcomes(score: str, tests: list[Row]) -> list[str]:
    return [finding(test, scored_by(score)).outcome for test in tests]


def _also(score: str, found: list[str], untrained: list[Row]) -> str:
    """Whether the untrained networks show the same: then it is no work of the training."""
    if not untrained:
        return "; whether an untrained network does so too was not tested"
    same = [side for side in _found(score, untrained) if side in set(found)]
    if not same:
        return "; no untrained network was found to do so"
    return "; untrained, the network does so too" if len(untrained) == 1 else "; so do units of untrained networks"


def _interval(test: Row) -> str:
    """The 95 % interval of one test's effect."""
    if test["low"] is None or test["high"] is None or not test["null_sd"]:
        return ""
    return f"95 % interval {_far(test['low'] / test['null_sd'])} to {_far(test['high'] / test['null_sd'])}"


def _far(effect: float) -> str:
    if abs(effect) > FAR:
        return f"far beyond every rotation ({'above +' if effect > 0 else 'below −'}{FAR:g})"
    return ("+" if effect > 0 else "") + number(effect, 2)
