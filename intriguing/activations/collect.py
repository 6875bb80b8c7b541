"""Activations of any torch model, in blocks, so that memory does not grow with the number of inputs."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from math import isfinite
from operator import index
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from intriguing.activations.capture import Capture, Captured, Reduce
from intriguing.activations.layers import resolve_layers
from intriguing.activations.stored import narrowed
from intriguing.basics.inputs import as_tensor, looks_like_bytes
from intriguing.basics.process.liveness import beat
from intriguing.basics.process.memory import is_out_of_memory
from intriguing.basics.text.brief import brief
from intriguing.basics.torch_modes import device_of
from intriguing.errors import DataError, InputError, UnavailableError
from intriguing.models.feeding.batches import Batches, batches_of

_LOG = logging.getLogger(__name__)
_LEARN = 5
"""Inputs of the pass that learns the axes of a network whose rows are dear."""


@dataclass(frozen=True)
class Skipped:
    """An input without activations."""

    id: int
    """Its id."""
    reason: str
    """Why, in a sentence."""


class Block(NamedTuple):
    """The activations of some inputs. It can be unpacked as (ids, {layer: (n, D)})."""

    __repr__ = brief

    ids: np.ndarray
    """The inputs' ids, int64 (n,). For `positions` each id is repeated for every position of the map."""
    vectors: dict[str, torch.Tensor]
    """By layer: (n, units), of the requested dtype."""

    @property
    def positions(self) -> np.ndarray:
        """Each row's position in its input's map, row major, int32 (n,); 0 if there is one row per input."""
        begins = np.flatnonzero(np.diff(self.ids, prepend=self.ids[:1] - 1))
        lengths = np.diff(begins, append=len(self.ids))
        return (np.arange(len(self.ids)) - np.repeat(begins, lengths)).astype(np.int32)


class MapBlock(NamedTuple):
    """The activations of some inputs, with the shapes of the layers' maps and the positions of the maxima."""

    __repr__ = brief

    ids: np.ndarray
    """The inputs' ids, int64 (n,)."""
    layers: dict[str, Captured]
    """By layer: vectors (n, units) or (n, places, units), the places of the maxima, the map's shape."""
    output: torch.Tensor | None = None
    """The model's output (n, ...), where it was asked for and is a tensor."""


class Items(Protocol):
    """Inputs that are read one by one, such as a torch Dataset."""

    def __getitem__(self, index: int, /) -> Any:
        """The input of number `index`: a tensor, or a tuple that starts with one."""
        ...


@dataclass(frozen=True)
class CollectOptions:
    """How activations are collected."""

    reduce: Reduce = "max"
    """What to do with maps: "max" or "mean" of each channel, or "positions" for a vector per position."""
    slots: int = 256
    """Number of inputs per call of the model. Larger needs more memory; see `collect_activations`."""
    device: torch.device | str | None = None
    """Where to compute; None: where the model is."""
    maxima: bool = True
    """Whether to give the position of each unit's maximum in its map (only for "max"); without it is faster."""
    output: bool = False
    """Whether to give the model's output; then each forward pass goes on to the end."""

    def __post_init__(self) -> None:
        if not isinstance(self.slots, int | np.integer) or self.slots < 1:
            raise InputError(f"slots is the size of the model's batches, at least 1, not {self.slots}.")


def collect_activations(
    model: nn.Module,
    loader: Iterable[Any],
    layers: str | Sequence[str],
    *,
    ids: Iterable[int] | None = None,
    reduce: Reduce = "max",
    dtype: torch.dtype = torch.float32,
    slots: int = 256,
    device: torch.device | str | None = None,
    skipped: list[Skipped] | None = None,
) -> Iterator[Block]:
    """The activations of `layers` for all inputs of `loader`: an iterator of (ids, {layer: (n, D)}).

        import torch, intriguing as ig
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 32), torch.nn.ReLU())
        loader = [torch.rand(64, 1, 28, 28) for _ in range(2)]
        for ids, blocks in ig.collect_activations(model, loader, "2"):
            print(ids[:3], blocks["2"].shape)

    loader: yields batches of any size, as a tensor or NumPy array (n, ...), or a tuple or list that starts with one
    (the rest, such as labels, is ignored). ids: the inputs' ids in the loader's order, by default 0, 1, 2, ... layers:
    names as in `intriguing.activations.layers`.

    The axis of a layer's units follows from the model: the second after a convolution, the last after a linear map, and
    permutations and reshapes are tracked. If it cannot be determined, the name of the layer must give it ("norm@-1").

    reduce: what to do with maps. "max" or "mean" of each channel, or "positions" for every position; then all layers
    must have maps of one shape, and each id is repeated, row major. dtype: float16 rounds; ranks are then those of the
    rounded values. slots: number of inputs per call of the model; batches are divided or padded, so that a row's bits
    do not depend on the loader's batches. Where a row costs the model much (`intriguing.models.feeding.batches`) a call
    has fewer inputs and no padding, and numbers agree to 1e-5 relative. device: where to compute; None: where the model
    is. Inputs and activations that are not finite are left out and listed in `skipped`.

    Raises: `UnknownNameError` for an unknown layer, with the nearest names; `InputError` if the axis of units cannot be
    determined (it lists the possible readings), and for activations outside the range of `dtype`; `ModelError` if an
    input's activations depend on the rest of its batch or are random.
    """
    options = CollectOptions(reduce, slots, device, maxima=False)
    for block in collect_maps(model, loader, layers, options, ids=ids, skipped=skipped):
        shapes = {captured.map_shape for captured in block.layers.values()}
        if reduce == "positions":
            if len(shapes) > 1:
                raise InputError(
                    f"With reduce='positions' all layers need maps of one shape, not {sorted(shapes)}: collect them "
                    "in several calls."
                )
            places = int(np.prod(shapes.pop()))
            vectors = {
                name: narrowed(c.vectors.reshape(-1, c.vectors.shape[-1]), dtype, name)
                for name, c in block.layers.items()
            }
            yield Block(np.repeat(block.ids, places), vectors)
        else:
            yield Block(block.ids, {name: narrowed(c.vectors, dtype, name) for name, c in block.layers.items()})


def collect_maps(
    model: nn.Module,
    loader: Iterable[Any],
    layers: str | Sequence[str],
    options: CollectOptions | None = None,
    *,
    ids: Iterable[int] | None = None,
    skipped: list[Skipped] | None = None,
) -> Iterator[MapBlock]:
    """As `collect_activations`, with the maps' shapes, an axis of positions, and what else the `options` ask for."""
    options = options or CollectOptions()
    place = torch.device(options.device) if options.device is not None else device_of(model)
    if isinstance(loader, torch.Tensor | np.ndarray):
        raise InputError(
            f"The loader is one array of shape {tuple(loader.shape)}, whose rows would each be taken for a batch: "
            f"write [x] for a single batch, or torch.as_tensor(x).split({options.slots})."
        )
    resolved = resolve_layers(model, layers)
    named = _named(loader, ids)
    first = next(named, None)
    if first is None:
        return
    batches = batches_of(model, first[0][:2].to(place), options.slots)
    probe = batches.least if batches.is_padded else _LEARN
    with Capture(model, resolved, options.reduce, where=options.maxima, probe=probe, to_end=options.output) as capture:
        for batch, names in _joined(chain([first], named), batches.together):
            beat()
            for part in batches.parts(len(batch)):
                yield _run(capture, batch[part], names[part], batches, place, skipped)


def read_items(
    items: Items, ids: Iterable[int], *, batch: int = 256, skipped: list[Skipped] | None = None
) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """Batches (inputs, ids) of the `items` with these `ids`, read one by one.

    An item that cannot be read is left out and listed in `skipped` with the error's text. The batches are for
    `collect_activations(..., ids=None)`, which takes the ids from them.
    """
    inputs: list[torch.Tensor] = []
    names: list[int] = []
    for name in ids:
        try:
            item = items[int(name)]
            tensor = torch.as_tensor(item[0] if isinstance(item, (tuple, list)) else item)
            if inputs and tensor.shape != inputs[0].shape:
                raise DataError(f"shape {tuple(tensor.shape)} where the others have {tuple(inputs[0].shape)}")
        except Exception as error:
            if isinstance(error, UnavailableError) or is_out_of_memory(error):  # nothing is wrong with the item
                raise
            if skipped is not None:
                skipped.append(Skipped(int(name), f"cannot be read: {type(error).__name__}: {error}"))
            continue
        inputs.append(tensor)
        names.append(int(name))
        if len(inputs) == batch:
            yield _IdentifiedBatch((torch.stack(inputs), np.asarray(names, dtype=np.int64)))
            inputs, names = [], []
    if inputs:
        yield _IdentifiedBatch((torch.stack(inputs), np.asarray(names, dtype=np.int64)))


class _IdentifiedBatch(tuple):
    """A batch whose second part is its ids (a loader's own second part is usually the labels)."""


def _run(
    capture: Capture,
    batch: torch.Tensor,
    names: np.ndarray,
    batches: Batches,
    place: torch.device,
    skipped: list[Skipped] | None,
) -> MapBlock:
    n = len(batch)
    padding = batches.padding(n)
    if padding:
        batch = torch.cat([batch, batch[-1:].expand(padding, *batch.shape[1:])])
    batch = batch.to(place, batches.dtype or batch.dtype, non_blocking=True)
    layers = capture(batch)
    flat = [captured.vectors[:n].flatten(1) for captured in layers.values()]
    if all(isfinite(float(f.sum())) for f in flat):
        whole = layers if not padding else {name: _rows(c, slice(0, n)) for name, c in layers.items()}
        return MapBlock(names, whole, _output(capture, len(batch), slice(0, n)))
    good = torch.stack([torch.isfinite(f).all(dim=1) for f in flat]).all(dim=0)
    keep = good.cpu().numpy()
    if skipped is not None:
        floating = batch.is_floating_point()
        for at in np.nonzero(~keep)[0]:
            finite_input = not floating or bool(torch.isfinite(batch[at]).all())
            what = "the model's activations are" if finite_input else "the input is"
            skipped.append(Skipped(int(names[at]), f"{what} not finite"))
    index = torch.nonzero(good)[:, 0]  # all rows, if only a sum overflowed
    kept = {name: _rows(c, index) for name, c in layers.items()}
    return MapBlock(names[keep], kept, _output(capture, len(batch), index))


def _output(capture: Capture, rows: int, index: slice | torch.Tensor) -> torch.Tensor | None:
    """The rows at `index` of the model's output for a batch of `rows`; None unless it is a tensor with such rows."""
    output, capture.output = capture.output, None
    if not isinstance(output, torch.Tensor) or output.layout is not torch.strided or not output.ndim:
        return None
    return output[index] if len(output) == rows else None


def _rows(captured: Captured, index: slice | torch.Tensor) -> Captured:
    places = None if captured.places is None else captured.places[index]
    return Captured(captured.vectors[index], places, captured.map_shape)


def _named(loader: Iterable[Any], ids: Iterable[int] | None) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """The loader's batches that have rows, with the ids of their inputs."""
    numbers = iter(ids) if ids is not None else None
    total, shape = 0, None
    for item in loader:
        batch = as_tensor(item[0] if isinstance(item, (tuple, list)) else item, "A batch of the loader")
        if batch.ndim < 2:
            raise InputError(f"A loader yields batches of shape (n, ...), not {tuple(batch.shape)}: write batch[None].")
        shape = shape or batch.shape[1:]
        if batch.shape[1:] != shape:
            raise InputError(
                f"After {total} inputs of shape {tuple(shape)} the loader yields a batch {tuple(batch.shape)}: bring "
                "all inputs to one shape, or collect each shape by itself."
            )
        if not total and batch.is_floating_point() and looks_like_bytes(batch):
            _LOG.warning("The inputs are whole numbers from 0 to 255: write batch / 255 if the model takes 0 to 1.")
        if numbers is not None:
            names = _numbers(list(islice(numbers, len(batch))))
            if len(names) < len(batch):
                raise InputError(f"The loader holds more inputs than the {total + len(names)} ids given.")
        elif isinstance(item, _IdentifiedBatch):
            names = np.asarray(item[1], dtype=np.int64)
        else:
            names = np.arange(total, total + len(batch))
        total += len(batch)
        if len(batch):
            yield batch, names


def _numbers(ids: list[Any]) -> np.ndarray:
    """Ids as int64 (n,); raises `InputError` for what is no whole number, rather than cut it to one."""
    try:
        return np.array([index(one) for one in ids], dtype=np.int64)
    except (TypeError, OverflowError):
        raise InputError(f"The ids of inputs are whole numbers of 64 bits, not such as {ids[0]!r}.") from None


def _joined(named: Iterable[tuple[torch.Tensor, np.ndarray]], rows: int) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """The same inputs in batches of `rows` (the last may be shorter)."""
    held: list[torch.Tensor] = []
    held_ids: list[np.ndarray] = []
    size = 0
    for batch, names in named:
        if not size and len(batch) == rows:
            yield batch, names
            continue
        held.append(batch)
        held_ids.append(names)
        size += len(batch)
        if size >= rows:
            together, every = torch.cat(held) if len(held) > 1 else held[0], np.concatenate(held_ids)
            whole = size // rows * rows
            for start in range(0, whole, rows):
                yield together[start : start + rows], every[start : start + rows]
            held, held_ids, size = [together[whole:]], [every[whole:]], size - whole
            if not size:
                held, held_ids = [], []
    if size:
        yield torch.cat(held), np.concatenate(held_ids)
