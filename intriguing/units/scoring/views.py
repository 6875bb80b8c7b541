"""The inputs of the rotation tests, and the views of a basis on them: projections, extremes, bins, intruders."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from intriguing.basics.text.brief import brief
from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.stats.halves import random_half
from intriguing.units.scan.ranking import tie_hash
from intriguing.units.scoring.judges import draw_intruders, unit_rows
from intriguing.units.scoring.labels import class_counts, numbered
from intriguing.units.scoring.selectivity import Binned

_FEW = 64
"""A top list is short if there are more than this many times K inputs."""
_FAR = 16
"""A unit's mean is far from 0 if it is more than this many times the range of values of the units."""


@dataclass(frozen=True)
class Inputs:
    """The held-out inputs of the rotation tests.

    Build it with `Inputs.of`, which sorts them by the hash of their ids. Then equal projections have the order that a
    scan gives them, and no result depends on the original order.
    """

    __repr__ = brief

    activations: np.ndarray
    """(n, units) float32, finite."""
    labels: np.ndarray | None = None
    """(n,) int64: the numbers, from 0, of the classes that occur."""
    judge: np.ndarray | None = None
    """(n, E) float32: an independent encoder's vectors, at unit length."""
    classes: int = 0
    """Number of classes that occur."""
    variants: "dict[str, Inputs]" = field(init=False, repr=False, compare=False, default_factory=dict)
    """These inputs with other labels or judge vectors, by name; see `variant`."""

    @classmethod
    def of(
        cls,
        activations: np.ndarray,
        ids: np.ndarray | None = None,
        *,
        labels: np.ndarray | None = None,
        judge: np.ndarray | None = None,
        seed: int = 0,
    ) -> "Inputs":
        """Inputs with these `activations` (n, units), `ids` (default 0, 1, ...), `labels` and `judge` vectors.

        Raises: `InputError` where lengths differ or a number is not finite.
        """
        rows = np.asarray(activations, dtype=np.float32)
        n = len(rows)
        names = np.arange(n) if ids is None else np.asarray(ids, dtype=np.int64)
        for what, values in (("ids", names), ("labels", labels), ("judge vectors", judge)):
            if values is not None and len(values) != n:
                raise InputError(f"{n} rows of activations need as many {what}, not {len(values)}.")
        if rows.ndim != 2 or not np.isfinite(rows).all() or (judge is not None and not np.isfinite(judge).all()):
            raise InputError(
                "Activations are finite numbers of shape (n, units): leave out the inputs that gave others."
            )
        order = np.argsort(tie_hash(seed, names), kind="stable")
        sorted_labels, classes = None, 0
        if labels is not None:
            given = np.asarray(labels, dtype=np.int64)
            if n and given.min() < 0:
                raise InputError(f"Labels count from 0; {given.min()} is none.")
            sorted_labels, classes = numbered(given[order])
        return cls(
            np.ascontiguousarray(rows[order]),
            sorted_labels,
            None if judge is None else unit_rows(np.asarray(judge)[order]),
            classes,
        )

    def __len__(self) -> int:
        return len(self.activations)

    @property
    def dim(self) -> int:
        """Number of units."""
        return self.activations.shape[1]

    @cached_property
    def by_unit(self) -> torch.Tensor:
        """The activations as (units, n), without the means of units whose mean is far from 0.

        No score depends on them, and float32 would round all projections by what it rounds of the largest.
        """
        lines = np.ascontiguousarray(self.activations.T)
        means = far_means(lines)
        return torch.from_numpy(lines - means.astype(np.float32)[:, None] if means.any() else lines)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of inputs of each class."""
        return np.bincount(self.known_labels, minlength=self.classes)

    @property
    def known_labels(self) -> np.ndarray:
        """The labels. Raises: `InputError` if there are none."""
        if self.labels is None:
            raise InputError("This score needs labels: give Inputs.of its labels, or leave the score out.")
        return self.labels

    def half(self, rng: np.random.Generator) -> "Inputs":
        """A random half of the inputs, in the same order. It has the classes of the whole, whether or not it holds some
        of each.
        """
        half = random_half(rng, len(self))
        return replace(
            self,
            activations=self.activations[half],
            labels=None if self.labels is None else self.labels[half],
            judge=None if self.judge is None else self.judge[half],
        )

    def shuffled(self, seed: int = 0) -> "Inputs":
        """The same inputs with labels and judge vectors shuffled in the same way: the control."""
        order = generator(seed, "shuffled labels").permutation(len(self))
        return replace(
            self,
            labels=None if self.labels is None else self.labels[order],
            judge=None if self.judge is None else self.judge[order],
        )

    def variant(self, name: str, change: Callable[["Inputs"], "Inputs"]) -> "Inputs":
        """These inputs after `change` of their labels or judge vectors; computed once per `name`."""
        if name not in self.variants:
            self.variants[name] = change(self)
        return self.variants[name]

    def without(self, units: np.ndarray) -> "Inputs":
        """The same inputs without some `units`, given as a mask (units,), such as the dead ones."""
        return replace(self, activations=np.ascontiguousarray(self.activations[:, ~np.asarray(units)]))


@dataclass
class View:
    """A basis and the inputs projected on it.

    All that depends only on the projections is computed at the first use, and shared with the views that `with_inputs`
    makes for other labels and judges.
    """

    __repr__ = brief

    inputs: Inputs
    columns: np.ndarray
    """The directions, (units, m)."""
    number: int = -1
    """The number of the rotation; -1 for the natural basis."""
    seed: int = 0
    _cache: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    @property
    def scores(self) -> torch.Tensor:
        """The projections, (m, n) float32."""
        return self._cached(("scores",), self._project)

    @property
    def ranked(self) -> np.ndarray:
        """The projections of each direction in rising order, (m, n)."""
        return self._cached(("ranked",), lambda: np.sort(self.scores.numpy(), axis=1))

    def top(self, k: int) -> np.ndarray:
        """The `k` inputs with the largest projections, (m, min(k, n)), best first."""
        return self._cached(("top", k), lambda: self._extremes(min(k, len(self.inputs)), 1))

    def bottom(self, k: int) -> np.ndarray:
        """The `k` inputs with the smallest projections, (m, min(k, n)), smallest first."""
        return self._cached(("bottom", k), lambda: self._extremes(min(k, len(self.inputs)), -1))

    def binned(self) -> Binned:
        """The projections in bins, for AUROC."""
        return self._cached(("binned",), lambda: Binned.of(self.scores))

    def intruders(self, draws: int) -> np.ndarray:
        """Intruders of each direction, (m, draws), the same for every judge."""
        rng = generator(self.seed, "intruder", self.number)
        return self._cached(("intruders", draws), lambda: draw_intruders(self.scores.numpy(), self.ranked, rng, draws))

    def counts(self, k: int) -> np.ndarray:
        """How often each class is among the top `k`: (m, classes)."""
        return class_counts(self.inputs.known_labels[self.top(k)], self.inputs.classes)

    def with_inputs(self, inputs: Inputs) -> "View":
        """The view with `inputs` in place of its own. They must have the same activations; only labels or judge
        vectors may differ, so the cached projections stay valid.
        """
        return replace(self, inputs=inputs)

    def _project(self) -> torch.Tensor:
        if _is_selection(self.columns):
            return self.inputs.by_unit[torch.from_numpy(self.columns.argmax(axis=0))]
        return torch.from_numpy(np.ascontiguousarray(self.columns.T, dtype=np.float32)) @ self.inputs.by_unit

    def _extremes(self, k: int, sign: int) -> np.ndarray:
        if k * _FEW <= len(self.inputs):
            return _best_of(self.scores * sign, k)
        kth = self.ranked[:, -k] if sign > 0 else self.ranked[:, k - 1]
        return _reaching(self.scores.numpy() * np.float32(sign), kth * np.float32(sign), k)

    def _cached(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]


def far_means(lines: np.ndarray, each: bool = False) -> np.ndarray:
    """The mean of each of the units `lines` (units, n) that is far from 0, and 0 for the others: float64 (units,).

    Far is measured by the ranges of all units together, or, with `each`, by the unit's own.
    """
    if not lines.size:
        return np.zeros(len(lines))
    means = lines.mean(axis=1, dtype=np.float64)
    ranges = lines.max(axis=1).astype(np.float64) - lines.min(axis=1)
    scale = ranges if each else np.sqrt(np.mean(ranges**2))
    return np.where(np.abs(means) > _FAR * scale, means, 0.0)


def _is_selection(columns: np.ndarray) -> bool:
    return bool(((columns != 0).sum(axis=0) == 1).all() and (columns.max(axis=0) == 1).all())


def _best_of(scores: torch.Tensor, k: int) -> np.ndarray:
    """The `k` largest of each line (lines, k); equal ones in the order of the inputs, which is that of the hash."""
    values, indices = torch.topk(scores, k, dim=1)
    tied = (scores >= values[:, -1:]).sum(dim=1) > k
    tied |= (values[:, 1:] == values[:, :-1]).any(dim=1)
    if bool(tied.any()):
        indices[tied] = torch.sort(scores[tied], dim=1, descending=True, stable=True).indices[:, :k]
    return indices.numpy()


def _reaching(scores: np.ndarray, kth: np.ndarray, k: int) -> np.ndarray:
    """`_best_of` for long lists: faster, but needs `kth` (lines,), the k-th largest value of each line."""
    n = scores.shape[1]
    reach = scores >= kth[:, None]
    tied = np.count_nonzero(reach, axis=1) > k
    if tied.any():
        order = np.empty((len(scores), k), dtype=np.int64)
        order[tied] = np.argsort(-scores[tied], axis=1, kind="stable")[:, :k]
        if not tied.all():
            order[~tied] = _reaching(scores[~tied], kth[~tied], k)
        return order
    flat = np.flatnonzero(reach).reshape(-1, k)
    best = np.argsort(-scores.ravel()[flat], axis=1, kind="stable")
    return np.take_along_axis(flat, best, axis=1) - np.arange(len(scores))[:, None] * n
