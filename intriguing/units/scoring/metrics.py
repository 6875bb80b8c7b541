"""The formulas of the scores, for all directions of a basis at once.

All other properties of a score are in `intriguing.units.scoring.scores`. A formula takes a `View` of a basis and a
`Depth`, and returns one number per direction, or one for the whole basis.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from intriguing.errors import InputError
from intriguing.units.directions import Directions
from intriguing.units.scoring.judges import interpretability, intruder
from intriguing.units.scoring.labels import Enrichment, entropy, purity
from intriguing.units.scoring.scores import METRICS, Depth, Metric, metrics_named
from intriguing.units.scoring.selectivity import selectivity
from intriguing.units.scoring.views import Inputs, View

_EXTREME = 20
"""Binary orders of magnitude from 1 of a range of projections, above which they are scaled for their fourth powers."""

Formula = Callable[[View, Depth], np.ndarray]

FORMULAS: dict[str, Formula] = {}
"""The formula of each of `METRICS`."""


@dataclass(frozen=True)
class Scorer:
    """A metric at a depth, which scores the directions of a view."""

    metric: Metric
    name: str
    """The metric's name, or another name if several scorers have the same metric, as for two judges."""
    score: Callable[[View], np.ndarray]
    """From a view to one number per direction (m,), or one for the basis ()."""
    score_half: Callable[[View], np.ndarray]
    """The same for a random half of the inputs (see `Metric.halving`)."""
    least: int
    """Smallest number of inputs."""

    @property
    def of_half(self) -> "Scorer":
        """The scorer for a half of the inputs."""
        return replace(self, score=self.score_half)

    def mean(self, view: View) -> float:
        """The statistic T of a basis: the mean over its directions; directions without a score (NaN) are left out."""
        values = np.asarray(self.score(view), dtype=np.float64)
        finite = values[~np.isnan(values)]
        return float(finite.mean()) if finite.size else float("nan")


def scorers(names: Sequence[str] | None = None, depth: Depth | None = None) -> list[Scorer]:
    """The scorers of the metrics with these `names` (default: all) at a `depth`. Raises: `UnknownNameError`."""
    return [_scorer(metric, depth or Depth()) for metric in metrics_named(names)]


def _scorer(metric: Metric, depth: Depth) -> Scorer:
    formula, half = FORMULAS[metric.name], depth.halved()

    def score(view: View) -> np.ndarray:
        return formula(view, depth)

    def score_half(view: View) -> np.ndarray:
        match metric.halving:
            case "same":
                return formula(view, depth)
            case "shallower":
                return formula(view, half)
            case "scaled":
                return depth.k / half.k * formula(view, half)

    return Scorer(metric, metric.name, score, score_half, metric.least(depth))


def score_directions(
    inputs: Inputs, directions: Directions, scores: Sequence[Scorer], *, sign: int = 1
) -> dict[str, np.ndarray]:
    """The scores of each of the `directions`, by name: (count,), or () for one of the whole set; -v with `sign` -1.

    For a unit's own score, and for the sets that are shown beside the test (gaussian, covariance, pca, uniform01).
    """
    if directions.dim != inputs.dim:
        raise InputError(f"Directions of {directions.dim} units do not fit activations of {inputs.dim}.")
    view = View(inputs, sign * directions.columns)
    return {score.name: np.asarray(score.score(view), dtype=np.float64) for score in scores}


def auroc_error_bound(inputs: Inputs, directions: Directions) -> float:
    """Largest possible error of the score `auroc` of these `directions`, which comes from binning."""
    view = View(inputs, directions.columns)
    return 2 * float(np.nanmax(view.binned().error_bound(inputs.known_labels, inputs.classes)))


def _formula(name: str) -> Callable[[Formula], Formula]:
    assert name in METRICS

    def register(formula: Formula) -> Formula:
        FORMULAS[name] = formula
        return formula

    return register


@_formula("purity")
def _purity(view: View, depth: Depth) -> np.ndarray:
    return purity(view.counts(depth.k))


@_formula("entropy")
def _entropy(view: View, depth: Depth) -> np.ndarray:
    return entropy(view.counts(depth.k))


@_formula("enrichment")
def _enrichment(view: View, depth: Depth) -> np.ndarray:
    counts = view.counts(depth.k)
    return -np.log10(np.maximum(_chances(view, depth.k).best(counts), 1e-300))


@_formula("unique_classes")
def _unique_classes(view: View, depth: Depth) -> np.ndarray:
    counts = view.counts(depth.k)
    return _chances(view, depth.k).distinct(counts)


@_formula("auroc")
def _auroc(view: View, depth: Depth) -> np.ndarray:
    return selectivity(view.binned().auroc(view.inputs.known_labels, view.inputs.classes))


@_formula("interpretability")
def _interpretability(view: View, depth: Depth) -> np.ndarray:
    judge = view.inputs.judge
    assert judge is not None
    cards = depth.references + 1
    used = min(depth.tasks, len(view.inputs) // (4 * cards)) * cards
    return interpretability(judge, view.top(used), view.bottom(used), depth.references)


@_formula("intruder")
def _intruder(view: View, depth: Depth) -> np.ndarray:
    judge = view.inputs.judge
    assert judge is not None
    return intruder(judge, view.intruders(depth.draws), view.top(depth.k))


@_formula("kurtosis")
def _kurtosis(view: View, depth: Depth) -> np.ndarray:
    scores = view.scores
    # The mean of equal numbers is rounded: their variance need not be 0.
    low, high = torch.aminmax(scores, dim=1)
    centred = scores - scores.mean(dim=1, keepdim=True)
    # The fourth powers of these are beyond float32, or round to nothing; a power of two changes no other digit.
    extreme = ((high - low).log2().abs() > _EXTREME) & (high > low)
    if bool(extreme.any()):
        exponent = torch.frexp(centred[extreme].abs().amax(dim=1, keepdim=True)).exponent
        centred[extreme] = torch.ldexp(centred[extreme], -exponent)
    squared = centred.square_()
    variance = squared.mean(dim=1).double()
    fourth = squared.square_().mean(dim=1).double()
    return torch.where((high > low) & (variance > 0), fourth / variance.square(), torch.nan).numpy()


def _chances(view: View, k: int) -> Enrichment:
    """The table of chances for the view's classes: the same for all bases of the same inputs."""
    return _enrichment_table(tuple(view.inputs.sizes.tolist()), min(k, len(view.inputs)))


@lru_cache(maxsize=4)
def _enrichment_table(sizes: tuple[int, ...], top: int) -> Enrichment:
    return Enrichment.of(np.array(sizes), top)
