"""The layout of a tensor: which of its axes are inputs, units, or places (positions in a map).

An axis is a tuple of atoms, as in `einops`: the tokens of an image of 8 x 6 places are one axis of the atoms 8 and 6. A
reshape only groups the atoms differently, so windows, heads and patches do not lose the layout.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch

from intriguing.errors import InputError, ModelError

BATCH, UNITS, PLACES, OPEN = "batch", "units", "places", "open"
"""Kinds of atoms: inputs, units of a layer, places of its map, or open (units or places, not known which)."""


class Atom(NamedTuple):
    """A factor of an axis's size."""

    kind: str
    size: int


Axis = tuple[Atom, ...]
Layout = tuple[Axis, ...]


def axis(kind: str, size: int) -> Axis:
    """An axis of one atom."""
    return (Atom(kind, size),)


def size_of(one: Axis) -> int:
    """The length of an axis."""
    return prod(atom.size for atom in one)


def kind_of(one: Axis) -> str:
    """The kind of an axis: units if it has any, "mixed" if it has inputs and something else."""
    kinds = {atom.kind for atom in one if atom.size > 1} or {atom.kind for atom in one}
    if BATCH in kinds:
        return BATCH if len(kinds) == 1 else "mixed"
    return next((kind for kind in (UNITS, OPEN) if kind in kinds), PLACES)


def demoted(one: Axis) -> Axis:
    """The axis after another one was found to be the units."""
    return tuple(Atom(PLACES, atom.size) if atom.kind in (UNITS, OPEN) else atom for atom in one)


def with_units(layout: Sequence[Axis], at: int, size: int) -> Layout:
    """`layout` with `size` units on the axis `at` and on no other."""
    axes = [demoted(one) for one in layout]
    axes[at] = axis(UNITS, size)
    return tuple(axes)


def resized(one: Axis, size: int) -> Axis:
    """An axis of the same kind and another `size`."""
    kind = kind_of(one)
    return one if size_of(one) == size else axis(OPEN if kind in (BATCH, "mixed") else kind, size)


def of_input(batch: torch.Tensor) -> Layout:
    """The layout of a model's input: images (n, channels, rows, columns), vectors (n, units), words (n, places).

    Words are whole numbers. The units of sequences and volumes are not known.
    """
    n, *rest = batch.shape
    kinds = [OPEN] * len(rest)
    if len(rest) == 3:
        kinds = [UNITS, PLACES, PLACES]
    elif not batch.is_floating_point():
        kinds = [PLACES] * len(rest)
    elif len(rest) == 1:
        kinds = [UNITS]
    return (axis(BATCH, n), *(axis(kind, size) for kind, size in zip(kinds, rest, strict=True)))


def reshaped(layout: Layout, shape: Sequence[int]) -> Layout | None:
    """The layout after a row-major reshape to `shape`; None if the atoms cannot be divided so."""
    remaining = [atom for one in layout for atom in one][::-1]
    if 0 in shape or prod(atom.size for atom in remaining) != prod(shape):
        return None
    axes = []
    for size in shape:
        atoms: list[Atom] = []
        have = 1
        if size == 1 and remaining and remaining[-1].size == 1:
            atoms.append(remaining.pop())
        while have < size:
            atom = remaining.pop()
            if size % have or (have * atom.size > size and atom.size % (size // have)):
                return None
            if have * atom.size > size:
                part = size // have
                remaining.append(Atom(atom.kind, atom.size // part))
                atom = Atom(atom.kind, part)
            atoms.append(atom)
            have *= atom.size
        if have != size:
            return None
        axes.append(tuple(a for a in atoms if a.size > 1) or tuple(atoms[:1]))
    return tuple(axes)


def broadcast(layouts: Iterable[Layout], shape: Sequence[int]) -> Layout | None:
    """The layout of the result, of `shape`, of an elementwise operation; axes are open where `layouts` disagree."""
    axes = []
    fitting = [layout for layout in layouts if len(layout) <= len(shape)]
    if not fitting:
        return None
    for back in range(len(shape), 0, -1):
        size = shape[-back]
        claims = [one[-back] for one in fitting if len(one) >= back]
        if any(size_of(claim) not in (1, size) for claim in claims):
            return None
        sized = [claim for claim in claims if size_of(claim) == size and claim]
        kinds = {kind_of(claim) for claim in sized} - {OPEN}
        if len(kinds) == 1:
            axes.append(next(claim for claim in sized if kind_of(claim) in kinds))
        else:
            axes.append(() if size == 1 and not sized else axis(OPEN, size))
    return tuple(axes)


@dataclass(frozen=True)
class Reading:
    """How to read the output of a layer."""

    ndim: int
    """Number of axes."""
    split: tuple[int, ...] | None
    """Shape that separates inputs (-1) and places if they share an axis; `batch` and `units` then refer to it."""
    batch: int
    """The axis of the inputs."""
    units: int
    """The axis of the units."""

    def arranged(self, output: torch.Tensor) -> torch.Tensor:
        """`output` as (n, units, places ...), without a copy."""
        whole = output if self.split is None else output.reshape(self.split)
        return whole.movedim((self.batch, self.units), (0, 1))


@dataclass(frozen=True)
class Convention:
    """The axes of a module of torch.nn; None where its class does not determine them."""

    units: int | None = None
    batch: int | None = None
    ndim: int | None = None
    """Number of axes of the output for which this holds; None: any."""


def reading(
    layer: str, shape: Sequence[int], n: int, layout: Layout | None, kind: Convention, named_axis: int | None
) -> Reading:
    """How to read the output of `layer`, of `shape` for `n` inputs.

    layout: that of the tensor, if known; kind: the convention of the module's class; named_axis: the axis in the
    layer's name. Raises: `InputError` with the possible readings if the axis of the units is not known; `ModelError` if
    the output has no axis of inputs.
    """
    ndim = len(shape)
    if ndim < 2:
        raise ModelError(f"Layer {layer!r}: an output has shape (inputs, units, ...), not {tuple(shape)}.")
    if kind.ndim is not None and ndim != kind.ndim:
        raise ModelError(
            f"Layer {layer!r} gives shape {tuple(shape)}, which has no axis of inputs: it took the {n} inputs for one. "
            f"Feed it {kind.ndim} axes, inputs first."
        )
    batch, split = _batch(layer, shape, n, layout, kind)
    free = [i for i in range(ndim) if i != batch]
    at = None
    if named_axis is not None:
        at = named_axis % ndim if -ndim <= named_axis < ndim else None
        if at is None or at == batch:
            raise InputError(
                f"Layer {layer!r}: shape {tuple(shape)} has no axis {named_axis} of units. "
                f"Its axes but that of the inputs "
                f"are {', '.join(map(str, free))}."
            )
    elif kind.units is not None:
        at = kind.units % ndim
    if split is None:
        if at is None:
            at = _only(layer, shape, free, _candidates(layout, free))
        return Reading(ndim, None, batch, at)
    assert layout is not None
    parts = tuple((atom,) for atom in layout[batch])
    apart = layout[:batch] + parts + layout[batch + 1 :]
    inside = batch + next(i for i, (atom,) in enumerate(parts) if atom.kind == BATCH)
    if at is None:
        candidates = _candidates(apart, [i for i in range(len(apart)) if i != inside])
        units = candidates[0] if len(candidates) == 1 else _only(layer, shape, free, free)
        return Reading(ndim, split, inside, units)
    return Reading(ndim, split, inside, at + (len(parts) - 1 if at > batch else 0))


def _batch(
    layer: str, shape: Sequence[int], n: int, layout: Layout | None, kind: Convention
) -> tuple[int, tuple[int, ...] | None]:
    """The axis of the inputs, and the shape that separates inputs and places if they share it."""
    holding = [i for i, one in enumerate(layout or ()) if any(atom.kind == BATCH for atom in one)]
    if layout is not None and len(holding) == 1:
        [at] = holding
        if kind.batch not in (None, at) and shape[kind.batch] > 1:
            raise ModelError(
                f"Layer {layer!r} takes axis {kind.batch} for the inputs, but they lie along axis {at} of its tensor "
                f"{tuple(shape)}, so each input's activations depend on the others of its batch. "
                f"Build it with batch_first={at == 0}, or transpose what it is fed."
            )
        if kind_of(layout[at]) == BATCH:
            return at, None
        sizes = tuple(-1 if atom.kind == BATCH else atom.size for atom in layout[at])
        return at, (*shape[:at], *sizes, *shape[at + 1 :])
    at = kind.batch or 0
    if shape[at] != n:
        raise ModelError(
            f"Layer {layer!r} gave {shape[at]} rows for {n} inputs: axis {at} of its shape {tuple(shape)} is not the "
            "batch. Name a layer with a row for each input."
        )
    return at, None


def _candidates(layout: Layout | None, free: Sequence[int]) -> list[int]:
    """The axes of `free` that may be the units; only one if that is known."""
    if len(free) == 1 or layout is None:
        return list(free)
    kinds = {i: kind_of(layout[i]) for i in free}
    for kind in (UNITS, OPEN):
        if kind in kinds.values():
            candidates = [i for i in free if kinds[i] == kind]
            return candidates if kind == UNITS or len(candidates) > 1 else list(free)
    return list(free)


def _only(layer: str, shape: Sequence[int], free: Sequence[int], candidates: Sequence[int]) -> int:
    """The only one of the `candidates`. Raises: `InputError` with the possible readings if there are several."""
    if len(candidates) == 1:
        return candidates[0]
    readings = " or ".join(
        f"{f'{layer}@{i}'!r} ({shape[i]} units at {' x '.join(str(shape[j]) for j in free if j != i)} places)"
        for i in sorted({candidates[0], candidates[-1]})
    )
    raise InputError(
        f"Layer {layer!r} gives shape {tuple(shape)}, and nothing tells which axis is its units. Write {readings}."
    )
