"""Moments of activations in one pass: mergeable, in float64, never N x D in memory.

Pébay 2008, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments"
(Sandia report SAND2008-6212), equations 2.1, 3.1 and 3.2 for the merge.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import torch
from safetensors.numpy import load, save

from intriguing.errors import CorruptError, InputError

_ARRAYS = ("mean", "m2", "m3", "m4", "low", "high")


@dataclass
class Moments:
    """Count, mean, second to fourth central moments, smallest and largest value of each of `dim` units.

    With `with_covariance` also the (dim, dim) co-moments. Shards merge in any order; the merge is exact arithmetic's,
    so that two orders differ by rounding alone (about 1e-14 relative). Rows that are not finite are left out
    and counted in `skipped`.
    """

    dim: int
    with_covariance: bool = False
    count: int = 0
    skipped: int = 0
    mean: np.ndarray = field(init=False, repr=False)
    m2: np.ndarray = field(init=False, repr=False)
    m3: np.ndarray = field(init=False, repr=False)
    m4: np.ndarray = field(init=False, repr=False)
    low: np.ndarray = field(init=False, repr=False)
    high: np.ndarray = field(init=False, repr=False)
    comoment: np.ndarray | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("mean", "m2", "m3", "m4"):
            setattr(self, name, np.zeros(self.dim))
        self.low, self.high = np.full(self.dim, np.inf), np.full(self.dim, -np.inf)
        self.comoment = np.zeros((self.dim, self.dim)) if self.with_covariance else None

    def update(self, block: np.ndarray | torch.Tensor) -> None:
        """Add the rows of `block`, (n, dim)."""
        rows = torch.as_tensor(block)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise InputError(f"A block of {self.dim} units has shape (n, {self.dim}), not {tuple(rows.shape)}.")
        rows = rows.double()
        finite = torch.isfinite(rows.sum(dim=1))
        if not bool(finite.all()):
            finite = torch.isfinite(rows).all(dim=1)
            self.skipped += int((~finite).sum())
            rows = rows[finite]
        if len(rows):
            self._combine(_of_rows(rows, self.with_covariance))

    def merge(self, other: "Moments") -> "Moments":
        """Add what `other` has seen; returns self. Raises `InputError` when they are of different spaces."""
        if (other.dim, other.with_covariance) != (self.dim, self.with_covariance):
            raise InputError(
                f"Moments of {other.dim} units (covariance: {other.with_covariance}) cannot be added to moments of "
                f"{self.dim} units (covariance: {self.with_covariance})."
            )
        self.skipped += other.skipped
        if other.count:
            self._combine(other)
        return self

    def _combine(self, other: "Moments") -> None:
        n_a, n_b = self.count, other.count
        n = n_a + n_b
        delta = other.mean - self.mean
        d_n = delta / n
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
        self.count = n

    @property
    def variance(self) -> np.ndarray:
        """Each unit's variance (dim,), divided by the count."""
        return self.m2 / max(self.count, 1)

    @property
    def skewness(self) -> np.ndarray:
        """Each unit's E[(h - mu)^3] / Var^1.5 (dim,); NaN for a unit that never varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.dead, np.nan, np.sqrt(self.count) * self.m3 / self.m2**1.5)

    @property
    def kurtosis(self) -> np.ndarray:
        """Each unit's E[(h - mu)^4] / Var^2 (dim,), 3 for a Gaussian; NaN for a unit that never varies (U5)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.dead, np.nan, self.count * self.m4 / self.m2**2)

    @property
    def dead(self) -> np.ndarray:
        """Which units (dim,) have had one value only."""
        return ~(self.high > self.low)

    def covariance(self) -> np.ndarray:
        """The (dim, dim) covariance, divided by the count; raises `InputError` unless it was asked for."""
        if self.comoment is None:
            raise InputError("These moments hold no covariance: build them with with_covariance=True.")
        return self.comoment / max(self.count, 1)

    def to_bytes(self) -> bytes:
        """The state as safetensors bytes, for a store or another machine."""
        tensors = {name: getattr(self, name) for name in _ARRAYS}
        if self.comoment is not None:
            tensors["comoment"] = np.ascontiguousarray(self.comoment)
        counts = {"dim": self.dim, "count": self.count, "skipped": self.skipped}
        return save(tensors, {"moments": json.dumps(counts | {"with_covariance": self.with_covariance})})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Moments":
        """The moments that `to_bytes` wrote; raises `CorruptError` for anything else."""
        try:
            size = int.from_bytes(data[:8], "little")
            header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["moments"])
            tensors = load(data)
            made = cls(header["dim"], header["with_covariance"], header["count"], header["skipped"])
            for name in _ARRAYS:
                setattr(made, name, tensors[name])
            made.comoment = tensors.get("comoment")
        except Exception as error:
            raise CorruptError(
                f"These {len(data)} bytes are no stored moments ({error}). Compute them again."
            ) from error
        return made


def _of_rows(rows: torch.Tensor, with_covariance: bool) -> Moments:
    made = Moments(rows.shape[1], with_covariance, count=len(rows))
    mean = rows.mean(dim=0)
    centred = rows - mean
    squared = centred * centred
    made.mean = mean.cpu().numpy()
    made.m2 = squared.sum(dim=0).cpu().numpy()
    made.m3 = torch.linalg.vecdot(squared, centred, dim=0).cpu().numpy()
    made.m4 = torch.linalg.vecdot(squared, squared, dim=0).cpu().numpy()
    made.low, made.high = rows.amin(dim=0).cpu().numpy(), rows.amax(dim=0).cpu().numpy()
    made.comoment = (centred.T @ centred).cpu().numpy() if with_covariance else None
    return made
