"""Moments of activations in one pass: mergeable, never N x D in memory.

Pébay 2008, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments"
(Sandia report SAND2008-6212), equations 2.1, 3.1 and 3.2 for the merge.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors.numpy import load, save

from intriguing.errors import CorruptError, InputError

_PART, _PARTS = 256, 64
_ARRAYS = ("mean", "m2", "m3", "m4", "low", "high")


class Moments:
    """Count, mean, second to fourth central moments, smallest and largest value of each of `dim` units.

    With `with_covariance` also the (dim, dim) co-moments. Rows are summed in blocks of 256 in their own precision,
    about a value near their mean; blocks and shards are added in float64. So float32 rows give six digits, in any
    order of the shards. Rows that are not finite are left out and counted in `skipped`.
    """

    def __init__(self, dim: int, with_covariance: bool = False) -> None:
        """Moments of nothing yet, of `dim` units."""
        self.dim, self.with_covariance = dim, with_covariance
        self.skipped = 0
        """How many rows were not finite."""
        self._central = _Central.empty(dim, with_covariance)
        self._running: _Running | None = None

    def update(self, block: np.ndarray | torch.Tensor) -> None:
        """Add the rows of `block`, (n, dim)."""
        rows = torch.as_tensor(block)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise InputError(f"A block of {self.dim} units has shape (n, {self.dim}), not {tuple(rows.shape)}.")
        if not rows.is_floating_point() or rows.dtype.itemsize < 4:
            rows = rows.float()
        for start in range(0, len(rows), _PART):
            self._add(rows[start : start + _PART])

    def merge(self, other: "Moments") -> "Moments":
        """Add what `other` has seen; returns self. Raises `InputError` when they are of different spaces."""
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
        """How many rows were seen, without those that were skipped."""
        return self._settled().count

    @property
    def mean(self) -> np.ndarray:
        """Each unit's mean (dim,)."""
        return self._settled().mean

    @property
    def variance(self) -> np.ndarray:
        """Each unit's variance (dim,), divided by the count."""
        return self._settled().m2 / max(self.count, 1)

    @property
    def skewness(self) -> np.ndarray:
        """Each unit's E[(h - mu)^3] / Var^1.5 (dim,); NaN for a unit that never varies."""
        seen = self._settled()
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.dead, np.nan, np.sqrt(seen.count) * seen.m3 / seen.m2**1.5)

    @property
    def kurtosis(self) -> np.ndarray:
        """Each unit's E[(h - mu)^4] / Var^2 (dim,), 3 for a Gaussian; NaN for a unit that never varies (U5)."""
        seen = self._settled()
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.dead, np.nan, seen.count * seen.m4 / seen.m2**2)

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
        """Which units (dim,) have had one value only."""
        return ~(self.high > self.low)

    def covariance(self) -> np.ndarray:
        """The (dim, dim) covariance, divided by the count; raises `InputError` unless it was asked for."""
        seen = self._settled()
        if seen.comoment is None:
            raise InputError("These moments hold no covariance: build them with with_covariance=True.")
        return seen.comoment / max(seen.count, 1)

    def to_bytes(self) -> bytes:
        """The state as safetensors bytes, for a store or another machine."""
        seen = self._settled()
        tensors = {name: getattr(seen, name) for name in _ARRAYS}
        if seen.comoment is not None:
            tensors["comoment"] = np.ascontiguousarray(seen.comoment)
        counts = {"dim": self.dim, "count": seen.count, "skipped": self.skipped}
        return save(tensors, {"moments": json.dumps(counts | {"with_covariance": self.with_covariance})})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Moments":
        """The moments that `to_bytes` wrote; raises `CorruptError` for anything else."""
        try:
            size = int.from_bytes(data[:8], "little")
            header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["moments"])
            tensors = load(data)
            made = cls(header["dim"], header["with_covariance"])
            made.skipped = header["skipped"]
            arrays = [tensors[name].copy() for name in _ARRAYS]
            made._central = _Central(header["count"], *arrays, comoment=tensors.get("comoment"))
        except Exception as error:
            raise CorruptError(
                f"These {len(data)} bytes are no stored moments ({error}). Compute them again."
            ) from error
        return made

    def _add(self, rows: torch.Tensor) -> None:
        if self._running is None:
            self._running = _Running.near(rows, self.with_covariance)
        if self._running.add(rows):
            if self._running.count >= _PART * _PARTS:
                self._settled()
            return
        finite = torch.isfinite(rows).all(dim=1)
        self.skipped += int((~finite).sum())
        if bool(finite.any()):
            # What is finite may still be too large for its powers in float32.
            wide = _Running.near(rows[finite].double(), self.with_covariance)
            wide.add(rows[finite].double())
            self._central.combine(wide.central())

    def _settled(self) -> "_Central":
        running, self._running = self._running, None
        if running is not None:
            self._central.combine(running.central())
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


class _Running:
    """Sums of powers about a fixed origin near the mean: cheap to add to, and exact enough while the origin is near."""

    def __init__(self, origin: torch.Tensor, with_covariance: bool) -> None:
        dim = len(origin)
        self.origin, self.count = origin, 0
        self.sums = torch.zeros((4, dim), dtype=torch.float64, device=origin.device)
        self.low, self.high = torch.full_like(origin, torch.inf), torch.full_like(origin, -torch.inf)
        self.products = self.sums.new_zeros((dim, dim)) if with_covariance else None

    @classmethod
    def near(cls, rows: torch.Tensor, with_covariance: bool) -> "_Running":
        """Sums about the mean of these first `rows`, without their values (about 0 where that is not finite)."""
        mean = rows.mean(dim=0)
        return cls(torch.where(torch.isfinite(mean), mean, 0.0), with_covariance)

    def add(self, rows: torch.Tensor) -> bool:
        """Add `rows`, unless their powers are not finite: then nothing is added, and False is returned."""
        shifted = rows - self.origin
        squared = shifted * shifted
        first, second = shifted.sum(dim=0), squared.sum(dim=0)
        wide = shifted.double() if self.products is not None else None
        third = shifted.mul_(squared).sum(dim=0)
        fourth = squared.mul_(squared).sum(dim=0)
        if not np.isfinite(float(fourth.sum())):
            return False
        self.sums += torch.stack([first, second, third, fourth])
        torch.minimum(self.low, rows.amin(dim=0), out=self.low)
        torch.maximum(self.high, rows.amax(dim=0), out=self.high)
        if self.products is not None and wide is not None:
            self.products.addmm_(wide.T, wide)
        self.count += len(rows)
        return True

    def central(self) -> _Central:
        """The sums about the mean of what was added."""
        n = max(self.count, 1)
        s1, s2, s3, s4 = (self.sums / n).cpu().numpy()
        return _Central(
            self.count,
            self.origin.double().cpu().numpy() + s1,
            n * np.maximum(s2 - s1 * s1, 0.0),
            n * (s3 - 3 * s1 * s2 + 2 * s1**3),
            n * (s4 - 4 * s1 * s3 + 6 * s1 * s1 * s2 - 3 * s1**4),
            self.low.double().cpu().numpy(),
            self.high.double().cpu().numpy(),
            None if self.products is None else self.products.cpu().numpy() - n * np.outer(s1, s1),
        )
