"""Collect activations: stored for other tasks to read, or scanned at once and only those of some inputs kept."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.activations import (
    Captured,
    CollectOptions,
    Skipped,
    activation_table,
    collect_maps,
    narrowed,
    read_items,
)
from intriguing.data import Split
from intriguing.engine.worker import Work
from intriguing.errors import DataError
from intriguing.models import classes_of, is_classifier, save_weights
from intriguing.models.feeding.batches import FEW
from intriguing.randomness import torch_seed
from intriguing.stages.common.resources import build, device, device_name
from intriguing.stages.common.sampling import drawn_positions
from intriguing.stages.units import functions
from intriguing.stages.units.functions import Reading
from intriguing.stages.units.names import DRAW
from intriguing.stages.units.tasks.places import with_places
from intriguing.stages.units.tasks.scans import directions_of
from intriguing.units import Moments, TopK

_MOST_VALUES = 2**22
"""Values of a batch of inputs at most, before fewer are read at a time."""
_MOST_PLACES = 2**16
"""Places of a map at most, for which those of the maxima are kept."""


@dataclass(frozen=True)
class Rows:
    """Rows of one layer."""

    ids: np.ndarray
    """The inputs' ids, int64 (n,)."""
    positions: np.ndarray
    """The places in the layer's map, int32 (n,)."""
    vectors: np.ndarray
    """(n, units), float32 or float16."""
    maxima: np.ndarray | None = None
    """Where in the layer's map each unit's maximum lies, (n, units) uint16, where the vectors are maxima of a map."""
    predictions: np.ndarray | None = None
    """The classes that the network gives the inputs, int64 (n,), where it is a classifier."""

    def of(self, ids: np.ndarray) -> "Rows":
        """The rows of the inputs with these `ids`."""
        here = np.isin(self.ids, ids)
        maxima = None if self.maxima is None else self.maxima[here]
        predictions = None if self.predictions is None else self.predictions[here]
        return Rows(self.ids[here], self.positions[here], self.vectors[here], maxima, predictions)


@functions.ACTIVATIONS.implementation
def activations(work: Work, parameters: functions.ActivationsParameters) -> dict[str, pa.Table]:
    """The activations of a shard of inputs: outputs layer0, layer1, ... as `layers` has them, and `skipped`."""
    skipped: list[Skipped] = []
    blocks: dict[str, list[Rows]] = {layer: [] for layer in parameters.layers}
    for layer, block in _shard_rows(work, parameters, parameters.layers, skipped):
        blocks[layer].append(block)
    keys = parameters.key.columns
    stored = {
        f"layer{j}": _stored(joined(blocks[layer]), {**keys, "layer": layer})
        for j, layer in enumerate(parameters.layers)
    }
    return stored | {"skipped": _skipped(skipped, keys)}


@functions.STREAM.implementation
def stream(work: Work, parameters: functions.StreamParameters) -> dict[str, Any]:
    """Scan a shard of inputs as they are computed: the top-K states layer0_BASIS, ..., `predictions` and `skipped`.

    The outputs kept0, kept1, ... are the activations of those inputs that later tasks read, as `activations` stores
    them: the `kept` first of the draw. The inputs moments0, moments1, ... are those of the layers `scanned`, where a
    basis needs them.
    """
    skipped: list[Skipped] = []
    scans: dict[tuple[str, str], TopK] = {}
    located: dict[str, list[Rows]] = {layer: [] for layer in parameters.scanned}
    kept: dict[str, list[Rows]] = {layer: [] for layer in parameters.scanned}
    draw, seen = parameters.draw, list[Rows]()
    part = work.resource("dataset").splits[draw.split]
    read_later = part.ids[drawn_positions(part.ids, min(parameters.kept, draw.rows), draw.seed, DRAW)]
    for layer, block in _shard_rows(work, parameters, parameters.scanned, skipped):
        kept[layer].append(block.of(read_later))
        if layer == parameters.scanned[0]:
            seen.append(replace(block, vectors=block.vectors[:, :0], maxima=None))
        for basis in parameters.bases:
            if (layer, basis) not in scans:
                moments = [Moments.from_bytes(m) for m in work.blobs(f"moments{parameters.scanned.index(layer)}")]
                directions = directions_of(
                    basis, block.vectors.shape[1], parameters.draw.seed, moments[0] if moments else None
                )
                scans[layer, basis] = TopK(directions, parameters.k, both=parameters.both, seed=parameters.draw.seed)
            scans[layer, basis].update(block.vectors, block.ids, block.positions)
        located[layer].append(block if block.maxima is not None else replace(block, vectors=block.vectors[:0]))
    states = {
        f"layer{parameters.scanned.index(layer)}_{basis}": _state(scan, located[layer])
        for (layer, basis), scan in scans.items()
    }
    keys = parameters.key.columns
    stored = {
        f"kept{j}": _stored(joined(kept[layer]), {**keys, "layer": layer}) for j, layer in enumerate(parameters.scanned)
    }
    return states | stored | {"predictions": _predictions(joined(seen)), "skipped": _skipped(skipped, keys)}


def _predictions(rows: Rows) -> pa.Table:
    """The columns `example_id` and `prediction` of each input once; null for a network that is no classifier."""
    ids, first = np.unique(rows.ids, return_index=True)
    classes = pa.nulls(len(ids), pa.int64()) if rows.predictions is None else pa.array(rows.predictions[first])
    return pa.table({"example_id": pa.array(ids), "prediction": classes})


def _state(scan: TopK, blocks: list[Rows]) -> bytes:
    """A scan's state, with the places of its listed inputs where the layer's vectors are maxima of a map."""
    if any(block.maxima is None for block in blocks):
        return scan.to_bytes()
    rows = joined(blocks)
    assert rows.maxima is not None
    return with_places(scan, rows.ids, rows.vectors, rows.maxima)


def _shard_rows(
    work: Work,
    parameters: functions.ActivationsParameters | functions.StreamParameters,
    layers: Sequence[str],
    skipped: list[Skipped],
) -> Iterator[tuple[str, Rows]]:
    """The rows of `layers` for the task's shard of inputs, with predictions, block by block; see `collected`."""
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    draw, shard = parameters.draw, parameters.shard
    part = work.resource("dataset").splits[draw.split]
    chosen = drawn_positions(part.ids, draw.rows, draw.seed, DRAW)[shard.start : shard.stop]
    net = work.resource("model")
    options = collect_options(parameters.reading, parameters.compute.slots, output=is_classifier(net))
    return collected(net, part, chosen, layers, options, parameters.reading.dtype, skipped)


@functions.UNTRAINED_WEIGHTS.implementation
def untrained_weights(work: Work, parameters: functions.UntrainedWeightsParameters) -> dict[str, bytes]:
    """The weights of the control: the network as it is built, before any training or loading.

    Weights that all start alike (softmax regression starts at zero) have no random state to begin with: they are drawn
    anew, as Glorot and Bengio (2010), eq. 16, have it.
    """
    options = {k: v for k, v in parameters.architecture.options.items() if k not in ("published", "download")}
    net = build(replace(parameters.architecture, options=options), parameters.model_seed)
    generator = torch.Generator().manual_seed(torch_seed(parameters.model_seed, "random weights"))
    with torch.no_grad():
        for weights in net.parameters():
            if weights.ndim > 1 and bool((weights == weights.flatten()[0]).all()):
                torch.nn.init.xavier_normal_(weights, generator=generator)
    return {"weights": save_weights(net)}


def collect_options(reading: Reading, slots: int, *, output: bool = False) -> CollectOptions:
    """The options of `collect_maps` for a task's `reading`, on the device of its worker."""
    reduce: Any = reading.reduce
    return CollectOptions(reduce, slots, device(), output=output)


def collected(
    net: torch.nn.Module,
    part: Split,
    chosen: np.ndarray,
    layers: Sequence[str],
    options: CollectOptions,
    dtype: str,
    skipped: list[Skipped],
) -> Iterator[tuple[str, Rows]]:
    """The rows of each layer for the inputs at the positions `chosen` of `part`, block by block, as (layer, rows).

    An input that cannot be read, or that gives numbers that are not finite, is listed in `skipped` and left out. Where
    none can be read, each layer gives one block without rows. Where the `options` ask for the output, the rows have the
    classes that it names.
    """
    names: list[int] = []
    # The ids are taken after the batch that they belong to was read, so this list is always ahead.
    ids = map(names.__getitem__, count())
    is_empty = True
    batches = readable(part, chosen, options.slots, names, skipped)
    for block in collect_maps(net, batches, layers, options, ids=ids, skipped=skipped):
        is_empty = False
        predictions = None if block.output is None else classes_of(block.output)
        for layer, captured in block.layers.items():
            yield layer, _rows_of(layer, captured, block.ids, dtype, predictions)
    if is_empty:
        blank = [torch.zeros(1, *part.images.shape[1:])]
        for block in collect_maps(net, blank, layers, replace(options, output=False)):
            for layer, captured in block.layers.items():
                none = Captured(captured.vectors[:0], None, captured.map_shape)
                yield layer, _rows_of(layer, none, block.ids[:0], dtype)


def joined(blocks: list[Rows]) -> Rows:
    """The rows of all `blocks`, in their order."""
    return Rows(
        np.concatenate([b.ids for b in blocks]),
        np.concatenate([b.positions for b in blocks]),
        np.concatenate([b.vectors for b in blocks]),
        _all([b.maxima for b in blocks]),
        _all([b.predictions for b in blocks]),
    )


def _all(parts: list[np.ndarray | None]) -> np.ndarray | None:
    """The parts one after another; None where one is missing."""
    whole = [part for part in parts if part is not None]
    return np.concatenate(whole) if len(whole) == len(parts) else None


class _Items:
    """Inputs one by one, for those batches that cannot be read as a whole."""

    def __init__(self, part: Split) -> None:
        self._part = part

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._part.pixels([index])[0]


def readable(
    part: Split, chosen: np.ndarray, slots: int, names: list[int], skipped: list[Skipped]
) -> Iterator[torch.Tensor]:
    """Batches of the inputs that can be read, of `slots` or, if they are large, fewer; their ids go to `names`."""
    step = slots if slots * math.prod(part.images.shape[1:]) <= _MOST_VALUES else min(slots, FEW)
    for start in range(0, len(chosen), step):
        rows = chosen[start : start + step]
        try:
            batch = part.pixels(rows)
        except DataError:
            bad: list[Skipped] = []
            for batch, read in read_items(_Items(part), rows, batch=step, skipped=bad):
                names.extend(part.ids[read].tolist())
                yield batch
            skipped.extend(Skipped(int(part.ids[s.id]), s.reason) for s in bad)
        else:
            names.extend(part.ids[rows].tolist())
            yield batch


def _rows_of(
    layer: str, captured: Captured, ids: np.ndarray, dtype: str, predictions: np.ndarray | None = None
) -> Rows:
    vectors = narrowed(captured.vectors, torch.float16 if dtype == "float16" else torch.float32, layer).cpu()
    if vectors.ndim == 2:
        maxima = None
        if captured.places is not None and math.prod(captured.map_shape) <= _MOST_PLACES:
            maxima = captured.places.to(torch.uint16).cpu().numpy()
        return Rows(ids, np.zeros(len(ids), dtype=np.int32), vectors.numpy(), maxima, predictions)
    n, places, units = vectors.shape
    positions = np.tile(np.arange(places, dtype=np.int32), n)
    repeated = None if predictions is None else np.repeat(predictions, places)
    return Rows(np.repeat(ids, places), positions, vectors.reshape(n * places, units).numpy(), None, repeated)


def _stored(rows: Rows, keys: dict[str, Any]) -> pa.Table:
    return activation_table(
        rows.ids,
        rows.vectors,
        positions=rows.positions,
        predictions=rows.predictions,
        maxima=rows.maxima,
        **keys,
    )


def _skipped(skipped: list[Skipped], keys: dict[str, Any]) -> pa.Table:
    listed = {s.id: s.reason for s in skipped}
    return tables.SKIPPED.build({"example_id": list(listed), "reason": list(listed.values())}, **keys)
