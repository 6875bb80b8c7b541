"""Sets of directions, drawn from a seed where they are needed instead of being stored.

The paper (section 3) compares the natural basis e_i with "random directions" but does not state their distribution. The
distribution decides the result, so each set names its own. Two public reproductions used `uniform01`: its directions
are all close to (1, ..., 1) (mean cosine 0.75), so the natural basis looks special by construction. It exists only to
replicate them and is marked as invalid.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from intriguing.basics.masked import check_unmasked
from intriguing.basics.text.brief import brief
from intriguing.errors import InputError, unknown_name
from intriguing.randomness import generator
from intriguing.units.moments import Moments

BASES = ("natural", "gaussian", "haar", "covariance", "pca", "uniform01", "matrix")
_NEEDS_SOURCE = ("covariance", "pca", "matrix")


@dataclass(frozen=True)
class Directions:
    """A set of `count` directions in a space of `dim` units, as the columns of a (dim, count) float32 matrix.

        import intriguing as ig
        units, rotated = ig.Directions.natural(64), ig.Directions.haar(64, seed=0)
        rotated.columns  # (64, 64)

    Use a class method to build one. Random directions have unit length; those of `matrix` keep their length. Equal
    descriptions give equal bits on one kind of machine, and the first columns do not depend on `count`.
    """

    __repr__ = brief

    basis: str
    """Kind of the directions: natural, gaussian, haar, covariance, pca, uniform01 or matrix."""
    dim: int
    """Number of units of the space."""
    count: int
    """Number of directions."""
    seed: int = 0
    """The seed of a random set."""
    digest: str = ""
    """Hash of the covariance or matrix that defines the set."""
    source: np.ndarray | None = field(default=None, repr=False, compare=False)
    """The covariance or matrix; it is not part of a description."""

    def __post_init__(self) -> None:
        if self.basis not in BASES:
            raise unknown_name("basis", self.basis, BASES)
        whole = all(isinstance(number, int | np.integer) for number in (self.dim, self.count))
        if not whole or self.dim < 1 or self.count < 1:
            raise InputError(f"Directions need at least one unit and one direction, not {self.dim} and {self.count}.")
        if self.basis in ("natural", "haar", "pca") and self.count > self.dim:
            raise InputError(
                f"A {self.basis} basis of {self.dim} units has at most {self.dim} directions, not {self.count}."
            )

    @classmethod
    def natural(cls, dim: int) -> "Directions":
        """The unit vectors e_1, ..., e_dim: direction i is unit i."""
        return cls("natural", dim, dim)

    @classmethod
    def gaussian(cls, dim: int, count: int, seed: int = 0) -> "Directions":
        """`count` independent directions, uniform on the sphere (normalised N(0, I))."""
        return cls("gaussian", dim, count, seed)

    @classmethod
    def haar(cls, dim: int, seed: int = 0) -> "Directions":
        """A whole random orthonormal basis, uniform on O(dim): Q of the QR decomposition of a Gaussian matrix, with
        R's diagonal made positive (Network Dissection, section 3.2; Mezzadri 2007).
        """
        return cls("haar", dim, dim, seed)

    @classmethod
    def haar_columns(cls, dim: int, count: int, seed: int = 0) -> "Directions":
        """The first `count` columns of `haar(dim, seed)`, without the cost of the others (equal up to rounding)."""
        return cls("haar", dim, count, seed)

    @classmethod
    def covariance(cls, source: np.ndarray | Moments, count: int, seed: int = 0) -> "Directions":
        """`count` independent directions from N(0, Cov), normalised; Cov is the activations' covariance.

        source: the covariance (dim, dim), or `Moments` with one.
        """
        cov = _covariance_of(source)
        return cls("covariance", cov.shape[0], count, seed, _digest(cov), cov)

    @classmethod
    def pca(cls, source: np.ndarray | Moments) -> "Directions":
        """The covariance's eigenvectors, largest eigenvalue first, each with its largest component positive."""
        cov = _covariance_of(source)
        return cls("pca", cov.shape[0], cov.shape[0], 0, _digest(cov), cov)

    @classmethod
    def uniform01(cls, dim: int, count: int, seed: int = 0) -> "Directions":
        """INVALID as random directions (see the module's text): components from U[0, 1], normalised."""
        return cls("uniform01", dim, count, seed)

    @classmethod
    def matrix(cls, columns: np.ndarray) -> "Directions":
        """The columns of the (dim, count) matrix `columns`, kept in float32 as they are."""
        check_unmasked(columns, "columns")
        source = np.ascontiguousarray(np.asarray(columns), dtype=np.float32)
        if source.ndim != 2 or not np.isfinite(source).all():
            raise InputError(f"Directions.matrix needs finite numbers of shape (dim, count), not shape {source.shape}.")
        return cls("matrix", source.shape[0], source.shape[1], 0, _digest(source), source)

    @property
    def valid(self) -> bool:
        """Whether the set is a fair choice of directions; False for `uniform01`."""
        return self.basis != "uniform01"

    @cached_property
    def columns(self) -> np.ndarray:
        """The matrix (dim, count), float32, drawn at the first use. Do not write to it."""
        matrix = np.ascontiguousarray(self._make(), dtype=np.float32)
        matrix.setflags(write=False)
        return matrix

    def describe(self) -> dict[str, Any]:
        """The description that `from_description` reads, as values for JSON; it lacks `source`."""
        return {"basis": self.basis, "dim": self.dim, "count": self.count, "seed": self.seed, "digest": self.digest}

    @classmethod
    def from_description(
        cls, description: Mapping[str, Any] | str, source: np.ndarray | Moments | None = None
    ) -> "Directions":
        """The directions of a description by `describe` (a mapping, or its JSON text).

        covariance, pca and matrix need the same `source` again. Without it the set can be compared and merged, but its
        columns cannot be computed.
        """
        fields = json.loads(description) if isinstance(description, str) else dict(description)
        directions = cls(fields["basis"], fields["dim"], fields["count"], fields["seed"], fields["digest"])
        if source is None or directions.basis not in _NEEDS_SOURCE:
            return directions
        if directions.basis == "matrix":
            rebuilt = cls.matrix(np.asarray(source))
        elif directions.basis == "pca":
            rebuilt = cls.pca(source)
        else:
            rebuilt = cls.covariance(source, directions.count, directions.seed)
        if rebuilt != directions:
            raise InputError(
                f"The source given is not the one that these {directions.basis} directions were made from."
            )
        return rebuilt

    def _make(self) -> np.ndarray:
        if self.basis == "natural":
            return np.eye(self.dim, dtype=np.float32)
        if self.basis == "haar":
            return haar(self.dim, self.count, self.seed)
        if self.basis in _NEEDS_SOURCE and self.source is None:
            raise InputError(
                f"{self.basis} directions cannot be drawn from their description alone: give from_description their "
                "source (the covariance, moments or matrix)."
            )
        if self.basis == "matrix":
            return np.asarray(self.source)
        if self.basis == "pca":
            return _principal_axes(np.asarray(self.source))
        rng = generator(self.seed, f"directions {self.basis}", self.dim)
        if self.basis == "uniform01":
            components = rng.random((self.count, self.dim))
        else:
            components = rng.standard_normal((self.count, self.dim))
        if self.basis == "covariance":
            values, vectors = _eigen(np.asarray(self.source))
            components = (components * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        norms = np.linalg.norm(components, axis=1, keepdims=True)
        return (components / np.where(norms > 0, norms, 1.0)).T


def haar(dim: int, count: int, seed: int, purpose: str = "directions haar") -> np.ndarray:
    """The first `count` columns of a Haar rotation of `dim` units, float64 (dim, count).

    The Gaussian matrix is drawn column by column, so the first columns do not depend on `count`.
    """
    normals = generator(seed, purpose, dim).standard_normal((count, dim)).T
    # torch uses the number of threads set for the process; NumPy's LAPACK does not.
    q, r = torch.linalg.qr(torch.from_numpy(normals))
    return (q * torch.where(torch.diagonal(r) < 0, -1.0, 1.0)).numpy()


def _principal_axes(cov: np.ndarray) -> np.ndarray:
    _, vectors = _eigen(cov)
    axes = vectors[:, ::-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    return axes * np.where(largest < 0, -1.0, 1.0)


def _eigen(cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = torch.linalg.eigh(torch.from_numpy(cov))
    return values.numpy(), vectors.numpy()


def _covariance_of(source: np.ndarray | Moments) -> np.ndarray:
    cov = source.covariance() if isinstance(source, Moments) else np.asarray(source, dtype=np.float64)
    if cov.ndim != 2 or cov.shape[0] != cov.shape[1] or not np.isfinite(cov).all():
        raise InputError(f"A covariance is a square matrix of finite numbers, not of shape {cov.shape}.")
    return np.ascontiguousarray(cov)


def _digest(array: np.ndarray) -> str:
    return hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()
