"""How often images made to fool one model fool the others."""

from typing import Any

import numpy as np
import pandas as pd

from intriguing.report.section import Context, Section, render

_KINDS = {
    "minimal": "Adversarial images made for",
    "amplified": "Amplified adversarial images made for",
    "gaussian": "Gaussian noise as large as the changes made for",
}


def section(context: Context) -> Section | None:
    """A heat map and a table of intervals per data set, target rule and grade; None where nothing was fed."""
    run = context.run
    choices = run.sql(
        "select distinct dataset, target_rule, grade from transfer where kind <> 'clean' order by dataset, grade, target_rule desc"
    )
    kinds = run.sql("select distinct dataset, target_rule, grade, kind from transfer")
    matrices = []
    for choice in choices.to_dict("records"):
        there = set(kinds.merge(pd.DataFrame([choice])).kind)
        blocks = [
            (title, run.transfer_matrix(kind=kind, **choice)) for kind, title in _KINDS.items() if kind in there
        ]
        if ((kinds.dataset == choice["dataset"]) & (kinds.kind == "clean")).any():
            blocks.append(("Unchanged images", run.transfer_matrix(kind="clean", dataset=choice["dataset"])))
        targets = list(dict.fromkeys(t for _, matrix in blocks for t in matrix.columns))
        matrices.append(choice | {"targets": targets, "blocks": [_block(t, m, targets) for t, m in blocks]})
    if not matrices:
        return None
    return Section("transfer", "Do the same images fool other models?", render("transfer.html", matrices=matrices))


def _block(title: str, matrix: pd.DataFrame, targets: list[str]) -> dict[str, Any]:
    """The rows of one kind of image, one cell per target."""
    kind = matrix.attrs["selection"].kind
    rows = []
    for source in matrix.index:
        cells = []
        for target in targets:
            known = target in matrix.columns and matrix.attrs["n"].loc[source, target] > 0
            cells.append(
                {
                    "rate": matrix.loc[source, target] if known else None,
                    "low": matrix.attrs["low"].loc[source, target] if known else None,
                    "high": matrix.attrs["high"].loc[source, target] if known else None,
                    "n": int(matrix.attrs["n"].loc[source, target]) if known else 0,
                    "own": kind in ("minimal", "amplified") and source == target,
                }
            )
        rms = float(matrix.attrs["rms"][source])
        rows.append({"source": source, "cells": cells, "rms": None if np.isnan(rms) else rms})
    # A model's own minimal images fool it by construction: a diagonal below 1 is a fault of the run.
    wrong = [r["source"] for r in rows for c in r["cells"] if kind == "minimal" and c["own"] and c["n"] and c["rate"] < 1]
    return {"title": title, "kind": kind, "rows": rows, "wrong": wrong}
