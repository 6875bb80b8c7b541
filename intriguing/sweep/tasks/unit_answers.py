"""The answers of a run: Holm's correction over its tests, their verdicts, and whether the model or the data decides."""

from dataclasses import replace
from typing import Any

import pyarrow as pa

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.errors import InputError
from intriguing.sweep.tasks.names import LIVE, RAW, TRAINED
from intriguing.units.crossed import Crossed, crossed
from intriguing.units.metrics import metrics
from intriguing.units.rotation import RotationTest, corrected
from intriguing.units.verdict import verdict

_FAMILIES = {
    "network": ("dataset", "model", "model_seed", "control", "condition"),
    "metric": ("metric", "control", "condition"),
    "run": ("control", "condition"),
}


def correct(work: Work, family: str) -> dict[str, pa.Table]:
    """The table `rotation_tests`: every test of the run, corrected among those that it shares its `family` with.

    network: all layers and scores of one network. metric: all networks and layers of one score. run: all of them.
    Controls and conditions are corrected apart.
    """
    rows = work.table("tests").to_pylist()
    families: dict[tuple[Any, ...], list[int]] = {}
    for i, row in enumerate(rows):
        families.setdefault(tuple(row[name] for name in _FAMILIES[family]), []).append(i)
    for members in families.values():
        for i, test in zip(members, corrected([_test(rows[i]) for i in members]), strict=True):
            rows[i]["p_holm"] = test.p_holm
            if test.alpha == 0 and test.natural is not None:
                rows[i]["verdict"] = _verdict(test)
    return {"rotation_tests": pa.Table.from_pylist(rows, tables.ROTATION_TESTS.schema)}


def model_or_data(work: Work, last_layers: dict[str, str]) -> dict[str, pa.Table]:
    """The table `model_or_data`: per score, what part of the effects in the models' last layers comes from where.

    A layer with dead or saturated units counts without them, where it was tested so: many dead units share one and the
    same top K, which says nothing of the basis.
    """
    tested: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in work.table("tests").to_pylist():
        if row["control"] != TRAINED or row["alpha"] != 0 or row["layer"] != last_layers[row["model"]]:
            continue
        place = tuple(row[name] for name in ("metric", "dataset", "model", "model_seed"))
        if row["condition"] == LIVE or (row["condition"] == RAW and place not in tested):
            tested[place] = row
    rows = []
    for metric in dict.fromkeys(place[0] for place in tested):
        rows += _figures(metric, [row for place, row in tested.items() if place[0] == metric])
    return {"model_or_data": pa.Table.from_pylist(rows, tables.MODEL_OR_DATA.schema)}


def _figures(metric: str, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    blank = {"metric": metric, "n": len(cells), "value": None, "low": None, "high": None, "p": None}
    effects = [float("nan") if c["effect"] is None else c["effect"] for c in cells]
    try:
        found = crossed([c["model"] for c in cells], [c["dataset"] for c in cells], effects)
    except InputError as error:
        return [blank | {"figure": "share", "name": "model", "sentence": f"No answer for {metric}: {error}"}]
    shares = [
        {"figure": "share", "name": s.name, "value": s.share, "low": s.low, "high": s.high, "p": s.p}
        for s in found.sources
    ]
    sentence = f"{metric}: {found.sentence}{_of_equal_seeds(cells)}"
    return [blank | row | {"sentence": sentence} for row in [*shares, *_means(found)]]


def _of_equal_seeds(cells: list[dict[str, Any]]) -> str:
    """A warning where the seeds of a model all gave the same network: they are no replicates."""
    effects: dict[tuple[str, str], set[float]] = {}
    for cell in cells:
        effects.setdefault((cell["model"], cell["dataset"]), set()).add(cell["effect"])
    models = sorted({model for model, _ in effects})
    equal = [m for m in models if all(len(values) == 1 for (model, _), values in effects.items() if model == m)]
    if not equal:
        return ""
    return f" All seeds of {', '.join(equal)} gave the same network: they add nothing to the intervals."


def _means(found: Crossed) -> list[dict[str, Any]]:
    return [
        {"figure": figure, "name": name, "value": value, "low": low, "high": high}
        for figure, group in (("model", found.by_model), ("data", found.by_data))
        for name, (value, low, high) in group.items()
    ]


def _test(row: dict[str, Any]) -> RotationTest:
    fields = RotationTest.__dataclass_fields__
    return RotationTest(**{name: row[name] for name in fields})


def _verdict(test: RotationTest) -> str:
    [score] = metrics([test.metric.removesuffix("_pixels")])
    by_pixels = test.metric.endswith("_pixels")
    return verdict(test, replace(score, higher=f"{score.higher} (judged by pixels)") if by_pixels else score, test.n)
