"""Scores of single units and of random directions, and the rotation tests that compare them."""

import numpy as np
from markupsafe import Markup

from intriguing.report.drawing import forest, strips
from intriguing.report.media import for_page
from intriguing.report.parts import LAYER, Context, PagePart, Row, render
from intriguing.report.text import count, plural, score_label
from intriguing.stages.units.controls import shared
from intriguing.stats.findings import Finding, effect_in_words, finding, scored_by

_COUNTED = ("dead", "saturated")
"""Scores that are 1 or 0, told as counts."""
_FIGURES, _CARDS, _ROWS, _EFFECTS, _EFFECT_FIGURES = 6, 120, 700, 60, 4
"""Layers whose scores are drawn, and whose tests are told, rows of a table, tests of a figure, figures of tests."""
_MEANS = """
select {layer}, metric, judge, basis, count(value) filter (direction >= 0) as n,
       case when count(value) filter (direction >= 0) > 0 then avg(value) filter (direction >= 0)
            else max(value) filter (direction < 0) end as mean,
       stddev_samp(value) filter (direction >= 0) as sd, sum(value) filter (direction >= 0) as total, max(n) as inputs
from unit_scores group by all"""


def part(context: Context) -> PagePart | None:
    """Verdicts, effects and scores per layer; None where nothing was scored or tested."""
    tests = context.run.table("rotation_tests").to_pylist()
    means = context.query(_MEANS.format(layer=", ".join(LAYER)))
    if not tests and not means:
        return None
    layers = tested_layers(context, tests)
    all_tests = [test for layer in layers for test in layer["tests"]]
    scored = [(key, _name(context, key), rows) for key, rows in context.grouped(means, *LAYER)]
    told = [layer for layer in layers if layer["plain"]]
    lines = [line for _, name, rows in scored for line in _lines(name, rows)]
    useless = [row for _, name, rows in scored for row in _useless(name, rows)]
    cards, rows = context.most(_CARDS), context.most(_ROWS)
    html = render(
        "stages/units/page/rotation_tests.html",
        answers=_answers(context),
        tested=bool(layers),
        verdicts=told[:cards],
        more_verdicts=max(0, len(told) - cards),
        tests=all_tests[:rows],
        more_tests=max(0, len(all_tests) - rows),
        effects=_effects(layers),
        shared=shared(context, tests),
        useless=useless[:rows],
        more_useless=max(0, len(useless) - rows),
        scores=[(name, _figure(context, key, name), _drawn(rows)) for key, name, rows in scored[:_FIGURES]],
        by_test=_by_test(all_tests),
        left_out=max(0, len(scored) - _FIGURES),
        lines=lines[:rows],
        more_lines=max(0, len(lines) - rows),
    )
    return PagePart("unit-tests", "Are single units special?", html)


def tested_layers(context: Context, tests: list[Row]) -> list[Row]:
    """The rows of `rotation_tests` by layer, with what each test says."""
    return [_layer(context, key, rows) for key, rows in context.grouped(tests, *LAYER)]


def _layer(context: Context, key: Row, rows: list[Row]) -> Row:
    """The tests of a layer with their sentences; `plain` are those of the trained model's natural basis."""
    name, tests = _name(context, key), []
    rows = [row | {"metric": score_label(row)} for row in rows]
    for _, members in context.grouped(rows, "metric", "control", "alpha"):
        for test in members:
            result = finding(test, scored_by(test["metric"]))
            shown = {"outcome": result.outcome, "sentence": test["verdict"] or result.sentence, "name": name}
            tests.append(test | shown | {"brief": _brief(test, result)})
    return {"name": name, "tests": tests, "plain": [t for t in tests if t["alpha"] == 0 and t["control"] == "trained"]}


def _brief(test: Row, result: Finding) -> str:
    """What a test says, with its one figure."""
    effect = test["effect"]
    return f"{result.opening}{'' if effect is None else f': {effect_in_words(effect)}'}."


def _answers(context: Context) -> list[Row]:
    """Per score and condition, the sentence on whether the model or the data decides, and the figures behind it."""
    figures = [row | {"metric": score_label(row)} for row in context.run.table("model_or_data").to_pylist()]
    answers: dict[tuple[str, str], Row] = {}
    for figure in figures:
        key = (figure["metric"], figure["condition"])
        answer = answers.setdefault(key, {"sentence": figure["sentence"], "figures": []})
        if figure["value"] is not None:
            answer["figures"].append(figure)
    return list(answers.values())


def _effects(layers: list[Row]) -> list[Markup]:
    """The effects of the tests of the natural basis, with intervals, in null standard deviations.

    Figures of whole layers, all with one axis.
    """
    figures: list[list[Row]] = [[]]
    for layer in layers:
        drawn = [test for test in layer["tests"] if _is_drawn(test)]
        if figures[-1] and len(figures[-1]) + len(drawn) > _EFFECTS:
            figures.append([])
        figures[-1] += drawn
    figures = [tests for tests in figures[:_EFFECT_FIGURES] if tests]
    reach = min(15.0, max((abs(test["effect"]) for tests in figures for test in tests), default=0.0))
    alt = "Effect of each rotation test with its 95 % interval; the figures are in the table below."
    return [
        for_page(alt, forest, effect_rows(tests), EFFECT_AXIS, [test["outcome"] for test in tests], reach)
        for tests in figures
    ]


def _is_drawn(test: Row) -> bool:
    return bool(test["alpha"] == 0 and test["effect"] is not None and test["null_sd"])


EFFECT_AXIS = "natural basis minus rotations, in their standard deviations"


def effect_rows(tests: list[Row]) -> list[tuple[str, float, float, float]]:
    """The effect of each test with its interval, in null standard deviations: (label, effect, low, high)."""
    rows = []
    for test in tests:
        if _is_drawn(test):
            ends = (test["effect"] if test[end] is None else test[end] / test["null_sd"] for end in ("low", "high"))
            control = "" if test["control"] == "trained" else f" ({test['control']})"
            rows.append((f"{test['name']} · {test['metric']}{control}", test["effect"], *ends))
    return rows


def _figure(context: Context, key: Row, name: str) -> Markup | None:
    """How the scores of a layer's directions are spread, basis by basis."""
    metrics = score_series(context, key)
    alt = f"Scores of every direction of {name}, one row per metric and basis, means marked; the table has the means."
    return for_page(alt, strips, metrics) if metrics else None


def _drawn(rows: list[Row]) -> str:
    """How many directions a layer's scores are of, basis by basis, and by how many inputs."""
    counts = {row["basis"]: row["n"] for row in rows if row["metric"] not in _COUNTED and row["n"]}
    of = ", ".join(f"{count(counts[basis])} {basis}" for basis in sorted(counts, key=lambda b: (b != "natural", b)))
    return f"{of} directions by up to {plural(max(row['inputs'] for row in rows), 'input')}"


def _by_test(tests: list[Row]) -> str:
    """What the tests rest on, where there are any: whole rotations, and how many inputs."""
    if not tests:
        return ""
    rotations, inputs = (max(test[name] for test in tests) for name in ("rotations", "n"))
    return (
        f"The tests compare with {plural(rotations, 'whole rotation')} by up to {plural(inputs, 'input')}: their "
        "means are others."
    )


def score_series(context: Context, key: Row) -> list[tuple[str, list[tuple[str, np.ndarray]]]]:
    """The scores of a layer's directions, as (metric, [(basis, values), ...])."""
    columns = ["metric", "judge", "basis", "direction", "value"]
    scores = context.run.table("unit_scores", columns=columns, **key).to_pylist()
    rows = [row | {"metric": score_label(row)} for row in scores if row["metric"] not in _COUNTED]
    metrics = [
        (of["metric"], [(by["basis"], _values(part)) for by, part in context.grouped(members, "basis")])
        for of, members in context.grouped(rows, "metric")
    ]
    return [(metric, bases) for metric, bases in metrics if any(len(values) for _, values in bases)]


def _values(rows: list[Row]) -> np.ndarray:
    """The scores of single directions: a negative number stands for the whole basis."""
    return np.array([row["value"] for row in rows if row["value"] is not None and row["direction"] >= 0], float)


def _lines(name: str, rows: list[Row]) -> list[Row]:
    """Count, mean and spread of each score and basis of a layer, or its one figure (count 0)."""
    rows = [row | {"name": name, "metric": score_label(row)} for row in rows if row["metric"] not in _COUNTED]
    return sorted(rows, key=lambda row: (row["metric"], row["basis"] != "natural", row["basis"]))


def _useless(name: str, rows: list[Row]) -> list[Row]:
    """How many units of a layer are dead, and how many saturated; nothing where none is."""
    counts = {row["metric"]: row["total"] for row in rows if row["metric"] in _COUNTED and row["basis"] == "natural"}
    units = max((row["n"] for row in rows if row["metric"] in counts), default=0)
    return [{"name": name, "units": units, **{m: counts.get(m, 0) for m in _COUNTED}}] if any(counts.values()) else []


def _name(context: Context, row: Row) -> str:
    """Model and layer, with the condition where it tells anything."""
    name = f"{context.label(row)} · {row['layer']}"
    if len(context.run.spec.get("datasets") or ()) > 1:
        name = f"{row['dataset']} · {name}"
    return name + (f" · {row['condition']}" if row["condition"] not in ("raw", "") else "")
