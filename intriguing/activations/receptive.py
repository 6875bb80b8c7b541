"""Receptive fields: the part of the input that a position of a layer's map depends on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from intriguing.activations.capture import Capture
from intriguing.activations.layers import resolve_layers
from intriguing.basics.brief import brief
from intriguing.basics.torch_modes import device_of
from intriguing.errors import ModelError


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


def receptive_field(model: nn.Module, layer: str, input_shape: Sequence[int], *, probes: int = 16) -> ReceptiveField:
    """The receptive field of a `layer` with a map, for one input of `input_shape` (channels, height, width).

    It is found by setting pixels to NaN: all activations that depend on the pixel become NaN, through any layer and for
    any weights. Convolutions run without the libraries whose tiling spreads NaN further. probes: inputs per call of the
    model.
    """
    channels, height, width = input_shape
    layers = resolve_layers(model, layer)
    device = device_of(model)
    seen_rows, seen_columns = [], []
    with (
        Capture(model, layers, "positions") as capture,
        torch.backends.nnpack.flags(enabled=False),
        torch.backends.cudnn.flags(enabled=False),
    ):
        steps = np.arange(max(height, width))
        for start in range(0, len(steps), probes):
            part = steps[start : start + probes]
            batch = torch.zeros((len(part), channels, height, width), device=device)
            at = torch.arange(len(part))
            batch[at, :, torch.from_numpy(part % height), torch.from_numpy(part % width)] = torch.nan
            captured = capture(batch)[layers[0].name]
            if len(captured.map_shape) != 2:
                raise ModelError(f"Layer {layer!r} has no map of rows and columns, but the shape {captured.map_shape}.")
            hit = captured.vectors.isnan().any(dim=2).view(len(part), *captured.map_shape)
            seen_rows.append(hit.any(dim=2).cpu().numpy())
            seen_columns.append(hit.any(dim=1).cpu().numpy())
    rows, columns = np.concatenate(seen_rows)[:height], np.concatenate(seen_columns)[:width]
    return ReceptiveField(_interval(rows), _interval(columns))


def _interval(visible: np.ndarray) -> np.ndarray:
    """First and one past the last pixel (places, 2) of the mask `visible` (pixels, places); all if it is empty."""
    first = visible.argmax(axis=0)
    last = len(visible) - visible[::-1].argmax(axis=0)
    reached = visible.any(axis=0)
    return np.stack([np.where(reached, first, 0), np.where(reached, last, len(visible))], axis=1)
