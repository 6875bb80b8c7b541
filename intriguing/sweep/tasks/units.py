"""Tasks of the unit question: collect activations, scan them, rank the top inputs and score them."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.activations import collect_activations
from intriguing.engine.worker import Work
from intriguing.randomness import key
from intriguing.sweep.resources import device, device_name
from intriguing.sweep.tasks.draws import drawn_positions
from intriguing.units import Directions, Top, TopK
from intriguing.units.labels import class_counts, entropy, purity


def activations(
    work: Work,
    dataset: str,
    model: str,
    model_seed: int,
    split: str,
    rows: int,
    seed: int,
    start: int,
    stop: int,
    layers: list[str],
    dtype: str,
    threads: int,
    slots: int,
) -> dict[str, pa.Table]:
    """The activations of inputs `start` to `stop` at each layer: outputs layer0, layer1, ... in the order given."""
    torch.set_num_threads(threads)
    work.device = device_name()
    part = work.resource("dataset").splits[split]
    chosen = drawn_positions(part, rows, seed, "scanned inputs")[start:stop]
    batches = (part.pixels(chosen[i : i + slots]) for i in range(0, len(chosen), slots))
    blocks: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
    ids: list[np.ndarray] = []
    net = work.resource("model")
    for block in collect_activations(net, batches, layers, ids=part.ids[chosen], slots=slots, device=device()):
        ids.append(block.ids)
        for layer in layers:
            blocks[layer].append(block.vectors[layer].cpu().numpy())
    keys = {"dataset": dataset, "model": model, "model_seed": model_seed}
    return {
        f"layer{j}": _vectors(np.concatenate(blocks[layer]), np.concatenate(ids), dtype, keys | {"layer": layer})
        for j, layer in enumerate(layers)
    }


def scan(work: Work, basis: str, k: int, both: bool, seed: int, threads: int) -> dict[str, bytes]:
    """The top-K state of one shard."""
    torch.set_num_threads(threads)
    table = work.table("activations", ["example_id", "position", "vector", "layer"])
    vectors = table["vector"].combine_chunks()
    dim = vectors.type.list_size
    block = np.array(vectors.flatten()).reshape(-1, dim)  # a copy: torch takes no read-only arrays
    top = TopK(directions_of(basis, dim, seed), k, both=both, seed=seed)
    top.update(block, np.asarray(table["example_id"]), np.asarray(table["position"]))
    return {"state": top.to_bytes()}


def top(
    work: Work, dataset: str, model: str, model_seed: int, layer: str, condition: str, basis: str, classes: int
) -> dict[str, pa.Table]:
    """Merge the shards' states: the tables `topk` and `unit_scores`."""
    states = work.blobs("states")
    scan = TopK.from_bytes(states[0])
    for state in states[1:]:
        scan.merge(TopK.from_bytes(state))
    known = work.table("examples", ["example_id", "label"])
    order = np.argsort(np.asarray(known["example_id"]))
    ids, labels = np.asarray(known["example_id"])[order], np.asarray(known["label"])[order]
    keys = {"dataset": dataset, "model": model, "model_seed": model_seed, "layer": layer, "condition": condition}
    keys |= {"basis": basis, "rotation_seed": 0}
    ranked = [_ranks(scan.result(sign), sign, ids, labels, keys) for sign in ((1, -1) if scan.both else (1,))]
    best = scan.result(1)
    top_labels = np.where(best.ids >= 0, labels[np.minimum(np.searchsorted(ids, best.ids), len(ids) - 1)], -1)
    counts = class_counts(top_labels, classes)
    scored = {"purity": purity(counts), "entropy": entropy(counts)}
    scores = [
        tables.UNIT_SCORES.build(
            {"direction": np.arange(len(values), dtype=np.int32), "value": values}, **keys, metric=metric, n=best.rows
        )
        for metric, values in scored.items()
    ]
    return {"topk": pa.concat_tables(ranked), "unit_scores": pa.concat_tables(scores)}


def _ranks(best: Top, sign: int, ids: np.ndarray, labels: np.ndarray, keys: dict[str, Any]) -> pa.Table:
    direction, rank = np.nonzero(best.ids >= 0)
    found = best.ids[direction, rank]
    return tables.TOPK.build(
        {
            "direction": direction.astype(np.int32),
            "rank": (rank + 1).astype(np.int32),
            "example_id": found,
            "position": best.positions[direction, rank],
            "value": best.values[direction, rank],
            "label": labels[np.searchsorted(ids, found)],
            "ties": best.ties[direction].astype(np.int32),
        },
        **keys,
        sign=sign,
    )


def directions_of(basis: str, dim: int, seed: int) -> Directions:
    """The directions called `basis` for a layer of `dim` units: as many as there are units."""
    drawn = key(seed, "directions", basis, dim) % 2**31
    match basis:
        case "natural":
            return Directions.natural(dim)
        case "gaussian":
            return Directions.gaussian(dim, dim, drawn)
        case "haar":
            return Directions.haar(dim, drawn)
        case _:
            return Directions.uniform01(dim, dim, drawn)


def _vectors(values: np.ndarray, ids: np.ndarray, dtype: str, keys: dict[str, Any]) -> pa.Table:
    schema = tables.activations(values.shape[1], pa.float16() if dtype == "float16" else pa.float32())
    flat = pa.array(np.ascontiguousarray(values.astype(dtype)).reshape(-1))
    vector = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return schema.build({"example_id": ids, "vector": vector}, **keys, position=0)
