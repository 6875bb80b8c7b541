"""What a run says about units, in a sentence per score."""

from collections import Counter
from statistics import median

from intriguing.report.glossary import glossary
from intriguing.report.parts import Context, Row
from intriguing.report.text import number, score_label
from intriguing.report.verdicts import Verdict
from intriguing.stages.units.controls import distinct
from intriguing.stages.units.names import LIVE, RANDOM, RAW, TRAINED
from intriguing.stats.findings import FAR, Wording, counted, outcome_of, scored_by
from intriguing.units.scoring.scores import METRICS

_REFUTED = {
    "higher": "a mean score of the units as random rotations of the layer have it, in every layer",
    "lower": "a mean score of the units as random rotations of the layer have it, in every layer",
    "mixed": "mean scores of the units as random rotations of the layer have them, in every layer",
    "none": "a layer whose units' mean score lies beyond those of random rotations, after Holm's correction",
    "undecided": "a mean score of the units as rotations have it; that it lies beyond takes more rotations to show",
}


_ORDER = tuple(METRICS)
_FEW = 4
"""Layers that are named."""
_OF_LAYER = ("dataset", "model", "model_seed", "layer", "metric", "judge", "control")
_FIGURES = ("natural", "null_mean", "null_sd", "effect", "low", "high", "p_high", "p_low", "p_two", "p_holm")
_READ = [*_OF_LAYER, "condition", "rotations", *_FIGURES]


def verdicts(context: Context) -> list[Verdict]:
    """Per score: whether the units of the trained networks differ from rotations of their own layers.

    What people say of units comes first: whether their top images mean one thing, then how their values are spread.
    The top images of dead units are ties, which says nothing of the basis: layers that have any are judged by their
    other units, and the sentence says what all of them would give.
    """
    rows = context.run.table("rotation_tests", columns=_READ, alpha=0.0, condition=[RAW, LIVE]).to_pylist()
    tests = [test | {"score": score_label(test)} for test in rows if test["effect"] is not None]
    trained = [test for test in tests if test["control"] == TRAINED]
    untrained = _without_dead(distinct(test for test in tests if test["control"] == RANDOM))
    made = [
        (rows[0]["metric"], _verdict(context, key["score"], rows, [t for t in untrained if t["score"] == key["score"]]))
        for key, rows in context.grouped(trained, "score")
    ]
    return [verdict for _, verdict in sorted(made, key=lambda one: _place(one[0]))]


def _place(metric: str) -> int:
    return _ORDER.index(metric) if metric in _ORDER else len(_ORDER)


def _without_dead(tests: list[Row]) -> list[Row]:
    """One test a layer: that without dead or saturated units where there is one."""
    chosen = {tuple(test[name] for name in _OF_LAYER): test for c in (RAW, LIVE) for test in _under(c, tests)}
    return list(chosen.values())


def _under(condition: str, tests: list[Row]) -> list[Row]:
    return [test for test in tests if test["condition"] == condition]


def _verdict(context: Context, score: str, every: list[Row], untrained: list[Row]) -> Verdict:
    tests = _without_dead(every)
    metric = METRICS.get(tests[0]["metric"])
    wording = metric.wording(tests[0].get("judge")) if metric else scored_by(score)
    outcomes = list(map(outcome_of, tests))
    found = [outcome for outcome in outcomes if outcome in ("higher", "lower")]
    sides = sorted(set(found))
    decided = "none" if "undecided" not in outcomes else "undecided"
    value, interval, measure, contrast = _figure(context, tests, wording)
    said = _sentence(outcomes, wording) + (_also(found, untrained) if found else "")
    said += _also_beyond(tests, untrained) if not found and decided == "undecided" else ""
    left_out, with_them = _left_out(wording, every)
    return Verdict(
        f"{said}.{left_out} {with_them}" if with_them else f"{said}.",
        measure,
        value,
        interval,
        "unit-tests",
        _REFUTED["mixed" if len(sides) > 1 else sides[0] if sides else decided],
        f"{_spelled(score)}: {_meaning(tests[0]['metric'])} Effect: the units' mean less that of whole random "
        f"rotations of the layer, over the standard deviation of their means.{_layers(context, wording, tests)}"
        f"{'' if with_them else left_out}",
        contrast=contrast,
    )


def _sentence(outcomes: list[str], wording: Wording) -> str:
    """What the tests of all layers say, without a full stop."""
    counts, layers = Counter(outcomes), len(outcomes)
    each = "" if layers == 1 else f" in {{}} of {layers} layers tested"
    units, higher, lower = "single units are", wording.higher, wording.lower
    others = "random directions of the same layer"
    if counts["higher"] and counts["lower"]:
        both = f"{higher} than {others}{each.format(counts['higher'])}, and {lower} in {counts['lower']}"
        return f"S{units[1:]} {both}{_undecided(counts['undecided'])}"
    if counts["higher"] or counts["lower"]:
        said = higher if counts["higher"] else lower
        where = each.format(counts["higher"] or counts["lower"])
        return f"S{units[1:]} {said} than {others}{where}{_undecided(counts['undecided'])}"
    if counts["undecided"]:
        return (
            f"Undecided whether {units} {higher} than {others}: they lie beyond all rotations"
            f"{each.format(counts['undecided'])}, which are too few for the correction"
        )
    anywhere = "" if layers == 1 else f", in any of {layers} layers tested"
    return f"No evidence that {units} {higher} than {others}, or {wording.opposite}{anywhere}"


def _undecided(layers: int) -> str:
    """The layers that are not decided, beside some that are, as a clause."""
    if not layers:
        return ""
    more = "1 more is" if layers == 1 else f"{layers} more are"
    return f"; {more} undecided, beyond all rotations, which are too few for the correction"


def _layers(context: Context, wording: Wording, tests: list[Row]) -> str:
    """Which layers differ and how, for a few; and their means beside those of the rotations."""
    said = []
    for side, words in (("higher", wording.higher), ("lower", wording.lower), ("undecided", "undecided")):
        differ = [test for test in tests if outcome_of(test) == side]
        if 0 < len(differ) <= _FEW:
            named = (
                f"{context.label(test)} · {test['layer']} ({number(test['natural'], 3)}, rotations "
                f"{number(test['null_mean'], 3)})"
                for test in differ
            )
            said.append(f" {words[:1].upper()}{words[1:]}: {'; '.join(named)}.")
    return "".join(said)


def _left_out(wording: Wording, every: list[Row]) -> tuple[str, str]:
    """That dead and saturated units are left out, where there are any, and what all units would give if it differs."""
    raw, layers = _under(RAW, every), len(_under(LIVE, every))
    if not layers:
        return "", ""
    which = "" if len(raw) == 1 else f"; {layers} of {len(raw)} layers {'has' if layers == 1 else 'have'} some"
    left_out = f" Units whose largest value many inputs share (dead or saturated ones) are left out{which}."
    others = Counter(_found(raw))
    if others == Counter(_found(_without_dead(every))):
        return left_out, ""
    if not others:
        return left_out, "With them nothing would be found."
    sides = " and ".join(wording.higher if side == "higher" else wording.lower for side in sorted(others))
    where = "" if len(raw) == 1 else f" in {others.total()} of {len(raw)} layers"
    return left_out, f"With them units would be found {sides}{where}."


def _figure(context: Context, tests: list[Row], wording: Wording) -> tuple[str, str, str, str]:
    """The effect, its interval, what it is, and the effect of what disagrees ("" where nothing does).

    The effect is the median of the layers that differ, of all layers where none does. Of layers that disagree it is the
    largest of those that the sentence begins with, and so of one layer.
    """
    higher, lower = ([test for test in tests if outcome_of(test) == side] for side in ("higher", "lower"))
    different = [*higher, *lower] or tests
    if higher and lower:
        largest, where = _largest(context, higher, f"units {wording.verb} {wording.higher}")
        opposed, there = _largest(context, lower, f"they {wording.verb} {wording.lower}")
        beside = _interval(opposed)
        contrast = f"{_short(opposed['effect'])} in {there}{beside and f' ({beside})'}"
        return _short(largest["effect"]), _interval(largest), f"effect in {where}{_unit(largest['effect'])}", contrast
    if len(different) > 1:
        which = "" if len(different) == len(tests) else " that differ"
        effects = [test["effect"] for test in different]
        span = f"{_short(min(effects))} to {_short(max(effects))}: a range over these layers, no interval"
        measure = f"effect{_unit(median(effects))} (median of {len(different)} layers{which})"
        return _short(median(effects)), span, measure, ""
    [only] = different
    where = "" if len(tests) == 1 else f" in {context.label(only)} · {only['layer']}, which differs"
    return _short(only["effect"]), _interval(only), f"effect{where}{_unit(only['effect'])}", ""


def _largest(context: Context, tests: list[Row], so: str) -> tuple[Row, str]:
    """The test with the largest effect of those where `so` holds ("units are purer"), and its layer in words."""
    largest = max(tests, key=lambda test: abs(test["effect"]))
    among = "where" if len(tests) == 1 else f"the largest of {len(tests)} layers where"
    return largest, f"{context.label(largest)} · {largest['layer']}, {among} {so}"


def _spelled(score: str) -> str:
    """The name of a score at the beginning of a sentence."""
    words = score.replace("_", " ")
    return words.replace("auroc", "AUROC", 1) if words.startswith("auroc") else f"{words[:1].upper()}{words[1:]}"


def _meaning(metric: str) -> str:
    """What a score is, as the glossary has it, else the score itself."""
    known = {term.name: term.sentence for term in glossary()}
    sentence = known.get(metric) or (METRICS[metric].sentence if metric in METRICS else "A score of the run's own.")
    return f"{sentence[:1].lower()}{sentence[1:]}"


def _found(tests: list[Row]) -> list[str]:
    """The sides on which units differ, a side per test that found something."""
    return [outcome for outcome in map(outcome_of, tests) if outcome in ("higher", "lower")]


def _also(found: list[str], untrained: list[Row]) -> str:
    """Whether the untrained networks show the same: then it was not learned."""
    if not untrained:
        return "; whether those of an untrained network are so too was not tested"
    same = [side for side in _found(untrained) if side in set(found)]
    if not same:
        beyond = [test for test in untrained if outcome_of(test) == "undecided" and _side(test) in set(found)]
        undecided = f", but {len(beyond)} of {len(untrained)} {'is' if len(beyond) == 1 else 'are'} undecided"
        return f"; in untrained networks no layer was found to be so{undecided if beyond else ''}"
    where = "" if len(same) == len(untrained) else " in some layers"
    return f"; in {'the untrained network' if len(untrained) == 1 else 'untrained networks'} they are so too{where}"


def _side(test: Row) -> str:
    """The side of the rotations on which the units lie."""
    return "higher" if test["effect"] > 0 else "lower"


def _also_beyond(tests: list[Row], untrained: list[Row]) -> str:
    """In how many layers untrained networks lie beyond all rotations too, on a side where the trained ones do."""
    if not untrained:
        return "; whether those of an untrained network do so was not tested"
    sides = {_side(test) for test in tests if outcome_of(test) == "undecided"}
    beyond = [test for test in untrained if outcome_of(test) not in ("none", "unknown")]
    same = sum(_side(test) in sides for test in beyond)
    if not same:
        return "; in untrained networks they do so in no layer tested"
    where = "" if len(untrained) == 1 else f" in {same} of {len(untrained)} layers"
    return f"; in {'the untrained network' if len(untrained) == 1 else 'untrained networks'} they do so too{where}"


def _interval(test: Row) -> str:
    """The 95 % interval of one test's effect, where it says more than the effect, and the test's p."""
    p = "" if test["p_holm"] is None else f"Holm's p = {test['p_holm']:.2g} by {counted(test['rotations'], 'rotation')}"
    if test["low"] is None or test["high"] is None or not test["null_sd"]:
        return p
    ends = [_short(test[end] / test["null_sd"]) for end in ("low", "high")]
    interval = f"95 % interval over inputs {' to '.join(ends)}" if ends[0] != ends[1] else ""
    return "; ".join(part for part in (interval, p) if part)


def _unit(effect: float) -> str:
    far = ", far beyond every rotation" if abs(effect) > FAR else ""
    return f"{far}, in standard deviations of the rotations"


def _short(effect: float) -> str:
    if abs(effect) > FAR:
        return f"{'above +' if effect > 0 else 'below −'}{FAR:g}"
    return ("+" if effect > 0 else "") + number(effect, 2)
