"""How often images made to fool one model fool the others."""

import numpy as np
import pandas as pd

from intriguing.report.parts import Context, PagePart, Row, render
from intriguing.report.text import percent

_KINDS = {
    "minimal": "Adversarial images made for",
    "amplified": "Amplified adversarial images made for",
    "gaussian": "Gaussian noise, same RMS, for",
}

_TOLD = {
    "minimal": "adversarial images",
    "amplified": "amplified",
    "gaussian": "Gaussian noise",
    "clean": "unchanged images",
}


def parts(context: Context) -> list[PagePart]:
    """A heat map and a table of intervals per data set, target rule and grade; no parts where nothing was fed."""
    run = context.run
    fed = context.query("select distinct dataset, target_rule, grade, kind from transfer")
    clean = {row["dataset"] for row in fed if row["kind"] == "clean"}
    matrices = []
    for key, rows in context.grouped((r for r in fed if r["kind"] != "clean"), "dataset", "target_rule", "grade"):
        kinds = {row["kind"] for row in rows}
        blocks = [(title, run.transfer_matrix(kind=kind, **key)) for kind, title in _KINDS.items() if kind in kinds]
        if key["dataset"] in clean:
            blocks.append(("Unchanged images", run.transfer_matrix(kind="clean", dataset=key["dataset"])))
        targets = list(dict.fromkeys(target for _, matrix in blocks for target in matrix.columns))
        shown = [_block(title, matrix, targets) for title, matrix in blocks]
        matrices.append(key | {"targets": targets, "blocks": shown, "summary": _summary(shown)})
    if not matrices:
        return []
    html = render("stages/transfer/page.html", matrices=matrices)
    return [PagePart("transfer", "Do the same images fool other models?", html)]


def _block(title: str, matrix: pd.DataFrame, targets: list[str]) -> Row:
    """The rows of one kind of image, one cell per target."""
    kind = matrix.attrs["selection"].kind
    frames = {"rate": matrix, **{name: matrix.attrs[name] for name in ("low", "high", "n")}}
    whole = {name: frame.reindex(columns=targets).to_numpy(float, na_value=np.nan) for name, frame in frames.items()}
    rows = []
    for i, source in enumerate(matrix.index):
        cells = [
            {name: float(values[i, j]) for name, values in whole.items()} | {"own": _own(kind, source, target)}
            for j, target in enumerate(targets)
        ]
        rows.append({"source": source, "cells": cells, "rms": float(matrix.attrs["rms"].iloc[i])})
    # A model's own minimal images fool it by construction: a diagonal below 1 is a fault of the run.
    wrong = [r["source"] for r in rows if kind == "minimal" and any(c["own"] and c["rate"] < 1 for c in r["cells"])]
    return {"title": title, "kind": kind, "rows": rows, "wrong": wrong}


def _summary(blocks: list[Row]) -> str:
    """The range of error rates of each kind of image, a model's own images left out, as a sentence."""
    told = []
    for block in blocks:
        rates = [c["rate"] for row in block["rows"] for c in row["cells"] if c["n"] > 0 and not c["own"]]
        if rates:
            low, high = percent(min(rates)), percent(max(rates))
            told.append(f"{_TOLD[block['kind']]} {low if low == high else f'{low} to {high}'} %")
    adversarial = any(block["kind"] == "minimal" for block in blocks) and len(told) > 1
    return f"Wrong answers of models that the images were not made for: {', '.join(told)}." if adversarial else ""


def _own(kind: str, source: str, target: str) -> bool:
    return kind in ("minimal", "amplified") and source == target
