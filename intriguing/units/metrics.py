"""The scores U1 to U5 of all directions of a basis at once, in one form: what the rotation test wraps.

A `Metric` takes a `View` of a basis (the projections of all inputs, and lists of the extremes made when first asked
for) and gives one number per direction, or one for the whole basis.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from intriguing.brief import brief
from intriguing.errors import InputError, unknown_name
from intriguing.randomness import generator
from intriguing.units import labels as u1
from intriguing.units.candidates import tie_hash
from intriguing.units.directions import Directions
from intriguing.units.judges import draw_intruders, interpretability, intruder, unit_rows
from intriguing.units.selectivity import Binned, selectivity

_FEW = 64
"""A list of the top K is few where the inputs are more than so many times K."""


@dataclass(frozen=True)
class Inputs:
    """The held-out inputs that bases are judged by. Build it with `Inputs.of`, which puts them in the order of the hash
    of their ids: then equal projections are ordered as a scan orders them, and nothing depends on how they came.
    """

    __repr__ = brief

    activations: np.ndarray
    """(n, units) float32, finite."""
    labels: np.ndarray | None = None
    """(n,) int64 from 0."""
    judge: np.ndarray | None = None
    """(n, E) float32: an independent encoder's vectors, at unit length."""
    classes: int = 0
    """How many classes the labels tell apart."""

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

        Raises `InputError` where lengths differ or a number is not finite.
        """
        rows = np.asarray(activations, dtype=np.float32)
        n = len(rows)
        names = np.arange(n) if ids is None else np.asarray(ids, dtype=np.int64)
        for what, given in (("ids", names), ("labels", labels), ("judge vectors", judge)):
            if given is not None and len(given) != n:
                raise InputError(f"{n} rows of activations need as many {what}, not {len(given)}.")
        if rows.ndim != 2 or not np.isfinite(rows).all() or (judge is not None and not np.isfinite(judge).all()):
            raise InputError(
                "Activations are finite numbers of shape (n, units): leave out the inputs that gave others."
            )
        order = np.argsort(tie_hash(seed, names), kind="stable")
        sorted_labels = None if labels is None else np.asarray(labels, dtype=np.int64)[order]
        if sorted_labels is not None and n and sorted_labels.min() < 0:
            raise InputError(f"Labels count from 0; {sorted_labels.min()} is none.")
        return cls(
            np.ascontiguousarray(rows[order]),
            sorted_labels,
            None if judge is None else unit_rows(np.asarray(judge)[order]),
            0 if sorted_labels is None or not n else int(sorted_labels.max()) + 1,
        )

    def __len__(self) -> int:
        return len(self.activations)

    @property
    def dim(self) -> int:
        """How many units there are."""
        return self.activations.shape[1]

    @cached_property
    def by_unit(self) -> torch.Tensor:
        """The activations as (units, n)."""
        return torch.from_numpy(np.ascontiguousarray(self.activations.T))

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many inputs each class has."""
        return np.bincount(self._labels, minlength=self.classes)

    @property
    def _labels(self) -> np.ndarray:
        if self.labels is None:
            raise InputError("This score needs labels: give Inputs.of its labels, or leave the score out.")
        return self.labels

    def half(self, rng: np.random.Generator) -> "Inputs":
        """A random half of the inputs, in the same order."""
        chosen = np.sort(rng.permutation(len(self))[: len(self) // 2])
        return replace(
            self,
            activations=self.activations[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            judge=None if self.judge is None else self.judge[chosen],
        )

    def shuffled(self, seed: int = 0) -> "Inputs":
        """The same inputs with shuffled labels, and judge vectors shuffled alike: the control."""
        order = generator(seed, "shuffled labels").permutation(len(self))
        return replace(
            self,
            labels=None if self.labels is None else self.labels[order],
            judge=None if self.judge is None else self.judge[order],
        )

    def without(self, units: np.ndarray) -> "Inputs":
        """The same inputs without the `units` that the mask (units,) names, such as the dead ones."""
        return replace(self, activations=np.ascontiguousarray(self.activations[:, ~np.asarray(units)]))


@dataclass
class View:
    """A basis as its directions (units, m) and its inputs show it.

    What rests on the projections alone is made when first asked for, and serves other labels and judges too (`seen`).
    """

    __repr__ = brief

    inputs: Inputs
    columns: np.ndarray
    number: int = -1
    """Which rotation it is; -1 for the natural basis."""
    seed: int = 0
    _made: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    @property
    def scores(self) -> torch.Tensor:
        """The projections, (m, n) float32."""
        return self._once(("scores",), self._project)

    @property
    def ranked(self) -> np.ndarray:
        """The projections of each direction in rising order, (m, n)."""
        return self._once(("ranked",), lambda: np.sort(self.scores.numpy(), axis=1))

    def top(self, k: int) -> np.ndarray:
        """The `k` inputs with the largest projections, (m, min(k, n)), best first."""
        return self._once(("top", k), lambda: self._extremes(min(k, len(self.inputs)), 1))

    def bottom(self, k: int) -> np.ndarray:
        """The `k` inputs with the smallest projections, (m, min(k, n)), smallest first."""
        return self._once(("bottom", k), lambda: self._extremes(min(k, len(self.inputs)), -1))

    def binned(self) -> Binned:
        """The projections in bins, for AUROC."""
        return self._once(("binned",), lambda: Binned.of(self.scores))

    def intruders(self, draws: int) -> np.ndarray:
        """Inputs that do not belong to each direction, (m, draws): the same for every judge."""
        rng = generator(self.seed, "intruder", self.number)
        return self._once(("intruders", draws), lambda: draw_intruders(self.scores.numpy(), self.ranked, rng, draws))

    def counts(self, k: int) -> np.ndarray:
        """How often each class is among the top `k`: (m, classes)."""
        return u1.class_counts(self.inputs._labels[self.top(k)], self.inputs.classes)

    def seen(self, inputs: Inputs) -> "View":
        """The same basis of the same inputs, which have other labels or judges in `inputs`."""
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

    def _once(self, what: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if what not in self._made:
            self._made[what] = make()
        return self._made[what]


def _is_selection(columns: np.ndarray) -> bool:
    return bool(((columns != 0).sum(axis=0) == 1).all() and (columns.max(axis=0) == 1).all())


def _best_of(scores: torch.Tensor, k: int) -> np.ndarray:
    """The `k` largest of each line, equal ones in the order of the inputs, which is that of the hash: (lines, k)."""
    found = torch.topk(scores, k, dim=1)
    values, indices = found.values, found.indices
    tied = (scores >= values[:, -1:]).sum(dim=1) > k
    tied |= (values[:, 1:] == values[:, :-1]).any(dim=1)
    if bool(tied.any()):
        indices[tied] = torch.sort(scores[tied], dim=1, descending=True, stable=True).indices[:, :k]
    return indices.numpy()


def _reaching(scores: np.ndarray, kth: np.ndarray, k: int) -> np.ndarray:
    """The same where the `kth` largest value of each line (lines,) is known, which is quicker for many."""
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


@dataclass(frozen=True)
class Metric:
    """A score of a basis."""

    name: str
    """purity, entropy, enrichment, unique_classes, auroc, interpretability, intruder or kurtosis."""
    score: Callable[[View], np.ndarray]
    """Gives one number per direction (m,), or one for the basis ()."""
    from_top: bool
    """Whether it rests on a fixed number of extreme inputs, and not on all inputs alike."""
    higher: str
    """What a higher value means, for a sentence."""
    needs: tuple[str, ...] = ()
    """Which parts of `Inputs` it cannot do without: labels, judge."""
    least: int = 2
    """The fewest inputs that it can be computed from."""
    halved: Callable[[View], np.ndarray] | None = None
    """What stands for it on a random half of the inputs, where it rests on the top K: the score of the top K / 2, which
    reach as deep (K / n), on the scale of K. None: the score itself."""

    @property
    def of_half(self) -> "Metric":
        """The score of a half of the inputs."""
        return self if self.halved is None else replace(self, score=self.halved)

    def mean(self, view: View) -> float:
        """The statistic T of a basis: the mean over its directions (NaN, of a direction without a score, left out)."""
        values = np.asarray(self.score(view), dtype=np.float64)
        known = values[~np.isnan(values)]
        return float(known.mean()) if known.size else float("nan")


def score_directions(
    inputs: Inputs, directions: Directions, scores: Sequence[Metric], *, sign: int = 1
) -> dict[str, np.ndarray]:
    """The scores of each of the `directions`, by name: (count,), or () for one of the whole set; -v with `sign` -1.

    For a unit's own score, and for the sets that are shown beside the test (gaussian, covariance, pca, uniform01).
    """
    if directions.dim != inputs.dim:
        raise InputError(f"Directions of {directions.dim} units do not fit activations of {inputs.dim}.")
    view = View(inputs, sign * directions.columns)
    return {score.name: np.asarray(score.score(view), dtype=np.float64) for score in scores}


def auroc_error_bound(inputs: Inputs, directions: Directions) -> float:
    """How far the score `auroc` of any of the `directions` can be from its exact value, as its bins have it."""
    view = View(inputs, directions.columns)
    return 2 * float(np.nanmax(view.binned().error_bound(inputs._labels, inputs.classes)))


def _enrichment(k: int, score: Callable[[u1.Enrichment, np.ndarray], np.ndarray]) -> Callable[[View], np.ndarray]:
    tables: dict[bytes, u1.Enrichment] = {}

    def scored(view: View) -> np.ndarray:
        counts = view.counts(k)
        sizes, top = view.inputs.sizes, min(k, len(view.inputs))
        found = sizes.tobytes()
        if found not in tables:
            tables.clear()
            tables[found] = u1.Enrichment.of(sizes, top)
        return score(tables[found], counts)

    return scored


def _kurtosis(view: View) -> np.ndarray:
    scores = view.scores
    squared = (scores - scores.mean(dim=1, keepdim=True)).square_()
    variance = squared.mean(dim=1).double()
    fourth = squared.square_().mean(dim=1).double()
    return torch.where(variance > 0, fourth / variance.square(), torch.nan).numpy()


def _auroc(view: View) -> np.ndarray:
    return selectivity(view.binned().auroc(view.inputs._labels, view.inputs.classes))


def _interpretability(view: View, tasks: int, references: int) -> np.ndarray:
    judge = view.inputs.judge
    assert judge is not None
    used = min(tasks, len(view.inputs) // (4 * (references + 1))) * (references + 1)
    return interpretability(judge, view.top(used), view.bottom(used), references)


def _intruder(view: View, k: int, draws: int) -> np.ndarray:
    judge = view.inputs.judge
    assert judge is not None
    return intruder(judge, view.intruders(draws), view.top(k))


def metrics(
    names: Sequence[str] | None = None, *, k: int = 16, tasks: int = 20, references: int = 9, draws: int = 20
) -> list[Metric]:
    """The scores called `names` (all by default): purity, entropy, enrichment, unique_classes (U1), auroc (U2),
    interpretability (U3), intruder (U4), kurtosis (U5).

    `k`: the top inputs of U1 and U4. `tasks` and `references`: of U3. `draws`: intruders per direction of U4.
    """
    every = {m.name: m for m in _every(k, tasks, references, draws)}
    for half in _every(max(k // 2, min(k, 3)), max(tasks // 2, 1), references, draws):
        if half.name in ("purity", "entropy", "interpretability", "intruder"):
            every[half.name] = replace(every[half.name], halved=half.score)
        elif half.name == "enrichment":
            # The logarithm of a p-value grows with K.
            scale = k / half.least
            every[half.name] = replace(every[half.name], halved=_scaled(half.score, scale))
    chosen = list(every) if names is None else list(names)
    for name in chosen:
        if name not in every:
            raise unknown_name("score", name, every)
    return [every[name] for name in chosen]


def _every(k: int, tasks: int, references: int, draws: int) -> list[Metric]:
    return [
        Metric("purity", lambda v: u1.purity(v.counts(k)), True, "purer", ("labels",), k),
        Metric("entropy", lambda v: u1.entropy(v.counts(k)), True, "more mixed", ("labels",), k),
        Metric(
            "enrichment",
            _enrichment(k, lambda table, counts: -np.log10(np.maximum(table.best(counts), 1e-300))),
            True,
            "more enriched in a class",
            ("labels",),
            k,
        ),
        Metric(
            "unique_classes",
            _enrichment(k, lambda table, counts: table.distinct(counts)),
            True,
            "detectors of more classes",
            ("labels",),
            k,
        ),
        Metric("auroc", _auroc, False, "more selective", ("labels",)),
        Metric(
            "interpretability",
            lambda v: _interpretability(v, tasks, references),
            True,
            "easier for the judge to explain",
            ("judge",),
            4 * (references + 1),
        ),
        Metric(
            "intruder", lambda v: _intruder(v, k, draws), True, "easier to tell from an intruder", ("judge",), 2 * k
        ),
        Metric("kurtosis", _kurtosis, False, "heavier-tailed"),
    ]


def _scaled(score: Callable[[View], np.ndarray], scale: float) -> Callable[[View], np.ndarray]:
    return lambda view: scale * score(view)
