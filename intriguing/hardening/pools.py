"""The pool of a layer: changes of its outputs, of the last few epochs.

A pool holds changes, not activations, because training moves the layers below. It is a list of what each epoch found,
so a resumed training reads the stored changes of the last epochs, and nothing is stored twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import safetensors.torch
import torch
from torch import Tensor

from intriguing.basics.text.brief import brief

STORED = torch.float16
"""The dtype of stored changes; a change is rounded to it when it is found, so that a stored pool is the same pool."""


@dataclass(frozen=True)
class Entries:
    """Changes that were found together: whose images they are, and what is added to their activations."""

    __repr__ = brief

    positions: Tensor
    """(n,) int64: the images' positions among the training examples."""
    changes: Tensor
    """(n, *shape of the layer), float16."""

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class Pool:
    """The changes of one layer, the oldest epoch first, at most `epochs` of them."""

    __repr__ = brief

    epochs: int
    parts: tuple[tuple[Entries, ...], ...] = ()
    """What each epoch found, in one part or in several."""

    def __len__(self) -> int:
        return sum(map(len, self._entries()))

    def begun(self) -> "Pool":
        """The pool at the beginning of a new epoch, without the changes that are too old."""
        return Pool(self.epochs, (*self.parts, ())[-self.epochs :])

    def with_(self, entries: Entries) -> "Pool":
        """The pool with `entries` found in the present epoch."""
        return Pool(self.epochs, (*self.parts[:-1], (*self.parts[-1], entries)))

    def oldest(self) -> Entries | None:
        """The changes of the oldest epoch that has any."""
        return next((found for part in self.parts if (found := joined(part)) is not None), None)

    def newest(self) -> Entries | None:
        """The changes of the current epoch."""
        return joined(self.parts[-1]) if self.parts else None

    def together(self) -> Entries | None:
        """All changes; None for an empty pool."""
        return joined(self._entries())

    def _entries(self) -> Iterable[Entries]:
        return chain.from_iterable(self.parts)


def joined(parts: Iterable[Entries]) -> Entries | None:
    """The entries of all parts, in their order; None where there are none."""
    kept = [part for part in parts if len(part)]
    if not kept:
        return None
    return Entries(torch.cat([part.positions for part in kept]), torch.cat([part.changes for part in kept]))


def pack(found: Mapping[str, Entries | None]) -> bytes:
    """What an epoch found, by layer, as safetensors: the same bytes for the same entries."""
    tensors = {}
    for layer, entries in found.items():
        if entries is not None:
            tensors[f"{layer}/positions"] = entries.positions.cpu().contiguous()
            tensors[f"{layer}/changes"] = entries.changes.cpu().contiguous()
    return safetensors.torch.save(tensors)


def unpack(stored: Sequence[bytes], layers: Sequence[str], epochs: int, device: torch.device) -> dict[str, Pool]:
    """The pools of these layers from what the last epochs stored, the oldest first."""
    read = [safetensors.torch.load(blob) for blob in stored[-epochs:]]
    pools = {}
    for layer in layers:
        parts = []
        for tensors in read:
            if f"{layer}/positions" in tensors:
                both = (tensors[f"{layer}/{name}"].to(device) for name in ("positions", "changes"))
                parts.append((Entries(*both),))
            else:
                parts.append(())
        pools[layer] = Pool(epochs, tuple(parts))
    return pools
