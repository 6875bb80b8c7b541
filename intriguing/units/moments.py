"""Moments of activations in one pass over the data; they can be merged, and memory does not grow with the rows.

Source: Pébay 2008, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
moments" (Sandia report SAND2008-6212), equations 2.1, 3.1 and 3.2 for the merge.
"""

import json
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
import torch
from safetensors.numpy import load, save

from intriguing.basics.inputs import as_rows
from intriguing.errors import CorruptError, InputError

_PART, _PARTS = 256, 64
_HEAD = 16
_ARRAYS = ("mean", "m2", "m3", "m4", "low", "high")


class Moments:
    """Count, mean, second to fourth central moments, smallest and largest value of each of `dim` units.

        import numpy as np, intriguing as ig
        moments = ig.Moments(64, with_covariance=True)
        for block in np.random.default_rng(0).random((10, 256, 64), dtype=np.float32):
            moments.update(block)
        moments.mean, moments.kurtosis, moments.dead, moments.covariance()

    with_covariance: also the co-moments (dim, dim). Rows are summed in blocks of 256, in their own precision and about
    their mean; blocks and shards are added in float64. All results are rounded to the digits that are reliable, so
    shards of whole blocks give the same numbers in every size and order (except for about one number in a million,
    which lies between two rounded values). Rows that are not finite are left out and counted in `skipped`.
    """

    def __init__(self, dim: int, with_covariance: bool = False) -> None:
        """Moments of `dim` units without any row."""
        self.dim: int = dim
        self.with_covariance: bool = with_covariance
        self.skipped: int = 0
        """Number of rows that were not finite."""
        self._central = _Central.empty(dim, with_covariance)
        self._parts: _Parts | None = None

    def __repr__(self) -> str:
        covariance = ", with_covariance=True" if self.with_covariance else ""
        return f"Moments({self.dim}{covariance}: {self.count:,} rows)"

    def update(self, block: np.ndarray | torch.Tensor) -> None:
        """Add the rows of `block`, (n, dim). Raises: `InputError` for another shape, or complex numbers."""
        rows = as_rows(block, "block")
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise InputError(f"A block of {self.dim} units has shape (n, {self.dim}), not {tuple(rows.shape)}.")
        if rows.is_complex():
            raise InputError(f"Activations are real numbers, not {rows.dtype}: give their modulus, or their parts.")
        if not rows.is_floating_point() or rows.dtype.itemsize < 4:
            rows = rows.float()
        for start in range(0, len(rows), _PART):
            self._add(rows[start : start + _PART])

    def merge(self, other: "Moments") -> "Moments":
        """Add the rows of `other`; returns self. Raises: `InputError` if the numbers of units differ."""
        if (other.dim, other.with_covariance) != (self.dim, self.with_covariance):
            raise InputError(
                f"Moments of {other.dim} units (covariance: {other.with_covariance}) cannot be added to moments of "
                f"{self.dim} units (covariance: {self.with_covariance})."
            )
        self.skipped += other.skipped
        self._settled().combine(other._settled())
        return self

    @property
    def count(self) -> int:
        """Number of rows, without the skipped ones."""
        return self._settled().count

    @property
    def mean(self) -> np.ndarray:
        """Each unit's mean (dim,)."""
        return _shown(self._settled().mean)

    @property
    def variance(self) -> np.ndarray:
        """Each unit's variance (dim,), divided by the count."""
        return _shown(self._settled().m2 / max(self.count, 1))

    @property
    def skewness(self) -> np.ndarray:
        """Each unit's E[(h - mu)^3] / Var^1.5 (dim,); NaN for a unit that never varies."""
        settled = self._settled()
        with np.errstate(divide="ignore", invalid="ignore"):
            return _shown(np.where(self.dead, np.nan, np.sqrt(settled.count) * settled.m3 / settled.m2**1.5))

    @property
    def kurtosis(self) -> np.ndarray:
        """Each unit's E[(h - mu)^4] / Var^2 (dim,), 3 for a Gaussian; NaN for a unit that never varies."""
        settled = self._settled()
        with np.errstate(divide="ignore", invalid="ignore"):
            return _shown(np.where(self.dead, np.nan, settled.count * settled.m4 / settled.m2**2))

    @property
    def low(self) -> np.ndarray:
        """Each unit's smallest value (dim,); inf before the first row."""
        return self._settled().low

    @property
    def high(self) -> np.ndarray:
        """Each unit's largest value (dim,); -inf before the first row."""
        return self._settled().high

    @property
    def dead(self) -> np.ndarray:
        """Mask (dim,) of units that had only one value."""
        return ~(self.high > self.low)

    def covariance(self) -> np.ndarray:
        """The (dim, dim) covariance, divided by the count, to six digits. Raises: `InputError` if there is none."""
        settled = self._settled()
        if settled.comoment is None:
            raise InputError("These moments hold no covariance: build them with with_covariance=True.")
        full = settled.comoment / max(settled.count, 1)
        full = (full + full.T) / 2
        # Round to a power of two well below the units' scale: this removes differences between orders of addition.
        _, exponent = np.frexp(np.diagonal(full))
        grid = np.ldexp(1.0, (exponent[:, None] + exponent) // 2 - 20)
        return np.round(full / grid) * grid

    def to_bytes(self) -> bytes:
        """The state as safetensors bytes, for a store or another machine."""
        settled = self._settled()
        tensors = {name: getattr(settled, name) for name in _ARRAYS}
        if settled.comoment is not None:
            tensors["comoment"] = np.ascontiguousarray(settled.comoment)
        counts = {"dim": self.dim, "count": settled.count, "skipped": self.skipped}
        return save(tensors, {"moments": json.dumps(counts | {"with_covariance": self.with_covariance})})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Moments":
        """The moments that `to_bytes` wrote; raises `CorruptError` for anything else."""
        try:
            size = int.from_bytes(data[:8], "little")
            header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["moments"])
            tensors = load(data)
            moments = cls(header["dim"], header["with_covariance"])
            moments.skipped = header["skipped"]
            arrays = [tensors[name].copy() for name in _ARRAYS]
            moments._central = _Central(header["count"], *arrays, comoment=tensors.get("comoment"))
        except Exception as error:
            raise CorruptError(
                f"These {len(data)} bytes are no stored moments ({error}). Compute them again."
            ) from error
        return moments

    def _add(self, rows: torch.Tensor) -> None:
        if self._parts is None or not self._parts.takes(rows):
            self._settled()
            self._parts = _Parts(rows, self.with_covariance)
        if len(self._parts.rows) == _PARTS:
            self._settled()
        if self._parts.add(rows):
            return
        finite = torch.isfinite(rows).all(dim=1)
        self.skipped += int((~finite).sum())
        if bool(finite.any()):
            # What is finite may still be too large, or too small, for its powers in float32.
            wide = _Parts(rows[finite].double(), self.with_covariance, 1)
            wide.add(rows[finite].double(), always=True)
            self._central.combine(wide.central())

    def _settled(self) -> "_Central":
        if self._parts is not None and self._parts.rows:
            self._central.combine(self._parts.central())
            self._parts.rows = []
        return self._central


@dataclass
class _Central:
    """Sums of powers about the mean."""

    count: int
    mean: np.ndarray
    m2: np.ndarray
    m3: np.ndarray
    m4: np.ndarray
    low: np.ndarray
    high: np.ndarray
    comoment: np.ndarray | None = field(default=None)

    @classmethod
    def empty(cls, dim: int, with_covariance: bool) -> "_Central":
        zeros = [np.zeros(dim) for _ in range(4)]
        comoment = np.zeros((dim, dim)) if with_covariance else None
        return cls(0, *zeros, low=np.full(dim, np.inf), high=np.full(dim, -np.inf), comoment=comoment)

    def combine(self, other: "_Central") -> None:
        if not other.count:
            return
        n_a, n_b = self.count, other.count
        delta = other.mean - self.mean
        d_n = delta / (n_a + n_b)
        cross = delta * d_n * n_a * n_b
        self.m4 = (
            self.m4
            + other.m4
            + cross * d_n * d_n * (n_a * n_a - n_a * n_b + n_b * n_b)
            + 6 * d_n * d_n * (n_a * n_a * other.m2 + n_b * n_b * self.m2)
            + 4 * d_n * (n_a * other.m3 - n_b * self.m3)
        )
        self.m3 = self.m3 + other.m3 + cross * d_n * (n_a - n_b) + 3 * d_n * (n_a * other.m2 - n_b * self.m2)
        self.m2 = self.m2 + other.m2 + cross
        if self.comoment is not None and other.comoment is not None:
            self.comoment = self.comoment + other.comoment + np.outer(delta, d_n) * (n_a * n_b)
        self.mean = self.mean + d_n * n_b
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        self.count = n_a + n_b


class _Parts:
    """Sums of powers of a few blocks of rows, of each about its own mean, in memory that is used again."""

    def __init__(self, like: torch.Tensor, with_covariance: bool, size: int = _PARTS) -> None:
        dim = like.shape[1]
        self.rows: list[int] = []
        # Below, numbers that the type rounds to too few digits would decide the sum of fourth powers.
        self.least = torch.finfo(like.dtype).tiny / torch.finfo(like.dtype).eps
        # Of each block: origin (the mean of its first rows), sums of the powers 1 to 4 about it, low, high.
        self.figures = like.new_empty((size, 7, dim))
        self.lines = [block.unbind() for block in self.figures.unbind()]
        self.scratch = like.new_empty((2, max(_PART, len(like)), dim)).unbind()
        self.first = self.figures.new_empty((size, dim), dtype=torch.float64)
        self.products = self.first.new_zeros((dim, dim)) if with_covariance else None

    def takes(self, rows: torch.Tensor) -> bool:
        """Whether these rows are of this type and on this device."""
        return self.figures.dtype == rows.dtype and self.figures.device == rows.device

    def add(self, rows: torch.Tensor, always: bool = False) -> bool:
        """Add a block of `rows`; False, and nothing is added unless `always`, where a power is too large or small."""
        i, n = len(self.rows), len(rows)
        origin, first, second, third, fourth, low, high = self.lines[i]
        shifted, squared = (room if n == len(room) else room[:n] for room in self.scratch)
        # Near enough: it is at most sqrt(n / _HEAD) standard deviations of the block from the block's mean.
        torch.mean(rows[:_HEAD], 0, out=origin)
        torch.sub(rows, origin, out=shifted)
        torch.mul(shifted, shifted, out=squared)
        torch.sum(shifted, 0, out=first)
        torch.sum(squared, 0, out=second)
        torch.sum(shifted.mul_(squared), 0, out=third)
        torch.sum(squared.mul_(squared), 0, out=fourth)
        if not always and not isfinite(float(fourth.sum())):
            return False
        torch.amin(rows, 0, out=low)
        torch.amax(rows, 0, out=high)
        if not always and bool(((fourth < self.least) & (high > low)).any()):
            return False
        if self.products is not None:
            wide = rows.double() - origin.double()
            torch.sum(wide, 0, out=self.first[i])
            # Every block by itself, and then added: so the bits of a block do not depend on those before it.
            self.products += wide.T @ wide
        self.rows.append(n)
        return True

    def central(self) -> _Central:
        """The sums about the mean of all blocks, in float64."""
        counts = np.array(self.rows, dtype=np.float64)[:, None]
        n = float(counts.sum())
        figures = self.figures[: len(self.rows)].double().cpu().numpy()
        s1, s2, s3, s4 = (figures[:, p] / counts for p in range(1, 5))
        if self.products is not None:
            s1 = self.first[: len(self.rows)].cpu().numpy() / counts
        means = figures[:, 0] + s1
        square = s1 * s1
        m2 = counts * np.maximum(s2 - square, 0.0)
        m3 = counts * (s3 - s1 * (3 * s2 - 2 * square))
        m4 = counts * (s4 - s1 * (4 * s3 - s1 * (6 * s2 - 3 * square)))
        mean = (counts * means).sum(axis=0) / n
        d = means - mean
        square = counts * d * d
        comoment = None
        if self.products is not None:
            comoment = self.products.cpu().numpy() - (counts * s1).T @ s1 + (counts * d).T @ d
            self.products.zero_()
        return _Central(
            int(n),
            mean,
            (m2 + square).sum(axis=0),
            (m3 + d * (3 * m2 + square)).sum(axis=0),
            (m4 + d * (4 * m3 + d * (6 * m2 + square))).sum(axis=0),
            figures[:, 5].min(axis=0),
            figures[:, 6].max(axis=0),
            comoment,
        )


def _shown(values: np.ndarray) -> np.ndarray:
    """`values` with the digits that do not depend on the order of additions: the 24 bits of float32, of any size."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(mantissa, 24)), exponent - 24)
