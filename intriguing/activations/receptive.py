"""Receptive fields: the part of the input that a position of a layer's map depends on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from intriguing.activations.capture import Capture
from intriguing.activations.layers import resolve_layers
from intriguing.basics.text.brief import brief
from intriguing.basics.torch_modes import device_of
from intriguing.errors import ModelError
from intriguing.models.feeding.batches import input_type


@dataclass(frozen=True)
class ReceptiveField:
    """For each row and column of a layer's map, the rows and columns of the input that it depends on."""

    __repr__ = brief

    rows: np.ndarray
    """(map rows, 2): first input row, and one past the last."""
    columns: np.ndarray
    """(map columns, 2), the same for columns."""

    def crop(self, position: int) -> tuple[int, int, int, int]:
        """The box (top, bottom, left, right) of the input for a `position` (row major) of the map."""
        row, column = divmod(int(position), len(self.columns))
        top, bottom = self.rows[row]
        left, right = self.columns[column]
        return int(top), int(bottom), int(left), int(right)


_PROBES_PER_PLACE = 10
"""About how many probes a bisection takes per row of a map, both ends and both axes together."""


def receptive_field(model: nn.Module, layer: str, input_shape: Sequence[int], *, probes: int = 16) -> ReceptiveField:
    """The receptive field of a `layer` with a map, for one input of `input_shape` (channels, height, width).

    It is found by setting pixels to NaN: all activations that depend on the pixel become NaN, through any layer and for
    any weights. Convolutions run without the libraries whose tiling spreads NaN further. probes: inputs per call of the
    model.

    A large map is probed with one whole row or column at a time: a single pixel may lie in the gaps that a stride
    leaves in the other direction. Of a small one each end is found by bisection: a place's first row lies below i if
    NaN in all rows below i reaches it.
    """
    channels, height, width = input_shape
    layers = resolve_layers(model, layer)
    like = torch.zeros(1, channels, height, width, device=device_of(model))
    like = like.to(input_type(model, like))
    with (
        Capture(model, layers, "positions", probe=1) as capture,
        torch.backends.nnpack.flags(enabled=False),
        torch.backends.cudnn.flags(enabled=False),
        _without_tiles(like.dtype),
    ):
        prober = _Prober(capture, layers[0].name, like, probes)
        places = max(prober.hits([(slice(0, 1), slice(0, 1))]).shape[1:])
        if _PROBES_PER_PLACE * places < max(height, width):
            return ReceptiveField(*(_bisected(prober, axis) for axis in (0, 1)))
        rows, columns = (
            prober.reached([slice(i, i + 1) for i in range(size)], axis) for axis, size in enumerate((height, width))
        )
        return ReceptiveField(_interval(rows), _interval(columns))


@contextmanager
def _without_tiles(dtype: torch.dtype) -> Iterator[None]:
    """Inside, a CPU's products in half precision are not of whole tiles, as those of oneDNN are."""
    # torch.backends.mkldnn.flags would warn of TF32.
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = before and dtype.itemsize >= 4  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


class _Prober:
    """Finds the places of a layer's map that NaN in a part of the input reaches."""

    def __init__(self, capture: Capture, layer: str, like: torch.Tensor, probes: int) -> None:
        """like: one input (1, channels, height, width), of the device and type of those that are fed."""
        self.shape = tuple(like.shape[1:])
        self._capture, self._layer, self._like, self._probes = capture, layer, like, probes

    def hits(self, parts: Sequence[tuple[slice, slice]]) -> np.ndarray:
        """By part (rows, columns) of the input, which places it reaches: (parts, map rows, map columns).

        Raises: `ModelError` for a layer without a map.
        """
        found = []
        for start in range(0, len(parts), self._probes):
            some = parts[start : start + self._probes]
            batch = self._like.new_zeros((len(some), *self.shape))
            for image, (rows, columns) in zip(batch, some, strict=True):
                image[:, rows, columns] = torch.nan
            captured = self._capture(batch)[self._layer]
            if len(captured.map_shape) != 2:
                raise ModelError(
                    f"Layer {self._layer!r} has no map of rows and columns, but the shape {captured.map_shape}."
                )
            found.append(captured.vectors.isnan().any(dim=2).view(len(some), *captured.map_shape).cpu().numpy())
        return np.concatenate(found)

    def reached(self, bands: Sequence[slice], axis: int) -> np.ndarray:
        """Which rows (axis 0) or columns (1) of the map each band of rows or columns reaches: (bands, places)."""
        whole = slice(None)
        parts = [(band, whole) if axis == 0 else (whole, band) for band in bands]
        return np.logical_or.reduce(self.hits(parts), axis=2 - axis)


def _bisected(prober: _Prober, axis: int) -> np.ndarray:
    """First and one past the last row (axis 0) or column (axis 1) that each row or column of the map depends on."""
    size = prober.shape[1 + axis]
    first = _smallest(lambda ends: prober.reached([slice(0, end) for end in ends], axis), size) - 1
    last = size + 1 - _smallest(lambda ends: prober.reached([slice(size - end, size) for end in ends], axis), size)
    unreached = last <= first
    return np.stack([np.where(unreached, 0, first), np.where(unreached, size, last)], axis=1)


def _smallest(reached: Callable[[Sequence[int]], np.ndarray], size: int) -> np.ndarray:
    """Per place the smallest width, 1 to `size`, of a band that reaches it (`size` where none does).

    reached: of some widths, which places bands of these widths reach (widths, places); wider bands reach more.
    """
    [narrowest] = reached([1])
    low, high = np.where(narrowest, 0, 1), np.where(narrowest, 1, size)
    while (open_places := high - low > 1).any():
        widths = np.unique((low + high)[open_places] // 2)
        for width, hit in zip(widths, reached([int(w) for w in widths]), strict=True):
            inside = (low < width) & (width < high)
            high = np.where(inside & hit, width, high)
            low = np.where(inside & ~hit, width, low)
    return high


def _interval(visible: np.ndarray) -> np.ndarray:
    """First and one past the last pixel (places, 2) of the mask `visible` (pixels, places); all if it is empty."""
    first = visible.argmax(axis=0)
    last = len(visible) - visible[::-1].argmax(axis=0)
    reached = visible.any(axis=0)
    return np.stack([np.where(reached, first, 0), np.where(reached, last, len(visible))], axis=1)
