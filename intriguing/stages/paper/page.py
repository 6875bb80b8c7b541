"""Our tables beside the paper's: verdicts first, two heat maps of one scale, the curve, then every table."""

import numpy as np

from intriguing.report.drawing import curves
from intriguing.report.media import for_page
from intriguing.report.parts import Context, PagePart, render
from intriguing.report.text import number, percent
from intriguing.stages.paper.reading import Name, Reading, Row, readings
from intriguing.stages.paper.wording import (
    OUTCOMES,
    WHAT_DIFFERS,
    amplified,
    claim_figure,
    opening,
    rule_sentence,
)

_TITLE = "Does it transfer as the paper says?"
_CURVE = """
select size, avg(wrong::int) as rate from (
  select unnest(sizes) as size, unnest(predictions) <> label as wrong from rays
  where kind = '{kind}' and not clean_error and dataset = ? {mine}) group by size order by size"""
_MINE = "and grade = ? and target_rule = ? and (source_model <> model or source_seed <> model_seed)"


def parts(context: Context) -> list[PagePart]:
    """One part with all data sets; none where nothing was compared."""
    found = readings(context.run)
    if not found:
        return []
    html = render("stages/paper/page.html", readings=[_shown(context, reading) for reading in found])
    return [PagePart("paper", _TITLE, html)]


def _shown(context: Context, reading: Reading) -> Row:
    whole, halves = reading.models(1), reading.models(3)
    every = reading.models()
    maps = [_maps(reading, "minimal", whole or every, "Table 2" if whole else "As found")]
    maps += [_maps(reading, kind, halves, f"Table 4, {title}") for kind, title in _KINDS.items() if halves]
    maps += [_maps(reading, "amplified", every, "Amplified")] if not (whole or halves) else []
    return {
        "opening": opening(reading),
        "dataset": reading.dataset,
        "claims": [_claim(row) for row in reading.of_figure("claim")],
        "agreements": [
            row for kind in _KINDS for row in reading.of_figure("agreement", kind) if "order" in row["name"]
        ],
        "maps": [each for each in maps if each],
        "curve": _curve(context, reading),
        "effects": [_effect(row, title) for kind, title in _KINDS.items() for row in reading.of_figure("effect", kind)],
        "by_seed": any(row["by_seed"] for row in reading.of_figure("effect")),
        "errors": _errors(reading),
        "distortions": _distortions(reading),
        "rules": [rule_sentence(row) for row in reading.nearest_rules()],
        "has_paper": reading.has_paper,
        "amplified": amplified(reading),
    }


_KINDS = {"minimal": "as found", "amplified": "amplified"}


def _claim(row: Row) -> Row:
    side = {"holds": "higher", "fails": "lower"}.get(row["outcome"], "")
    return row | {"side": side, "word": OUTCOMES[row["outcome"]], "figure": claim_figure(row)}


def _effect(row: Row, title: str) -> Row:
    interval = f"{percent(row['low'])} to {percent(row['high'])}"
    return {
        "what": WHAT_DIFFERS[row["name"]],
        "images": title,
        "rate": percent(row["value"]),
        "interval": interval,
        **row,
    }


def _maps(reading: Reading, kind: str, models: list[Name], title: str) -> Row | None:
    """Our matrix and the paper's, cell by cell, of one scale; the paper's is left out where it has none."""
    matrix = reading.matrix(kind, models)
    if not any(cell for row in matrix for cell in row):
        return None
    labels = [reading.label(name) for name in models]
    rows = [(f"{label}", row) for label, row in zip(labels, matrix, strict=True)]
    rows += [
        (name.replace("noise", "Gaussian"), row)
        for name, row in reading.noise(models)
        if kind == "minimal" and any(row)
    ]
    sides = [("Ours", "value")]
    if any(cell and cell["paper"] is not None for _, row in rows for cell in row):
        sides.append(("The paper's", "paper"))
    shown = []
    for heading, key in sides:
        lines = [
            {
                "label": label,
                "cells": [_cell(cell, key, label == target) for cell, target in zip(row, labels, strict=True)],
            }
            for label, row in rows
        ]
        shown.append({"heading": heading, "lines": lines})
    return {"title": title, "labels": labels, "sides": shown}


def _cell(row: Row | None, key: str, own: bool) -> Row:
    if row is None or row[key] is None:
        return {"text": "–", "rate": None, "own": False, "apart": False, "note": ""}
    low, high = ("low", "high") if key == "value" else ("paper_low", "paper_high")
    interval = f"{percent(row[low])} to {percent(row[high])}"
    size = row["n"] if key == "value" else row["paper_n"]
    note = f"95 % interval {interval} of {size} images"
    apart = key == "value" and row["overlap"] is False
    return {"text": percent(row[key]), "rate": row[key], "own": own, "apart": apart, "note": note}


def _errors(reading: Reading) -> list[Row]:
    """Tables 1 and 3: a line per model with its errors and the paper's."""
    measures = ("train_error", "other_error", "test_error")
    lines = []
    for name in reading.models():
        cells = [reading.cell(measure, name) for measure in measures]
        lines.append({"model": reading.label(name), "cells": [_beside(cell) for cell in cells]})
    return lines


def _beside(row: Row | None) -> Row:
    if row is None:
        return {"ours": "–", "paper": ""}
    return {"ours": percent(row["value"], 2), "paper": "" if row["paper"] is None else percent(row["paper"], 2)}


def _distortions(reading: Reading) -> Row:
    """Table 1's last column: a line per model, a column per grade and rule."""
    columns = list(dict.fromkeys((r["grade"], r["target_rule"]) for r in reading.cells if r["measure"] == "distortion"))
    columns.sort(key=lambda column: reading.grades.index(column[0]))
    lines = []
    for name in reading.models():
        found = [reading.cell("distortion", name, rule=rule, grade=grade) for grade, rule in columns]
        paper = next((row["paper"] for row in found if row and row["paper"] is not None), None)
        values = [number(row["value"], 3) if row else "–" for row in found]
        lines.append({"model": reading.label(name), "paper": number(paper, 2), "figures": values})
    return {"columns": [f"{rule}, {grade}" for grade, rule in columns], "lines": lines}


def _curve(context: Context, reading: Reading) -> str | None:
    """Errors by the size of the change, over all pairs of networks, beside those by noise of the same size."""
    series = curve_series(context, reading)
    if not series:
        return None
    alt = f"Errors by the size of the change on {reading.dataset}: images made for another network, and noise."
    return for_page(alt, curves, series, *CURVE_AXES)


CURVE_AXES = ("RMS of the change, after clipping", "errors, %")


def curve_series(context: Context, reading: Reading) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Errors in percent by size, as (label, sizes, errors): images made for another network, and noise."""
    mine = [reading.grade, reading.rule]
    adversarial = context.query(_CURVE.format(kind="adversarial", mine=_MINE), reading.dataset, *mine)
    noise = context.query(_CURVE.format(kind="gaussian", mine=""), reading.dataset)
    if not adversarial:
        return []
    return [
        (label, np.array([row["size"] for row in rows]), np.array([100 * row["rate"] for row in rows]))
        for label, rows in (("adversarial", adversarial), ("noise", noise))
        if rows
    ]
