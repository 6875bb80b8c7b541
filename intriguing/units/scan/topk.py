"""The K inputs with the largest (and smallest) projection on each of many directions, exactly, in one pass.

A scan keeps K pairs (value, id) per direction and sign, for any number of rows. They are ordered by value, then by a
keyed hash of the id (`intriguing.randomness.hash_ids`). So the result has the same bits for every division into shards,
order of shards, number of threads and machine. Two choices make this fast:

- A value is the canonical projection (`units.ranking.canonical_projection`), computed for candidates only. The GEMM
  over all rows is only a filter, with a proven bound on its rounding error; it may run in bfloat16.
- The threshold of the filter is the K-th value so far, so that after the first rows few rows pass.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import load, save

from intriguing.basics.inputs import as_rows
from intriguing.basics.text.brief import brief
from intriguing.basics.text.markup import Cell, table
from intriguing.basics.torch_modes import without_autocast
from intriguing.errors import CorruptError, InputError
from intriguing.units.directions import Directions
from intriguing.units.scan.prefilter import Prefilter
from intriguing.units.scan.ranking import Candidates, best_first, tie_hash

_ARRAYS = ("values", "hashes", "ids", "positions", "filled", "overflow")
_LISTED = 1000
_SHOWN = 8
"""Directions and ranks that a notebook shows."""


@dataclass(frozen=True)
class Top:
    """The result of a scan for one sign, best first.

    `values`, `ids` and `positions` have shape (directions, K), or (directions, N) if there were only N < K rows;
    `ties` (directions,) counts the rows with the value of the last rank, including those that are not listed.
    """

    __repr__ = brief

    values: np.ndarray
    """The projections, float32."""
    ids: np.ndarray
    """The inputs' ids, int64."""
    positions: np.ndarray
    """The positions in the layer's map, int32 (0 for one vector per input)."""
    ties: np.ndarray
    """Number of rows with the value of the last rank, int64."""
    arbitrary: np.ndarray
    """Mask (directions,): whether the hash decided which of the tied rows are listed."""
    rows: int
    """Number of rows, without the skipped ones."""

    def _repr_html_(self) -> str:
        many, k = self.ids.shape
        rows = [
            [f"direction {line}", *(Cell(f"{self.ids[line, rank]}", f"{self.values[line, rank]:.4g}") for rank in kept)]
            for line in range(min(many, _SHOWN))
            for kept in [range(min(int((self.ids[line] >= 0).sum()), _SHOWN))]
        ]
        header = ["", *(f"{rank}." for rank in range(1, min(k, _SHOWN) + 1))]
        cut = f", the first {_SHOWN} are shown" if max(many, k) > _SHOWN else ""
        caption = f"Top {k} of {self.rows:,} rows in {many:,} directions{cut}"
        return table(caption, header, rows, ["Ids of inputs, best first, and below them their projections."])


class TopK:
    """An exact, streaming, mergeable scan for the top `k` of each direction.

        import numpy as np, intriguing as ig
        scan = ig.TopK(ig.Directions.natural(64), k=16)
        scan.update(np.random.default_rng(0).random((1_000, 64), dtype=np.float32), ids=range(1_000))
        scan.result().ids  # (64, 16), best first

    `update` it with blocks of activations, `merge` it with other scans of the same directions, read `result`.
    """

    def __init__(
        self,
        directions: Directions,
        k: int = 16,
        *,
        both: bool = False,
        seed: int = 0,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
    ) -> None:
        """A scan without any row.

        both: keep the smallest projections, too. seed: key of the hash that orders ties. precision: that of the
        filter's GEMM (auto: bfloat16 on a GPU, float32 elsewhere); it changes the speed, never the result.
        """
        if not isinstance(directions, Directions):
            raise InputError(f"directions is {directions!r}; build it with a method of ig.Directions, such as natural.")
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"A scan needs k, a whole number of at least 1, not {k!r}.")
        if precision not in ("auto", "float32", "bfloat16"):
            raise InputError(f"precision is 'auto', 'float32' or 'bfloat16', not {precision!r}.")
        self.directions: Directions = directions
        self.k: int = k
        self.both: bool = both
        self.seed: int = seed
        self._rows, self._skipped = 0, 0
        self._skipped_ids: list[int] = []
        lines = directions.count * (2 if both else 1)
        self._values = np.full((lines, k), -np.inf, dtype=np.float32)
        self._hashes = np.zeros((lines, k), dtype=np.uint64)
        self._ids = np.full((lines, k), -1, dtype=np.int64)
        self._positions = np.zeros((lines, k), dtype=np.int32)
        self._filled = np.zeros(lines, dtype=np.int64)
        self._overflow = np.zeros(lines, dtype=np.int64)
        self._prefilter = Prefilter(directions, k, precision)
        self._room: tuple[torch.Tensor, np.ndarray, np.ndarray] | None = None
        self._waiting = 0

    def update(
        self,
        block: np.ndarray | torch.Tensor,
        ids: Sequence[int] | np.ndarray | torch.Tensor,
        positions: Sequence[int] | np.ndarray | torch.Tensor | None = None,
    ) -> None:
        """Add the rows of `block`, (n, dim), float32 or narrower, of the inputs `ids`, (n,) int64.

        `positions` (n,) tells rows of one input apart. A row that holds a number that is not finite is skipped,
        counted in `skipped` and listed in `skipped_ids` (the first 1,000).

        Raises: `InputError` for shapes that do not fit, complex numbers, and ids or positions that are not whole.
        """
        rows = as_rows(block, "block")
        if rows.is_complex():
            raise InputError(f"Activations are real numbers, not {rows.dtype}: give their modulus, or their parts.")
        names = _whole(ids, np.int64, "The ids of inputs are whole numbers of 64 bits, not {}: number the inputs.")
        places = np.zeros(len(names), dtype=np.int32)
        if positions is not None:
            places = _whole(positions, np.int32, "Positions are whole numbers of 32 bits, not {}: number the places.")
        if rows.ndim != 2 or rows.shape[1] != self.directions.dim:
            raise InputError(
                f"A block for directions of {self.directions.dim} units has shape (n, {self.directions.dim}), "
                f"not {tuple(rows.shape)}."
            )
        if names.shape != (len(rows),) or places.shape != names.shape:
            raise InputError(f"{len(rows)} rows need as many ids and positions, not {names.shape} and {places.shape}.")
        chunk = self._prefilter.prepare(rows.device)
        start = 0
        while start < len(rows):
            part = slice(start, start + min(chunk - self._waiting, len(rows) - start))
            if self._waiting or part.stop - start < chunk:
                # Small blocks wait for each other (copied: the caller may use their memory again).
                self._wait(rows[part], names[part], places[part], chunk)
            else:
                self._scan(rows[part].float(), names[part], places[part])
            start = part.stop

    def _wait(self, rows: torch.Tensor, names: np.ndarray, places: np.ndarray, chunk: int) -> None:
        if self._room is None or self._room[0].device != rows.device:
            self._settle()
            room = torch.empty((chunk, self.directions.dim), dtype=torch.float32, device=rows.device)
            self._room = (room, np.empty(chunk, dtype=np.int64), np.empty(chunk, dtype=np.int32))
        part = slice(self._waiting, self._waiting + len(rows))
        self._room[0][part] = rows
        self._room[1][part], self._room[2][part] = names, places
        self._waiting = part.stop
        if self._waiting == chunk:
            self._settle()

    def _settle(self) -> None:
        """Scan the rows that are waiting."""
        n, self._waiting = self._waiting, 0
        if n and self._room is not None:
            rows, names, places = self._room
            self._scan(rows[:n], names[:n].copy(), places[:n].copy())

    def merge(self, other: "TopK") -> "TopK":
        """Add the rows of `other`; returns self. The operation is associative and commutative.

        A row that is in both scans is kept once (but counted twice in `ties`). Raises: `InputError` if directions, k,
        signs or seed differ.
        """
        if self._settings() != other._settings():
            raise InputError(f"Scans of different settings cannot be merged: {self._settings()}, {other._settings()}.")
        self._settle()
        other._settle()
        line, rank = np.nonzero(np.arange(self.k) < other._filled[:, None])
        self._absorb(other._held(line, rank), other._kth(), other._overflow)
        self._rows += other._rows
        self._skipped += other._skipped
        self._skipped_ids = sorted({*self._skipped_ids, *other._skipped_ids})[:_LISTED]
        return self

    def __repr__(self) -> str:
        signs = ", both=True" if self.both else ""
        return f"TopK({self.directions!r}, k={self.k}{signs}: {self.rows:,} rows)"

    def _repr_html_(self) -> str:
        return self.result()._repr_html_()

    def result(self, sign: int = 1) -> Top:
        """The largest projections (`sign` 1), or with `both` the smallest (`sign` -1), best first.

        Raises: `InputError` for a sign that the scan does not hold.
        """
        if sign not in (1, -1) or (sign == -1 and not self.both):
            raise InputError(
                f"This scan holds sign {'1 and -1' if self.both else '1 (build it with both=True for -1)'}."
            )
        self._settle()
        m = self.directions.count
        part = slice(0, m) if sign == 1 else slice(m, 2 * m)
        filled = self._filled[part]
        width = int(filled.max(initial=0))
        values = self._values[part, :width].copy()
        missing = np.arange(width) >= filled[:, None]
        last = np.take_along_axis(values, np.maximum(filled - 1, 0)[:, None], axis=1) if width else values
        ties = ((values == last) & ~missing).sum(axis=1) + self._overflow[part]
        values = np.where(missing, np.float32("nan"), values if sign == 1 else 0.0 - values).astype(np.float32)
        return Top(
            values,
            self._ids[part, :width].copy(),
            self._positions[part, :width].copy(),
            ties,
            self._overflow[part] > 0,
            self.rows,
        )

    @property
    def rows(self) -> int:
        """Number of rows, without the skipped ones."""
        self._settle()
        return self._rows

    @property
    def skipped(self) -> int:
        """Number of rows that were not finite."""
        self._settle()
        return self._skipped

    @property
    def skipped_ids(self) -> list[int]:
        """The ids of the rows that were not finite, the first 1,000 by number."""
        self._settle()
        return list(self._skipped_ids)

    def nbytes(self) -> int:
        """The size of the state in bytes."""
        return sum(getattr(self, f"_{name}").nbytes for name in _ARRAYS)

    def to_bytes(self) -> bytes:
        """The state as safetensors bytes: portable, without pickle, without the directions' matrix."""
        self._settle()
        header = {
            **self._settings(),
            "rows": self.rows,
            "skipped": self.skipped,
            "skipped_ids": self.skipped_ids,
            "precision": self._prefilter.precision,
        }
        return save({n: getattr(self, f"_{n}") for n in _ARRAYS}, {"topk": json.dumps(header)})

    @classmethod
    def from_bytes(cls, data: bytes, directions: Directions | None = None) -> "TopK":
        """The scan that `to_bytes` wrote; raises `CorruptError` for anything else.

        Without `directions` they are drawn again from their description. That is not enough to update a scan of
        covariance, pca or matrix directions: give these (they are checked against the description).
        """
        try:
            size = int.from_bytes(data[:8], "little")
            header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["topk"])
            tensors = load(data)
            described = Directions.from_description(header["directions"])
            scan = cls(
                directions or described,
                header["k"],
                both=header["both"],
                seed=header["seed"],
                precision=header["precision"],
            )
            for name in _ARRAYS:
                if tensors[name].shape != getattr(scan, f"_{name}").shape:
                    raise ValueError(f"{name} has shape {tensors[name].shape}")
                setattr(scan, f"_{name}", tensors[name].copy())
            scan._rows, scan._skipped, scan._skipped_ids = header["rows"], header["skipped"], header["skipped_ids"]
        except Exception as error:
            raise CorruptError(f"These {len(data)} bytes are no stored scan ({error}). Scan again.") from error
        if scan.directions != described:
            raise InputError(f"The stored scan is of {described}, not of {scan.directions}.")
        return scan

    def _settings(self) -> dict[str, Any]:
        return {"directions": self.directions.describe(), "k": self.k, "both": self.both, "seed": self.seed}

    @without_autocast()
    def _scan(self, rows: torch.Tensor, ids: np.ndarray, positions: np.ndarray) -> None:
        finite = torch.isfinite(rows.sum(dim=1))
        if not bool(finite.all()):
            # A sum may overflow although no entry does.
            finite = torch.isfinite(rows).all(dim=1)
            keep = finite.cpu().numpy()
            self._skipped += int((~keep).sum())
            self._skipped_ids = sorted({*self._skipped_ids, *map(int, ids[~keep])})[:_LISTED]
            rows, ids, positions = rows[finite], ids[keep], positions[keep]
        if not len(rows):
            return
        hashes = tie_hash(self.seed, ids, positions)
        kth = self._kth()
        worst = np.where(self._filled == self.k, self._hashes[:, -1], np.uint64(0))
        line, row, value, beaten = self._prefilter(rows, hashes, kth, worst, self.both)
        self._rows += len(rows)
        self._absorb(Candidates(line, value, hashes[row], ids[row], positions[row]), kth, beaten)

    def _kth(self) -> np.ndarray:
        return np.where(self._filled == self.k, self._values[:, -1], np.float32("-inf")).astype(np.float32)

    def _absorb(self, new: Candidates, kth: np.ndarray, overflow: np.ndarray) -> None:
        """Add `new` candidates, and `overflow` (lines,), the number of other rows equal to `kth` (lines,)."""
        before = self._kth()
        lines = np.unique(new.line)
        quiet = np.ones(len(before), dtype=bool)
        quiet[lines] = False
        self._overflow += np.where(quiet & (kth == before), overflow, 0)
        if not len(lines):
            return
        at, rank = np.nonzero(np.arange(self.k) < self._filled[lines, None])
        entries = best_first(new.joined(self._held(lines[at], rank)))
        line = entries.line
        starts = np.searchsorted(line, lines)
        sizes = np.diff(np.append(starts, len(line)))
        rank = np.arange(len(line)) - np.repeat(starts, sizes)
        keep = rank < self.k
        best, place = entries.take(keep), (line[keep], rank[keep])
        self._values[place], self._hashes[place] = best.value, best.hash
        self._ids[place], self._positions[place] = best.id, best.position
        self._filled[lines] = np.minimum(sizes, self.k)
        after = self._kth()
        cut = np.bincount(line[~keep & (entries.value == after[line])], minlength=len(before))
        carried = np.where(after == before, self._overflow, 0) + np.where(after == kth, overflow, 0)
        self._overflow[lines] = (cut + carried)[lines]

    def _held(self, line: np.ndarray, rank: np.ndarray) -> Candidates:
        at = (line, rank)
        return Candidates(line, self._values[at], self._hashes[at], self._ids[at], self._positions[at])


def _whole(numbers: Sequence[int] | np.ndarray | torch.Tensor, kind: type[np.integer], message: str) -> np.ndarray:
    """Whole numbers (n,) as an array of this type; raises `InputError` for others and for those that it cannot hold."""
    values = _on_host(numbers)
    if values.size and values.dtype.kind not in "iu":
        raise InputError(message.format(values.dtype))
    if values.size and not np.iinfo(kind).min <= int(values.min()) <= int(values.max()) <= np.iinfo(kind).max:
        raise InputError(message.format(f"{values.min()} to {values.max()}"))
    return values.astype(kind)


def _on_host(numbers: Sequence[int] | np.ndarray | torch.Tensor) -> np.ndarray:
    return numbers.cpu().numpy() if isinstance(numbers, torch.Tensor) else np.asarray(numbers)
