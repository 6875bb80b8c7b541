"""How often images made to fool one model fool the others."""

import json
from itertools import chain

import numpy as np
import pandas as pd

from intriguing.report.parts import Context, PagePart, Row
from intriguing.report.room import fewer_of, rendered
from intriguing.report.text import count, number, percent, plural
from intriguing.results.matrices import WITHOUT_SOURCE, Fed
from intriguing.stages.transfer.similarity import by_similarity

_BYTES = 1_000_000
"""What the part takes of one file at most."""
_KINDS = {
    "minimal": "Adversarial images made for",
    "amplified": "Amplified adversarial images made for",
    "gaussian": "Gaussian noise as large as the changes made for",
    "clean": "Unchanged images",
    "noise": "Gaussian noise, before clipping, on every attacked image",
}

_NAMES = {
    "minimal": "adversarial images",
    "amplified": "amplified",
    "gaussian": "Gaussian noise",
    "clean": "unchanged images",
    "noise": "Gaussian noise of fixed sizes",
}


def part(context: Context) -> PagePart | None:
    """A heat map and a table of intervals per data set, target rule and grade; None where nothing was fed."""
    run = context.run
    fed = context.groups("transfer")
    without_source = {kind: {row["dataset"] for row in fed if row["kind"] == kind} for kind in WITHOUT_SOURCE}
    matrices = []
    for key, rows in context.grouped(
        (r for r in fed if r["kind"] not in WITHOUT_SOURCE), "dataset", "target_rule", "grade"
    ):
        present = {row["kind"] for row in rows}
        kinds = [kind for kind in _KINDS if kind in present]  # in this order
        images = Fed(run, kinds, key, run.in_order)
        blocks = [(_KINDS[kind], images.matrix(kind)) for kind in kinds]
        changed = [(_KINDS[kind], images.matrix(kind, "target_correct")) for kind in kinds]
        for kind, datasets in without_source.items():
            if key["dataset"] in datasets:
                blocks.append((_KINDS[kind], run.transfer_matrix(kind=kind, dataset=key["dataset"])))
        targets = list(dict.fromkeys(target for _, matrix in blocks for target in matrix.columns))
        shown, right = ([_block(title, matrix, targets) for title, matrix in part] for part in (blocks, changed))
        sentences: Row = {
            "summary": _summary(shown),
            "alarm": _alarm(shown),
            "counted": _counted(images.starts()),
            "left_out": _left_out(right, images.unknown),
            "noise": _noise(shown),
            "drawn": _drawn(shown),
        }
        _beside(shown)
        sentences["orders"] = _orders(blocks, targets)
        sentences["has_control"] = any(c["noise"] is not None for b in shown for row in b["rows"] for c in row["cells"])
        right = right if any(block["left_out"] for block in right) else []
        matrices.append(key | {"targets": targets, "blocks": shown, "right": right, **sentences})
    if not matrices:
        return None
    versions = ({"matrices": matrices, "intervals": each, "left_out": 0} for each in (True, False))
    fewer = ({"matrices": matrices[:n], "intervals": False, "left_out": len(matrices) - n} for n in fewer_of(matrices))
    html = rendered("stages/transfer/page/matrices.html", context.limit(_BYTES), chain(versions, fewer))
    return PagePart("transfer", "Do the same images fool other models?", html)


def _block(title: str, matrix: pd.DataFrame, targets: list[str]) -> Row:
    """The rows of one kind of image, one cell per target."""
    kind = matrix.attrs["selection"].kind
    frames = {"rate": matrix, **{name: matrix.attrs[name] for name in ("low", "high", "n", "left_out")}}
    whole = {name: frame.reindex(columns=targets).to_numpy(float, na_value=np.nan) for name, frame in frames.items()}
    rows = []
    for i, source in enumerate(matrix.index):
        cells = [
            {name: float(values[i, j]) for name, values in whole.items()}
            | {"own": _own(kind, source, target), "noise": None}
            for j, target in enumerate(targets)
        ]
        place = targets.index(source) if source in targets else None
        rows.append({"source": source, "cells": cells, "rms": float(matrix.attrs["rms"].iloc[i]), "row": place})
    left_out = int(np.nansum(whole["left_out"]))
    return {"title": title, "kind": kind, "rows": rows, "left_out": left_out}


def _beside(blocks: list[Row]) -> None:
    """Put the control beside each cell of the images as they were found: noise of the same size, on the same model."""
    by_kind = {block["kind"]: {row["source"]: row["cells"] for row in block["rows"]} for block in blocks}
    for source, cells in by_kind.get("minimal", {}).items():
        for cell, noise in zip(cells, by_kind.get("gaussian", {}).get(source, ()), strict=False):
            cell["noise"] = noise["rate"] if noise["n"] > 0 else None


def _orders(blocks: list[tuple[str, pd.DataFrame]], targets: list[str]) -> str | None:
    """The order of the spec and that in which alike models stand together, as JSON; None where these are one."""
    minimal = next((matrix for _, matrix in blocks if matrix.attrs["selection"].kind == "minimal"), None)
    if minimal is None or set(minimal.index) != set(targets):
        return None
    alike = by_similarity(1 - minimal.reindex(index=targets, columns=targets))
    order = [targets.index(name) for name in alike]
    spec = list(range(len(targets)))
    return None if order == spec else json.dumps({"spec": spec, "alike": order})


def _alarm(blocks: list[Row]) -> str:
    """How many of a model's own minimal images do not fool it: the search saw each of them do so."""
    failures = []
    for row in (row for block in blocks if block["kind"] == "minimal" for row in block["rows"]):
        for cell in (cell for cell in row["cells"] if cell["own"] and cell["n"] > 0):
            failed = round((1 - cell["rate"]) * cell["n"])
            if failed:
                failures.append(f"{row['source']} ({count(failed)} of {count(cell['n'])})")
    return ", ".join(failures)


def _summary(blocks: list[Row]) -> str:
    """The range of error rates of each kind of image, what was made for the model itself left out, as a sentence."""
    ranges = []
    for block in blocks:
        clean = block["kind"] in WITHOUT_SOURCE
        rates = [c["rate"] for row in block["rows"] for c in row["cells"] if c["n"] > 0 and (clean or not c["own"])]
        if rates:
            low, high = percent(min(rates)), percent(max(rates))
            whose = "of all models on " if clean else ""
            ranges.append(f"{whose}{_NAMES[block['kind']]}: {_range(low, high)} %")
    adversarial = any(block["kind"] == "minimal" for block in blocks) and len(ranges) > 1
    return f"Wrong answers of models that the images were not made for; {'; '.join(ranges)}." if adversarial else ""


def _counted(starts: list[tuple[str, int, int]]) -> str:
    """What the images of the matrix started from: images that their own model got right, or not all of them."""
    images, wrong = sum(n for _, n, _ in starts), sum(w for *_, w in starts)
    if not wrong:
        every = "Its one image" if images == 1 else f"Each of its {plural(images, 'image')}"
        return f"{every} was made from an image that the model it was made for classified rightly."
    each = "; ".join(f"{name} {count(w)} of {count(n)}" for name, n, w in starts if w)
    return (
        f"Of its {plural(images, 'image')}, {count(wrong)} {'was' if wrong == 1 else 'were'} made from "
        f"{'an image' if wrong == 1 else 'images'} that the model made for got wrong before any change: {each}."
    )


def _left_out(blocks: list[Row], unknown: int) -> str:
    """How many images a cell loses when only those count that the model fed gets right unchanged."""
    numbers = [int(c["left_out"]) for b in blocks for row in b["rows"] for c in row["cells"] if not np.isnan(c["n"])]
    if not any(numbers):
        return "Every model got every image right before the change, so every error in the table is due to the change."
    size = _range(count(min(numbers)), count(max(numbers)))
    if unknown:
        why = "Models were wrong on some images before the change, or were not fed them unchanged yet"
    else:
        why = "Not every error is due to the change, for models were wrong on some images before it"
    return f"{why}: the second table leaves these out, {size} per cell."


def _noise(blocks: list[Row]) -> str:
    """Whether the noise is as large, as fed, as the changes that it is a control for."""
    rms = {block["kind"]: {row["source"]: row["rms"] for row in block["rows"]} for block in blocks}
    if "gaussian" not in rms:
        return ""
    control = "Gaussian noise is the control: it shows what the size of a change does by itself."
    both = rms["gaussian"].keys() & rms.get("minimal", {}).keys()
    pairs = [(rms["gaussian"][source], rms["minimal"][source]) for source in both]
    off = max((abs(noise / change - 1) for noise, change in pairs if change > 0), default=0.0)
    if not pairs:
        return f"{control} It is as large as the search's own changes, which are not shown."
    if off < 0.01:
        return f"{control} It is scaled so that clipping to [0, 1] leaves it as large as the search's own changes."
    return (
        f"{control} Its mean RMS, after clipping to [0, 1], is up to {number(100 * off, 2)} % off that of the changes."
    )


def _drawn(blocks: list[Row]) -> str:
    """How many unchanged images there are: all that were drawn, and so not those of the rows above."""
    numbers = [int(c["n"]) for b in blocks if b["kind"] == "clean" for r in b["rows"] for c in r["cells"] if c["n"] > 0]
    if not numbers:
        return ""
    size = _range(count(min(numbers)), count(max(numbers)))
    return f"The unchanged images are those drawn for the searches ({size}), whether or not a model gets them right."


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _own(kind: str, source: str, target: str) -> bool:
    return kind not in WITHOUT_SOURCE and source == target
