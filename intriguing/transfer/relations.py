"""What transfer depends on: rates over pairs of models, resampled over images and over seeds.

Cells of a matrix share images, so an image is drawn with all its cells. Where a statement is about architectures, the
unit is a trained model: seeds of one architecture are drawn again among themselves, then images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intriguing.errors import InputError
from intriguing.stats.resampling import Estimate, extremes_drawn, weights, weights_by_group, with_extremes
from intriguing.transfer.answers import Answers, Network

INITIALISATION = "initialisation"
TRAINING_SET = "training set"
BOTH = "training set and initialisation"
ARCHITECTURE = "architecture"
ALL = "architecture and training set"
RELATIONS = (INITIALISATION, TRAINING_SET, BOTH, ARCHITECTURE, ALL)
"""In what the target may differ from the source. Another training set is a disjoint one. Another architecture may also
be another training of the same (FC10 with more weight decay). Seeds of different architectures share nothing, so they
play no part there; with equal seeds, models of one recipe start from the same weights."""
OVERLAPPING = "overlapping training sets"
"""The relation of a model to one that was trained on a part of its images: no effect of its own."""

_AT_ONCE = 1 << 26
"""Numbers of a block of resampled rates."""


def relation(source: Network, target: Network) -> str:
    """In what the `target` differs from the `source`: one of `RELATIONS`, or `OVERLAPPING`; "" for the same model."""
    other_part, other_seed = source.part != target.part, source.seed != target.seed
    if other_part and not _disjoint(source.part, target.part):
        return OVERLAPPING
    if source.recipe != target.recipe:
        return ALL if other_part else ARCHITECTURE
    if other_part:
        return BOTH if other_seed else TRAINING_SET
    return INITIALISATION if other_seed else ""


def _disjoint(one: str, other: str) -> bool:
    """Whether two parts, such as "1 of 2" and "2 of 2", are of one cut."""
    return bool(one and other) and one.rpartition(" ")[2] == other.rpartition(" ")[2]


def related(models: tuple[Network, ...], *relations: str) -> np.ndarray:
    """(S, T) float64: 1 for the pairs that stand in one of `relations`, 0 for the others."""
    return np.array([[float(relation(s, t) in relations) for t in models] for s in models])


def _recipe(model: Network) -> str:
    """What models that differ in their seed alone share."""
    return f"{model.recipe}|{model.part}"


def _among_seeds(models: tuple[Network, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs are two seeds of one recipe (S, T), and how many seeds the recipe of each source has (S, T)."""
    recipes = np.array([_recipe(model) for model in models])
    same = recipes[:, None] == recipes
    return same & ~np.eye(len(models), dtype=bool), np.broadcast_to(same.sum(1, keepdims=True), same.shape)


@dataclass(frozen=True)
class Resampled:
    """The rates of all cells for the images that are there, and for B resamples of images and seeds.

    rates: by kind, (1 + B, S, T); the first are those of the images as they are. pairs: (1 + B, S, T), the weights of
    the pairs of models, 1 on average; all 1 where no recipe has several seeds. by_seed: whether seeds were drawn again.
    counted: by kind, (S, T), the images that make up the rates. extremes: (2, 1 + B), how often the two images are
    drawn that `with_extremes` adds. images: how many images there are.
    """

    models: tuple[Network, ...]
    rates: dict[str, np.ndarray]
    pairs: np.ndarray
    by_seed: bool
    counted: dict[str, np.ndarray]
    extremes: np.ndarray
    images: int

    @classmethod
    def of(cls, answers: Answers, kinds: list[str], *, seed: int, draws: int = 2000) -> "Resampled":
        """Resamples of `answers`, counting the images that source and target get right unchanged.

        The weights of images and seeds depend on `seed` alone, so that all kinds see the same resamples.
        """
        rng = np.random.default_rng(seed)
        count = len(answers.images)
        images = np.concatenate([np.ones((1, count)), weights(rng, count, draws)])
        # A model that was not trained twice keeps its weight: it is no draw.
        groups = [_recipe(model) for model in answers.models]
        each = np.concatenate([np.ones((1, len(groups))), weights_by_group(rng, groups, draws)])
        counted = answers.both_right
        rates = {kind: _rates(answers.cells(kind), counted, images) for kind in kinds}
        fed = {kind: (counted & np.isfinite(answers.cells(kind))).sum(2) for kind in kinds}
        pairs = each[:, :, None] * each[:, None]
        # Two seeds of one recipe that differ are drawn together (n - 2) / (n - 1) times as often as others are.
        drawn_together, seeds = _among_seeds(answers.models)
        pairs[1:] *= np.where(drawn_together & (seeds > 2), (seeds - 1) / np.maximum(seeds - 2, 1), 1.0)
        pairs[:, drawn_together & (seeds == 2)] = 1
        extremes = np.concatenate([np.zeros((2, 1)), extremes_drawn(rng, draws)], axis=1)
        by_seed = len(set(groups)) < len(groups)
        return cls(answers.models, rates, pairs, by_seed, fed, extremes, count)

    def mean(self, kind: str, chosen: np.ndarray) -> np.ndarray:
        """(1 + B,): the mean rate over pairs of models, each of them counting by `chosen` (S, T) and its draws."""
        return self._mean(self._more(kind, self.rates[kind], 1.0, 0.0), chosen)

    def difference(self, kind: str, control: str, chosen: np.ndarray) -> np.ndarray:
        """(1 + B,): the mean over pairs of the rate of `kind` minus that of its `control`."""
        return self._mean(self._more(kind, self.rates[kind] - self.rates[control], 1.0, -1.0), chosen)

    def ratio(self, kind: str, control: str, chosen: np.ndarray) -> np.ndarray:
        """(1 + B,): the mean rate of `kind` over that of its `control`, which is taken to fool half an image at least:
        so the ratio is finite, and too small where the control fools nobody. NaN where neither fools anybody.
        """
        rate = self.mean(kind, chosen)
        control_rate = self._mean(self._more(control, self.rates[control], 0.0, 1.0), chosen)
        ratio = rate / np.maximum(control_rate, 0.5 / self.images)
        return np.where((rate == 0) & (control_rate == 0), np.nan, ratio)

    def family(self, kind: str, chosen: np.ndarray) -> np.ndarray:
        """(1 + B,): by how much a target of the source's own family is fooled more often than one of another family.

        A coefficient of least squares over the chosen pairs, beside one for each source and one for each target: so
        neither a source whose changes are large nor a target that is easily fooled counts as kinship. NaN where the
        pairs do not tell it.
        """
        same = np.array([[float(s.family == t.family) for t in self.models] for s in self.models])
        at = np.argwhere(chosen > 0)
        design = np.zeros((len(at), 2 * len(self.models) + 1))
        design[:, 0] = same[at[:, 0], at[:, 1]]
        design[np.arange(len(at)), 1 + at[:, 0]] = 1
        design[np.arange(len(at)), 1 + len(self.models) + at[:, 1]] = 1
        every = zip(self._more(kind, self.rates[kind], same, 1 - same), self.pairs, strict=True)
        rows, columns = at.T
        return np.array([_coefficient(design, rates[rows, columns], pairs[rows, columns]) for rates, pairs in every])

    def _more(self, kind: str, values: np.ndarray, one: npt.ArrayLike, other: npt.ArrayLike) -> np.ndarray:
        """The `values` of cells (1 + B, S, T) with the two images added; on these they are `one` and `other` (S, T)."""
        return with_extremes(values, self.counted[kind], self.extremes[:, :, None, None], one, other)

    def _mean(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        counted = self.pairs * chosen * np.isfinite(values)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = (counted * np.nan_to_num(values)).sum((1, 2)) / counted.sum((1, 2))
        among_seeds, seeds = _among_seeds(self.models)
        if among_seeds[chosen > 0].all() and bool((seeds == 2)[among_seeds & (chosen > 0)].any()):
            means[1:] = np.nan  # nothing tells how much pairs of two seeds vary
        return means


def estimate(resampled: np.ndarray, reference: float = 0.0) -> Estimate:
    """The estimate of a statistic (1 + B,): its value, then its resamples."""
    return Estimate.of(float(resampled[0]), resampled[1:], reference)


def rank_correlation(
    resampled: np.ndarray, other: np.ndarray, chosen: np.ndarray, correlate: Callable[[np.ndarray, np.ndarray], float]
) -> np.ndarray:
    """(1 + B,): how the `chosen` (S, T) cells of `resampled` (1 + B, S, T) go with the same cells of `other` (S, T)."""
    at = (chosen > 0) & np.isfinite(other)
    if at.sum() < 3:
        return np.full(len(resampled), np.nan)
    return np.array([correlate(rates[at], other[at]) for rates in resampled])


def _rates(wrong: np.ndarray, counted: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(B, S, T): the weighted mean over images of `wrong` (S, T, N), where `counted` (S, T, N) and fed."""
    if wrong.shape != counted.shape:
        raise InputError(f"Answers of shape {wrong.shape} for a denominator of {counted.shape}.")
    sources, targets, count = wrong.shape
    rates = np.empty((len(images), sources, targets))
    step = max(1, _AT_ONCE // max(1, targets * count))
    for start in range(0, sources, step):
        rows = slice(start, start + step)
        fed = counted[rows] & np.isfinite(wrong[rows])
        errors = np.where(fed, wrong[rows], 0).reshape(-1, count).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = (images @ errors.T) / (images @ fed.reshape(-1, count).T.astype(np.float64))
        rates[:, rows] = part.reshape(len(images), -1, targets)
    return rates


def _coefficient(design: np.ndarray, values: np.ndarray, weight: np.ndarray) -> float:
    """The first coefficient of weighted least squares; NaN where the other columns explain the first."""
    kept = np.isfinite(values) & (weight > 0)
    root = np.sqrt(weight[kept])[:, None]
    rows = design[kept] * root
    others = rows[:, 1:]
    first = rows[:, 0] - others @ np.linalg.lstsq(others, rows[:, 0], rcond=None)[0]
    square = float(first @ first)
    return float(first @ (values[kept] * root[:, 0])) / square if square > 1e-9 * max(1, kept.sum()) else np.nan
