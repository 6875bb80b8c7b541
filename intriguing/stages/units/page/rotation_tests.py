"""Scores of single units and of random directions, and the rotation tests that compare them."""

import numpy as np
from markupsafe import Markup

from intriguing.report.figures import forest, strips
from intriguing.report.parts import LAYER, Context, PagePart, Row, render
from intriguing.report.text import score_label
from intriguing.stats.findings import finding, scored_by


def part(context: Context) -> PagePart | None:
    """Verdicts, effects and scores per layer; None where nothing was scored or tested."""
    tests = context.run.table("rotation_tests").to_pylist()
    scored = context.query(f"select distinct {', '.join(LAYER)} from unit_scores")
    if not tests and not scored:
        return None
    layers = [_layer(context, key, rows) for key, rows in context.grouped(tests, *LAYER)]
    all_tests = [test for layer in layers for test in layer["tests"]]
    html = render(
        "stages/units/page/rotation_tests.html",
        answers=_answers(context),
        verdicts=layers,
        figure=_effects(all_tests),
        scores=_scores(context, scored),
    )
    return PagePart("unit-tests", "Are single units special?", html)


def _layer(context: Context, key: Row, rows: list[Row]) -> Row:
    """The tests of a layer with their sentences; `plain` are those of the trained model's natural basis."""
    name, tests = _name(context, key), []
    rows = [row | {"metric": score_label(row)} for row in rows]
    for _, members in context.grouped(rows, "metric", "control", "alpha"):
        for test in members:
            result = finding(test, scored_by(test["metric"]))
            tests.append(
                test | {"outcome": result.outcome, "sentence": test["verdict"] or result.sentence, "name": name}
            )
    return {"name": name, "tests": tests, "plain": [t for t in tests if t["alpha"] == 0 and t["control"] == "trained"]}


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


def _effects(tests: list[Row]) -> Markup | None:
    """The effects of the tests of the natural basis, with intervals, in null standard deviations."""
    rows = []
    for test in tests:
        if test["alpha"] == 0 and test["effect"] is not None and test["null_sd"]:
            ends = (test["effect"] if test[end] is None else test[end] / test["null_sd"] for end in ("low", "high"))
            control = "" if test["control"] == "trained" else f" ({test['control']})"
            rows.append((f"{test['name']} · {test['metric']}{control}", test["effect"], *ends))
    alt = "Effect of each rotation test with its 95 % interval; the figures are in the table below."
    return forest(rows, "natural basis minus rotations, in their standard deviations", alt) if rows else None


def _scores(context: Context, layers: list[Row]) -> list[Row]:
    """Per layer, the scores of each metric and basis as a figure and as mean, spread and count."""
    columns = ["metric", "judge", "basis", "direction", "value"]
    blocks = []
    for key, _ in context.grouped(layers, *LAYER):
        # One layer at a time: all layers of a large run do not fit in memory as rows.
        scores = context.run.table("unit_scores", columns=columns, **key).to_pylist()
        rows = [row | {"metric": score_label(row)} for row in scores]
        metrics = [
            (of["metric"], [(by["basis"], part) for by, part in context.grouped(members, "basis")])
            for of, members in context.grouped(rows, "metric")
        ]
        name = _name(context, key)
        alt = (
            f"Scores of every direction of {name}, one row per metric and basis, means marked; the table has the means."
        )
        figures = [(metric, [(basis, _values(part)) for basis, part in bases]) for metric, bases in metrics]
        figures = [(metric, bases) for metric, bases in figures if any(len(values) for _, values in bases)]
        lines = [
            {"metric": metric, "basis": basis, **_line(part)} for metric, bases in metrics for basis, part in bases
        ]
        blocks.append({"name": name, "lines": lines, "figure": strips(figures, alt) if figures else None})
    return blocks


def _values(rows: list[Row]) -> np.ndarray:
    """The scores of single directions: a negative number stands for the whole basis."""
    return np.array([row["value"] for row in rows if row["value"] is not None and row["direction"] >= 0], float)


def _line(rows: list[Row]) -> Row:
    """Count, mean and spread of a basis's directions, or its one figure (count 0)."""
    values = _values(rows)
    if not len(values):
        return {"n": 0, "mean": next((row["value"] for row in rows), None), "sd": None}
    return {"n": len(values), "mean": values.mean(), "sd": values.std(ddof=1) if len(values) > 1 else None}


def _name(context: Context, row: Row) -> str:
    """Model and layer, with the condition where it tells anything."""
    name = f"{context.label(row)} · {row['layer']}"
    if len(context.run.spec.get("datasets") or ()) > 1:
        name = f"{row['dataset']} · {name}"
    return name + (f" · {row['condition']}" if row["condition"] not in ("raw", "") else "")
