"""The rotation test (U0) of a layer: the statistics of random rotations in parts, then the tests; scores of directions.

A part holds the rotations of some numbers, so that a layer's test spreads over as many workers as there are parts.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.engine.worker import Work
from intriguing.stats.findings import finding
from intriguing.sweep.tasks.activations import DRAW, readable
from intriguing.sweep.tasks.draws import drawn_positions
from intriguing.sweep.tasks.names import LIVE, NEGATED, RAW, TRAINED
from intriguing.sweep.tasks.scans import directions_of
from intriguing.sweep.tasks.tested import Score, live, scores_of, tested
from intriguing.units import Moments
from intriguing.units.judges import pixel_encoder
from intriguing.units.metrics import auroc_error_bound, score_directions
from intriguing.units.rotation import MOST_COLUMNS, RotationTest, null_statistics, rotation_test, unusable
from intriguing.units.scores import METRICS
from intriguing.units.views import Inputs

_PIXELS = 1024
_SIDE = 16


def pixels(work: Work, split: str, rows: int, seed: int, threads: int, slots: int) -> dict[str, pa.Table]:
    """The second judge: the principal components of the tested inputs' pixels (images above 1,024 numbers at 16 x 16).

    An input that cannot be read is left out.
    """
    torch.set_num_threads(threads)
    part = work.resource("dataset").splits[split]
    names: list[int] = []
    seen = []
    for batch in readable(part, drawn_positions(part, rows, seed, DRAW), slots, names, []):
        large = batch[0].numel() > _PIXELS
        seen.append((torch.nn.functional.adaptive_avg_pool2d(batch, _SIDE) if large else batch).numpy())
    images = np.concatenate(seen) if seen else np.zeros((0, 1), dtype=np.float32)
    vectors = pixel_encoder(images)
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    vector = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return {"pixels": pa.table({"example_id": pa.array(names, pa.int64()), "vector": vector})}


def moments(work: Work, **given: Any) -> dict[str, bytes]:
    """Mean and covariance of the tested inputs, in the order of the draw's hash: for covariance and pca directions."""
    found = tested(work, **given)
    made = Moments(found.inputs.dim, with_covariance=True)
    made.update(found.inputs.activations)
    return {"moments": made.to_bytes()}


def null(
    work: Work,
    dataset: str,
    model: str,
    model_seed: int,
    control: str,
    condition: str,
    names: list[str],
    k: int,
    shuffled: bool,
    start: int,
    stop: int,
    **given: Any,
) -> dict[str, pa.Table]:
    """The statistics of rotations `start` to `stop`: a column per score; no rows where there is nothing to test."""
    found = tested(work, **given)
    inputs = live(found.inputs, k) if condition == LIVE else found.inputs
    if inputs is None:
        return {"null": pa.table({"rotation": pa.array([], pa.int32())})}
    scores = _usable(inputs, scores_of(found, names, k, given["seed"], shuffled))
    values = null_statistics(inputs, [s.computed for s in scores], range(start, stop), seed=given["seed"])
    return {"null": pa.table({"rotation": np.arange(start, stop, dtype=np.int32), **values})}


def test(
    work: Work,
    dataset: str,
    model: str,
    model_seed: int,
    layer: str,
    control: str,
    condition: str,
    names: list[str],
    k: int,
    shuffled: bool,
    negated: bool,
    doses: list[float],
    subsamples: int,
    **given: Any,
) -> dict[str, pa.Table]:
    """The tests of a layer, in rows of the table `rotation_tests` that await Holm's correction."""
    found = tested(work, layer=layer, **given)
    inputs = live(found.inputs, k) if condition == LIVE else found.inputs
    if inputs is None:
        return {"tests": tables.ROTATION_TESTS.schema.empty_table()}
    scores = scores_of(found, names, k, given["seed"], shuffled)
    nulls = work.tables("null")
    drawn = {s.computed.name: _column(nulls, s.computed.name) for s in _usable(inputs, scores)}
    keys = {"dataset": dataset, "model": model, "model_seed": model_seed, "layer": layer}
    rows = []
    # Whole bases alone can be turned by a part of a rotation.
    curve = doses if inputs.dim <= MOST_COLUMNS else []
    tests = _tests(inputs, scores, drawn, seed=given["seed"], subsamples=subsamples, doses=curve)
    # The curve of shuffled labels would say nothing.
    told = [(s, t) for s, t in tests if s.control == TRAINED or t.alpha == 0]
    rows = [_row(inputs, s, t, s.control if s.control != TRAINED else control, condition) for s, t in told]
    if negated:
        sided = [s for s in scores if s.control == TRAINED and not s.computed.metric.symmetric]
        tests = _tests(inputs, sided, drawn, seed=given["seed"], subsamples=subsamples, sign=-1)
        rows += [_row(inputs, s, t, control, NEGATED) for s, t in tests]
    return {"tests": pa.concat_tables([tables.ROTATION_TESTS.build({}, **keys, **row) for row in rows])}


def score(
    work: Work,
    dataset: str,
    model: str,
    model_seed: int,
    layer: str,
    bases: list[str],
    names: list[str],
    k: int,
    **given: Any,
) -> dict[str, pa.Table]:
    """The scores of every direction of every basis that rest on the tested inputs: more of `unit_scores`."""
    found = tested(work, layer=layer, **given)
    inputs = found.inputs
    not_scanned = [name for name in names if METRICS[name].from_inputs]
    scores = _usable(inputs, scores_of(found, not_scanned, k, given["seed"], False))
    blobs = work.blobs("moments")
    keys = {"dataset": dataset, "model": model, "model_seed": model_seed, "layer": layer, "condition": RAW}
    keys |= {"rotation_seed": 0, "judge": None, "n": len(inputs)}
    rows = []
    for basis in bases:
        directions = directions_of(basis, inputs.dim, given["seed"], Moments.from_bytes(blobs[0]) if blobs else None)
        values = score_directions(inputs, directions, [s.computed for s in scores])
        numbers = np.arange(directions.count, dtype=np.int32)
        for s in scores:
            value = pa.array(values[s.computed.name], pa.float64(), from_pandas=True)
            columns = {"direction": numbers, "value": value}
            own = keys | {"basis": basis, "metric": s.metric, "judge": s.judge}
            rows.append(tables.UNIT_SCORES.build(columns, **own))
        if any(s.metric == "auroc" for s in scores):
            bound = {"direction": -1, "value": auroc_error_bound(inputs, directions), "metric": "auroc_error_bound"}
            rows.append(tables.UNIT_SCORES.build({}, **keys, basis=basis, **bound))
        if basis == "natural":
            constant = (inputs.activations == inputs.activations[:1]).all(axis=0).astype(np.float64)
            columns = {"direction": numbers, "value": constant}
            rows.append(tables.UNIT_SCORES.build(columns, **keys, basis=basis, metric="dead"))
    return {"unit_scores": pa.concat_tables(rows) if rows else tables.UNIT_SCORES.schema.empty_table()}


def _usable(inputs: Inputs, scores: list[Score]) -> list[Score]:
    return [s for s in scores if not _reason(inputs, s)]


def _reason(inputs: Inputs, wanted: Score) -> str:
    """Why a score cannot be tested; empty when it can."""
    if inputs.dim < 2:
        return "a layer of one unit has no other basis"
    return unusable(inputs, wanted.computed)


def _tests(
    inputs: Inputs, scores: list[Score], drawn: dict[str, np.ndarray], **options: Any
) -> list[tuple[Score, RotationTest]]:
    """Each score with its test, and with the tests of its dose curve."""
    by_name = {s.computed.name: s for s in scores}
    usable = [s.computed for s in scores if s.computed.name in drawn]
    done = rotation_test(inputs, usable, null=drawn, **options) if usable else []
    missing = [RotationTest.without_figures(name, len(inputs)) for name in by_name if name not in drawn]
    return [(by_name[t.metric], t) for t in [*done, *missing]]


def _row(inputs: Inputs, wanted: Score, found: RotationTest, control: str, condition: str) -> dict[str, Any]:
    row = found.row() | {"metric": wanted.metric, "judge": wanted.judge, "control": control, "condition": condition}
    says_why = found.natural is None and found.alpha == 0
    wording = wanted.computed.metric.wording(wanted.judge)
    return row | {"verdict": finding(row, wording, _reason(inputs, wanted)).sentence if says_why else None}


def _column(nulls: list[pa.Table], name: str) -> np.ndarray:
    parts = [t for t in nulls if name in t.column_names]
    order = np.argsort(np.concatenate([np.asarray(t["rotation"]) for t in parts]))
    return np.concatenate([np.asarray(t[name]) for t in parts])[order]
