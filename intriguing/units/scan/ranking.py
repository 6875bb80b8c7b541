"""Candidates for a scan's top K: their exact values and their order."""

from dataclasses import dataclass

import numpy as np
import torch

from intriguing.basics.text.brief import brief
from intriguing.randomness import hash_ids


@dataclass(frozen=True)
class Candidates:
    """Flat arrays of one length. `line` is the direction, or count + direction for the smallest projections."""

    __repr__ = brief

    line: np.ndarray
    """The line of the state, int64."""
    value: np.ndarray
    """The projection times its sign, float32: larger is better."""
    hash: np.ndarray
    """The keyed hash of id and position, uint64: smaller is better."""
    id: np.ndarray
    """The input's id, int64."""
    position: np.ndarray
    """The place in the layer's map, int32."""

    def take(self, index: np.ndarray) -> "Candidates":
        """The entries at `index` (numbers or a mask)."""
        return Candidates(self.line[index], self.value[index], self.hash[index], self.id[index], self.position[index])

    def joined(self, other: "Candidates") -> "Candidates":
        """These entries, followed by those of `other`."""
        return Candidates(
            np.concatenate([self.line, other.line]),
            np.concatenate([self.value, other.value]),
            np.concatenate([self.hash, other.hash]),
            np.concatenate([self.id, other.id]),
            np.concatenate([self.position, other.position]),
        )


def tie_hash(seed: int, ids: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
    """The hash that orders equal values: uint64, of the inputs' `ids` and `positions` (0 where there are none)."""
    places = np.uint64(0) if positions is None else np.asarray(positions).astype(np.uint64)
    with np.errstate(over="ignore"):
        return hash_ids(seed, "top-k positions", hash_ids(seed, "top-k ties", ids) + places)


def best_first(rows: Candidates) -> Candidates:
    """The `rows` by line, then best first (value descending, hash, id, position), repeats dropped."""
    bits = (rows.value + np.float32(0)).view(np.uint32)
    falling = np.where(bits >> np.uint32(31), bits, bits ^ np.uint32(0x7FFFFFFF))
    first = (rows.line.astype(np.uint64) << np.uint64(32)) | falling
    order = np.argsort(first)
    if (first[order[1:]] == first[order[:-1]]).any():
        order = np.lexsort((rows.position, rows.id, rows.hash, first))
    best = rows.take(order)
    repeated = (
        (best.line[1:] == best.line[:-1])
        & (best.id[1:] == best.id[:-1])
        & (best.position[1:] == best.position[:-1])
        & (best.value[1:] == best.value[:-1])
    )
    return best.take(np.concatenate([[0], 1 + np.flatnonzero(~repeated)])) if repeated.any() else best


def canonical_projection(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The projection of each row of `rows` (n, dim) on the same row of `columns` (n, dim), as float32 (n,).

    Products of float32 numbers are exact in float64. They are added in a fixed tree, with elementwise additions only,
    and the sum is rounded once. So the bits depend only on the two rows, not on the batch, the number of threads, the
    kernel of a GEMM or the device.
    """
    dim = rows.shape[1]
    terms = rows.double() * columns.double()
    width = 1 << max(dim - 1, 0).bit_length()
    while width > 1:
        width //= 2
        if terms.shape[1] > width:
            head, tail = terms[:, :width], terms[:, width:]
            terms = torch.cat([head[:, : tail.shape[1]] + tail, head[:, tail.shape[1] :]], dim=1)
    return terms[:, 0].float() + 0.0
