"""Which layers the explorer shows, and their tables, read in passes: all of a large run do not fit in memory."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from intriguing.report.parts import LAYER, Context, Row
from intriguing.report.text import score_label
from intriguing.stages.units.page.explorer.packing import LayerData, Side

CONTROLS = ("gaussian", "haar", "covariance", "pca")
_MOST = 8
_SHARE, _PER_IMAGE, _PER_DIRECTION = 0.82, 6, 60
"""What deflating leaves of a layer's bytes at most, about; and its bytes per listed image and per direction."""
_PASS = 32
_NOT_SCORES = ("dead", "saturated")
_SIDES = """
select {layer}, basis, count(*) filter (rank = 1 and sign = 1) as directions, max(rank) as images,
       1 + (min(sign) < max(sign))::int as signs
from topk where rotation_seed = 0 group by all"""


@dataclass(frozen=True)
class Chosen:
    """The layers to show, each with its bases (the natural one first), and how many images of each direction.

    most: how many the tables hold, up to 8. left_out: layers for which there is no room.
    """

    layers: list[tuple[Row, list[str]]]
    images: int
    most: int
    left_out: int


def chosen_layers(context: Context, most_bytes: float) -> Chosen:
    """As many layers as `most_bytes` hold, of all models alike; for more layers fewer images of each direction."""
    rows = context.query(_SIDES.format(layer=", ".join(LAYER)))
    layers = []
    for key, sides in context.grouped(rows, *LAYER):
        present = {side["basis"]: side for side in sides}
        control = next((b for b in (*CONTROLS, *present) if b in present and b != "natural"), None)
        shown = [basis for basis in ("natural", control) if basis in present]
        layers.append((key, [basis for basis in shown if basis], [present[basis] for basis in shown if basis]))
    most = min(_MOST, max((row["images"] for row in rows), default=0))
    images = most

    def size(sides: list[Row]) -> float:
        return _SHARE * sum(s["directions"] * (_PER_IMAGE * images * s["signs"] + _PER_DIRECTION) for s in sides)

    while images > 3 and sum(size(sides) for *_, sides in layers) > most_bytes:
        images -= 1
    fitting, total = list[int](), 0.0
    for i in _in_turn([(key["dataset"], key["model"], key["model_seed"]) for key, *_ in layers]):
        total += size(layers[i][2])
        if total <= most_bytes or not fitting:
            fitting.append(i)
    return Chosen([layers[i][:2] for i in sorted(fitting)], images, most, len(layers) - len(fitting))


def _in_turn(models: list[tuple[Any, ...]]) -> list[int]:
    """The places of layers, the first of every model before the second of any: where few fit, every model has some."""
    seen = Counter[tuple[Any, ...]]()
    turns = []
    for model in models:
        turns.append(seen[model])
        seen[model] += 1
    return sorted(range(len(models)), key=lambda i: (turns[i], i))


def read_layers(context: Context, chosen: Chosen) -> list[LayerData]:
    """The chosen layers with everything that is shown of them."""
    run, found = context.run, []
    ranks = list(range(1, chosen.images + 1))
    for start in range(0, len(chosen.layers), _PASS):
        batch = chosen.layers[start : start + _PASS]
        keys = {name: sorted({key[name] for key, _ in batch}) for name in LAYER[:4]}
        bases = {"basis": sorted({basis for _, each in batch for basis in each}), "rotation_seed": 0}
        by = (*LAYER, "basis")
        topk = _by(_frame(run.table("topk", **keys, **bases, rank=ranks)), *by)
        scores: Any = _frame(run.table("unit_scores", **keys, **bases))
        scores = _by(scores[scores["direction"] >= 0], *by)
        spread = _by(_frame(run.table("unit_histograms", **keys, **bases)), *by)
        tests = _by(_frame(run.table("rotation_tests", **keys, control="trained", alpha=0.0)), *LAYER)
        for key, names in batch:
            at = tuple(key[name] for name in LAYER)
            sides = [
                _side(basis, topk.get((*at, basis)), scores.get((*at, basis)), spread.get((*at, basis)), chosen.images)
                for basis in names
            ]
            places = _places(context, key, sides)
            found.append(LayerData(key, sides, places, _tests(tests.get(at))))
    return found


def _frame(rows: pa.Table) -> pd.DataFrame:
    """Rows whose texts are categories: a name that stands in 100,000 rows is kept once."""
    return rows.to_pandas(strings_to_categorical=True)


def _by(rows: pd.DataFrame, *names: str) -> dict[Any, pd.DataFrame]:
    return dict(iter(rows.groupby(list(names), sort=False, observed=True))) if len(rows) else {}


def _side(basis: str, topk: Any, scores: Any, spread: Any, images: int) -> Side:
    """A basis of a layer as arrays by direction, sign and rank."""
    signs = sorted(topk["sign"].unique(), reverse=True)
    count = int(topk["direction"].max()) + 1
    at = (
        topk["direction"].to_numpy(),
        np.searchsorted([-s for s in signs], -topk["sign"].to_numpy()),
        topk["rank"].to_numpy() - 1,
    )
    shape = (count, len(signs), images)
    ids, labels = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
    position, value = np.zeros(shape, np.int64), np.full(shape, np.nan)
    ties = np.zeros(shape[:2], np.int64)
    ids[at] = topk["example_id"]
    labels[at] = topk["label"].fillna(-1).astype(np.int64)
    position[at], value[at], ties[at[:2]] = topk["position"], topk["value"], topk["ties"]
    listed: dict[str, np.ndarray] = {}
    if scores is not None:
        for (metric, judge), rows in scores.groupby(["metric", "judge"], sort=False, dropna=False, observed=True):
            values = np.full(count, np.nan)
            inside = rows["direction"].to_numpy() < count
            values[rows["direction"].to_numpy()[inside]] = rows["value"].to_numpy(float)[inside]
            listed[_label(metric, judge)] = values
    flags = {name: listed.pop(name) > 0 for name in _NOT_SCORES if name in listed}
    return Side(basis, signs, ids, labels, position, value, ties, listed, flags, _spread(spread, count))


def _label(metric: str, judge: Any) -> str:
    """What a score is called; pandas gives NaN where no judge gave it."""
    return score_label({"metric": metric, "judge": judge if isinstance(judge, str) else None})


def _spread(rows: Any, count: int) -> dict[str, np.ndarray] | None:
    """Histograms by direction; None where the run has none of them."""
    if rows is None or not len(rows):
        return None
    rows = rows[rows["direction"] < count]
    bins = len(rows["counts"].iloc[0])
    counts, ends, zeros = np.zeros((count, bins), np.int64), np.zeros((count, 2)), np.zeros(count, np.int64)
    at = rows["direction"].to_numpy()
    counts[at] = np.stack(rows["counts"].to_list())
    ends[at, 0], ends[at, 1], zeros[at] = rows["low"], rows["high"], rows["zeros"]
    return {"counts": counts, "ends": ends, "zeros": zeros, "n": np.array(int(rows["n"].max()))}


def _places(context: Context, key: Row, sides: list[Side]) -> dict[int, tuple[int, int, int, int]]:
    """What the listed places of the layer's map can see: top, bottom, left, right in pixels, by place.

    A mean over a map has no place. Before random directions had places, all of theirs were 0: then they have none.
    """
    reduce = context.run.section("units").get("reduce", "max")
    if reduce == "mean":
        return {}
    chosen = {name: key[name] for name in ("dataset", "model", "model_seed", "layer")}
    used = sorted({int(place) for side in sides for place in np.unique(side.position)})
    rows = context.run.table("receptive_fields", **chosen, position=used).to_pylist()
    fields = {row["position"]: (row["top"], row["bottom"], row["left"], row["right"]) for row in rows}
    for side in sides:
        side.placed = bool(fields) and (side.basis == "natural" or reduce == "positions" or bool(side.position.any()))
    return fields


def _tests(rows: Any) -> dict[str, Row]:
    """The rotation test of each score."""
    listed: list[Row] = [] if rows is None else rows.to_dict("records")
    return {_label(row["metric"], row["judge"]): row for row in listed}
