"""Inputs of the rotation tests: activations, labels and judge vectors of the tested images, read once per layer."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from intriguing.activations import Skipped
from intriguing.engine.worker import Work
from intriguing.randomness import hash_ids
from intriguing.stages.common.resources import device_name
from intriguing.stages.common.sampling import drawn_positions
from intriguing.stages.units import functions
from intriguing.stages.units.names import DRAW, ENCODER, PIXELS
from intriguing.stages.units.tasks.activations import Rows, collect_options, collected, joined, readable
from intriguing.stages.units.tasks.scans import known_labels
from intriguing.units import Moments
from intriguing.units.scoring.judges import pixel_encoder, unit_rows
from intriguing.units.scoring.views import Inputs

_PIXELS = 1024
_SIDE = 16


@dataclass(frozen=True)
class TestedInputs:
    """The tested inputs of a layer, and which columns of `inputs.judge` belong to which judge."""

    inputs: Inputs
    judges: dict[str, slice]

    def without(self, units: np.ndarray) -> "TestedInputs":
        """The same inputs without the `units` that the mask (units,) names."""
        return TestedInputs(self.inputs.without(units), self.judges)


@functions.PIXEL_JUDGE.implementation
def pixel_judge(work: Work, parameters: functions.PixelJudgeParameters) -> dict[str, pa.Table]:
    """The second judge: the principal components of the tested inputs' pixels (images above 1,024 numbers at 16 x 16).

    An input that cannot be read is left out.
    """
    torch.set_num_threads(parameters.compute.threads)
    part = work.resource("dataset").splits[parameters.draw.split]
    names: list[int] = []
    seen = []
    chosen = drawn_positions(part.ids, parameters.draw.rows, parameters.draw.seed, DRAW)
    for batch in readable(part, chosen, parameters.compute.slots, names, []):
        large = batch[0].numel() > _PIXELS
        seen.append((torch.nn.functional.adaptive_avg_pool2d(batch, _SIDE) if large else batch).numpy())
    images = np.concatenate(seen) if seen else np.zeros((0, 1), dtype=np.float32)
    vectors = pixel_encoder(images)
    return {"pixels": pa.table({"example_id": pa.array(names, pa.int64()), "vector": _column(vectors)})}


@functions.MOMENTS.implementation
def moments(work: Work, parameters: functions.TestedLayer) -> dict[str, bytes]:
    """Mean and covariance of the tested inputs, in the order of the draw's hash: for covariance and pca directions."""
    inputs = _collect(work, parameters).inputs
    covariance = Moments(inputs.dim, with_covariance=True)
    covariance.update(inputs.activations)
    return {"moments": covariance.to_bytes()}


@functions.TEST_INPUTS.implementation
def test_inputs(work: Work, parameters: functions.TestedLayer) -> dict[str, pa.Table]:
    """``inputs``: the tested inputs in the order of the hash of their ids, with labels and judge vectors.

    ``units``: how many inputs share each unit's largest value, and whether it is the same for all.
    """
    collected_inputs = _collect(work, parameters)
    inputs = collected_inputs.inputs
    values = inputs.activations
    columns = {"label": pa.array(inputs.labels), "activations": _column(values)}
    if inputs.judge is not None:
        columns["judge"] = _column(inputs.judge)
    judges = {name: [columns.start, columns.stop] for name, columns in collected_inputs.judges.items()}
    about = {b"judges": json.dumps(judges).encode(), b"classes": str(inputs.classes).encode()}
    units = {
        "sharing": (values == values.max(axis=0, initial=-np.inf)).sum(axis=0),
        "constant": (values == values[:1]).all(axis=0),
    }
    return {"inputs": pa.table(columns).replace_schema_metadata(about), "units": pa.table(units)}


def read_inputs(work: Work) -> TestedInputs:
    """The tested inputs of a layer, from the outputs of `test_inputs`."""
    [table] = work.tables("inputs")
    about = table.schema.metadata
    labels = table["label"].to_numpy().copy()  # a copy, like the vectors: torch takes no read-only arrays
    judge = _matrix(table["judge"]).copy() if "judge" in table.column_names else None
    inputs = Inputs(_matrix(table["activations"]).copy(), labels, judge, int(about[b"classes"]))
    return TestedInputs(inputs, {name: slice(*ends) for name, ends in json.loads(about[b"judges"]).items()})


def read_live_inputs(work: Work, k: int) -> TestedInputs | None:
    """The tested inputs without the units whose largest value more than `k` inputs share (the dead ones among them).

    None where there are no such units, or where fewer than two others are left; then only a small table was read.
    """
    [units] = work.tables("units", ["sharing"])
    useless = np.asarray(units["sharing"]) > k
    return read_inputs(work).without(useless) if useless.any() and (~useless).sum() > 1 else None


def _collect(work: Work, parameters: functions.TestedLayer) -> TestedInputs:
    """The tested inputs: the `rows` of the scanned ones that come first in the draw, one place of the map each.

    Activations are read from the input `activations`, or where there is none computed by the resource `model`; those
    of the judging network, at `judge_layer`, are the input `judge`; the input `pixels` is the second judge.
    """
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    ids, vectors = one_place(rows_of(work, "activations", parameters.layer, parameters), parameters.draw.seed)
    judges: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if parameters.judge_layer:
        judges[ENCODER] = _mean_over_places(rows_of(work, "judge", parameters.judge_layer, parameters))
    for table in work.tables("pixels"):
        judges[PIXELS] = np.asarray(table["example_id"]), _matrix(table["vector"])
    for judged, _ in judges.values():
        keep = np.isin(ids, judged)
        ids, vectors = ids[keep], vectors[keep]
    columns, parts, first = {}, [], 0
    for name, (judged, seen) in judges.items():
        order = np.argsort(judged)
        parts.append(unit_rows(seen[order[np.searchsorted(judged[order], ids)]]))
        columns[name] = slice(first, first + seen.shape[1])
        first += seen.shape[1]
    example_ids, labels = known_labels(work)
    own_labels = labels[np.searchsorted(example_ids, ids)]
    judge = np.concatenate(parts, axis=1) if parts else None
    return TestedInputs(Inputs.of(vectors, ids, labels=own_labels, judge=judge, seed=parameters.draw.seed), columns)


def rows_of(work: Work, stored: str, layer: str, parameters: functions.TestedLayer) -> Rows:
    """The tested inputs' rows of a layer: out of the input `stored`, or computed by the resource `model`."""
    draw = parameters.draw
    tables = work.tables(stored, ["example_id", "position", "vector"])
    if tables:
        ids = np.concatenate([np.asarray(t["example_id"]) for t in tables])
        names = np.unique(ids)
        tested_ids = names[drawn_positions(names, draw.rows, draw.seed, DRAW)]
        keep = [np.isin(np.asarray(t["example_id"]), tested_ids) for t in tables]
        positions = np.concatenate([np.asarray(t["position"])[k] for t, k in zip(tables, keep, strict=True)])
        vectors = np.concatenate([_matrix(t["vector"])[k] for t, k in zip(tables, keep, strict=True)])
        return Rows(ids[np.concatenate(keep)], positions, vectors)
    part = work.resource("dataset").splits[draw.split]
    chosen = drawn_positions(part.ids, draw.rows, draw.seed, DRAW)
    skipped: list[Skipped] = []
    options = collect_options(parameters.reading, parameters.compute.slots)
    blocks = collected(work.resource("model"), part, chosen, [layer], options, parameters.reading.dtype, skipped)
    return joined([block for _, block in blocks])


def one_place(rows: Rows, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and vectors of one row per input: places of one map are no independent inputs, so one is drawn by a key."""
    places = int(rows.positions.max(initial=0)) + 1
    chosen_places = hash_ids(seed, "tested place", rows.ids) % np.uint64(places)
    keep = rows.positions.astype(np.uint64) == chosen_places
    return rows.ids[keep], rows.vectors[keep]


def _mean_over_places(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    starts = np.flatnonzero(rows.positions == 0)
    sums = np.add.reduceat(rows.vectors.astype(np.float32), starts, axis=0)
    return rows.ids[starts], sums / np.diff(np.append(starts, len(rows.ids)))[:, None].astype(np.float32)


def _matrix(vectors: pa.ChunkedArray) -> np.ndarray:
    """A column of vectors as a matrix (n, length)."""
    joined_vectors = vectors.combine_chunks()
    return np.asarray(joined_vectors.flatten()).reshape(-1, joined_vectors.type.list_size)


def _column(matrix: np.ndarray) -> pa.FixedSizeListArray:
    """A matrix (n, length) as a column of float32 vectors."""
    flat = pa.array(np.ascontiguousarray(matrix, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])
