"""Scan activations, merge the shards' states, and score the top inputs."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.activations import CollectOptions, collect_maps, receptive_field
from intriguing.engine.worker import Work
from intriguing.errors import ModelError
from intriguing.randomness import key
from intriguing.stages.common.parameters import Draw
from intriguing.stages.common.resources import device
from intriguing.stages.common.sampling import drawn_positions
from intriguing.stages.units import functions
from intriguing.stages.units.names import DRAW
from intriguing.stages.units.tasks.places import places_of, with_places
from intriguing.units import Directions, Moments, Top, TopK
from intriguing.units.degeneracy import degeneracy, saturated_units
from intriguing.units.scoring.labels import class_counts, entropy, numbered, purity


@functions.SCAN.implementation
def scan(work: Work, parameters: functions.ScanParameters) -> dict[str, bytes]:
    """The top-K state of one shard."""
    torch.set_num_threads(parameters.threads)
    [table] = work.tables("activations", ["example_id", "position", "vector", "maxima"])
    vectors = table["vector"].combine_chunks()
    dim = vectors.type.list_size
    block = np.array(vectors.flatten()).reshape(-1, dim)  # a copy: torch takes no read-only arrays
    top = TopK(
        directions_of(parameters.basis, dim, parameters.seed, moments_of(work)),
        parameters.k,
        both=parameters.both,
        seed=parameters.seed,
    )
    ids = np.asarray(table["example_id"])
    top.update(block, ids, np.asarray(table["position"]))
    if "maxima" not in table.column_names or table["maxima"].null_count:
        return {"state": top.to_bytes()}
    maxima = np.asarray(table["maxima"].combine_chunks().flatten()).reshape(-1, dim)
    return {"state": with_places(top, ids, block, maxima)}


@functions.TOP_INPUTS.implementation
def top_inputs(work: Work, parameters: functions.TopInputsParameters) -> dict[str, pa.Table]:
    """Merge the shards' states: the tables `topk`, `unit_scores`, and `receptive_fields` (of the natural basis)."""
    torch.set_num_threads(parameters.compute.threads)
    stored = list(work.blobs("states"))
    states = [TopK.from_bytes(state) for state in stored]
    scan = states[0]
    for state in states[1:]:
        scan.merge(state)
    ids, labels = known_labels(work)
    keys: dict[str, Any] = dict(parameters.key.columns)
    layer = parameters.key.layer
    signs = (1, -1) if scan.both else (1,)
    best = {sign: scan.result(sign) for sign in signs}
    fields = tables.RECEPTIVE_FIELDS.schema.empty_table()
    if work.has_resource("model"):
        shape = work.resource("dataset").shape
        fields = _receptive_fields(work.resource("model"), layer, shape, keys)
    places: dict[int, np.ndarray] = {}
    known = places_of(stored) if parameters.reduce == "max" else None
    if known is not None:
        places = {sign: known.of(best[sign].ids, sign) for sign in signs}
    elif parameters.reduce == "max" and fields.num_rows:
        # The smallest of a channel's maxima is a maximum as well.
        places = {sign: _fed_again(work, parameters, best[sign].ids) for sign in signs}
    keys |= {"condition": parameters.condition, "basis": parameters.basis, "rotation_seed": 0}
    ranked = [_ranks(best[sign], sign, ids, labels, places.get(sign), keys) for sign in signs]
    directions = directions_of(parameters.basis, scan.directions.dim, parameters.draw.seed, moments_of(work))
    scanned = _scanned_labels(work, parameters.draw)
    scores = _scores(best[1], directions, ids, labels, scanned, keys)
    return {"topk": pa.concat_tables(ranked), "unit_scores": scores, "receptive_fields": fields}


def known_labels(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """The ids of the input `examples` in their order, and the labels."""
    examples = work.table("examples", ["example_id", "label"])
    order = np.argsort(np.asarray(examples["example_id"]))
    return np.asarray(examples["example_id"])[order], np.asarray(examples["label"])[order]


def _scanned_labels(work: Work, draw: Draw) -> np.ndarray:
    """The labels of the scanned inputs: of those drawn, without the skipped ones."""
    examples = work.table("examples", ["example_id", "label", "split"])
    here = np.asarray(examples["split"]) == draw.split
    ids, labels = np.asarray(examples["example_id"])[here], np.asarray(examples["label"])[here]
    drawn = drawn_positions(ids, draw.rows, draw.seed, DRAW)
    skipped = [np.asarray(table["example_id"]) for table in work.tables("skipped", ["example_id"])]
    return labels[drawn[~np.isin(ids[drawn], np.concatenate(skipped))]]


def directions_of(basis: str, dim: int, seed: int, moments: Moments | None = None) -> Directions:
    """The directions called `basis` for a layer of `dim` units: as many as there are units."""
    draw_seed = key(seed, "directions", basis, dim) % 2**31
    match basis:
        case "natural":
            return Directions.natural(dim)
        case "gaussian":
            return Directions.gaussian(dim, dim, draw_seed)
        case "haar":
            return Directions.haar(dim, draw_seed)
        case "covariance" if moments is not None:
            return Directions.covariance(moments, dim, draw_seed)
        case "pca" if moments is not None:
            return Directions.pca(moments)
        case _:
            return Directions.uniform01(dim, dim, draw_seed)


def moments_of(work: Work) -> Moments | None:
    """The moments of the layer, where the task was given any."""
    blobs = work.blobs("moments")
    return Moments.from_bytes(blobs[0]) if blobs else None


def _ranks(
    best: Top, sign: int, ids: np.ndarray, labels: np.ndarray, places: np.ndarray | None, keys: dict[str, Any]
) -> pa.Table:
    direction, rank = np.nonzero(best.ids >= 0)
    example_ids = best.ids[direction, rank]
    return tables.TOPK.build(
        {
            "direction": direction.astype(np.int32),
            "rank": (rank + 1).astype(np.int32),
            "example_id": example_ids,
            "position": (best.positions if places is None else places)[direction, rank],
            "value": best.values[direction, rank],
            "label": labels[np.searchsorted(ids, example_ids)],
            "ties": best.ties[direction].astype(np.int32),
        },
        **keys,
        sign=sign,
    )


def _scores(
    best: Top, directions: Directions, ids: np.ndarray, labels: np.ndarray, scanned: np.ndarray, keys: dict[str, Any]
) -> pa.Table:
    """Purity and entropy of every direction, the saturated units, and what all directions share (direction -1).

    scanned: the labels of all scanned inputs.
    """
    m = len(best.values)
    each: dict[str, np.ndarray] = {}
    whole: dict[str, float] = {}
    if best.values.shape[1]:
        if (best.ids >= 0).all():
            counts = class_counts(*numbered(labels[np.searchsorted(ids, best.ids)], scanned))
            each = {"purity": purity(counts), "entropy": entropy(counts)}
        alike = degeneracy(directions.columns, best)
        whole = {
            "mean_cosine": alike.mean_cosine,
            "mean_jaccard": alike.mean_jaccard,
            "distinct_inputs": alike.distinct / max(alike.ranks, 1),
            "arbitrary": alike.arbitrary / m,
        }
        if directions.basis == "natural":
            each["saturated"] = saturated_units(best).astype(np.float64)
    parts = [
        tables.UNIT_SCORES.build(
            {"direction": np.arange(m, dtype=np.int32), "value": values}, **keys, metric=metric, judge=None, n=best.rows
        )
        for metric, values in each.items()
    ]
    parts += [
        tables.UNIT_SCORES.build({}, **keys, direction=-1, value=value, metric=metric, judge=None, n=best.rows)
        for metric, value in whole.items()
    ]
    return pa.concat_tables(parts) if parts else tables.UNIT_SCORES.schema.empty_table()


def _receptive_fields(net: torch.nn.Module, layer: str, shape: tuple[int, ...], keys: dict[str, Any]) -> pa.Table:
    """Which part of the input each place of the layer's map can see; no rows for a layer without a map."""
    try:
        field = receptive_field(net, layer, shape)
    except ModelError:
        return tables.RECEPTIVE_FIELDS.schema.empty_table()
    boxes = np.array([field.crop(place) for place in range(len(field.rows) * len(field.columns))], dtype=np.int32)
    sides = {name: boxes[:, i] for i, name in enumerate(("top", "bottom", "left", "right"))}
    return tables.RECEPTIVE_FIELDS.build({"position": np.arange(len(boxes), dtype=np.int32), **sides}, **keys)


def _fed_again(work: Work, parameters: functions.TopInputsParameters, ids: np.ndarray) -> np.ndarray:
    """Where in the map the maximum of unit i lies, for the inputs `ids` (units, K): (units, K) int32.

    The network is fed the inputs once more: for activations that earlier code stored, without the places.
    """
    net, part = work.resource("model"), work.resource("dataset").splits[parameters.draw.split]
    slots = parameters.compute.slots
    layer = parameters.key.layer
    distinct = np.unique(ids[ids >= 0])
    at = part.positions(distinct)
    batches = (part.pixels(at[i : i + slots]) for i in range(0, len(at), slots))
    options = CollectOptions(slots=slots, device=device())
    blocks = collect_maps(net, batches, [layer], options, ids=distinct)
    parts = [block.layers[layer].places for block in blocks]
    places = torch.cat([part for part in parts if part is not None]).cpu().numpy()
    rows = np.minimum(np.searchsorted(distinct, ids), len(distinct) - 1)
    return places[rows, np.arange(len(ids))[:, None]].astype(np.int32)
