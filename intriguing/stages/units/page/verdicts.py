"""What a run says about units, in a sentence per score."""

from statistics import median

from intriguing.report.parts import Context, Row
from intriguing.report.text import number, score_label
from intriguing.report.verdicts import Verdict
from intriguing.stats.findings import FAR, finding, scored_by

_REFUTED = {
    "higher": "a score of the units inside the band of the rotations, in every layer",
    "lower": "a score of the units inside the band of the rotations, in every layer",
    "none": "a layer whose units score outside the band of the rotations, after Holm's correction",
}


def verdicts(context: Context) -> list[Verdict]:
    """Per score: whether the units of the trained networks differ from rotations of their own layers."""
    tests = context.run.table("rotation_tests", control="trained", alpha=0.0, condition="raw").to_pylist()
    tests = [test | {"metric": score_label(test)} for test in tests if test["effect"] is not None]
    return [_verdict(key["metric"], rows) for key, rows in context.grouped(tests, "metric")]


def _verdict(score: str, tests: list[Row]) -> Verdict:
    outcomes = [finding(test, scored_by(score)).outcome for test in tests]
    found = [outcome for outcome in outcomes if outcome in ("higher", "lower")]
    sides = set(found)
    if not found:
        sentence = f"No evidence that single units score otherwise by {score} than random directions of the same layer."
    else:
        side = "otherwise" if len(sides) > 1 else found[0]
        where = "" if len(tests) == 1 else f" in {len(found)} of {len(tests)} layers tested"
        sentence = f"Single units score {side} by {score} than random directions of the same layer{where}."
    effects = [test["effect"] for test in tests]
    return Verdict(
        sentence,
        "effect, in standard deviations of the rotations" + ("" if len(tests) == 1 else " (median of the layers)"),
        _far(median(effects)),
        _interval(tests[0]) if len(tests) == 1 else f"{_far(min(effects))} to {_far(max(effects))} over the layers",
        "unit-tests",
        _REFUTED[found[0] if found else "none"],
    )


def _interval(test: Row) -> str:
    """The 95 % interval of one test's effect."""
    if test["low"] is None or test["high"] is None or not test["null_sd"]:
        return ""
    return f"95 % interval {_far(test['low'] / test['null_sd'])} to {_far(test['high'] / test['null_sd'])}"


def _far(effect: float) -> str:
    if abs(effect) > FAR:
        return f"beyond {'+' if effect > 0 else '−'}{FAR:g}"
    return ("+" if effect > 0 else "") + number(effect, 2)
