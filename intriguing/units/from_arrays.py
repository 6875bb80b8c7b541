"""The rotation test of arrays in memory: activations, labels and judge vectors in, a sentence per score out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from intriguing.basics.masked import check_unmasked
from intriguing.basics.torch_modes import without_autocast
from intriguing.errors import InputError, UnknownNameError
from intriguing.stats.findings import LEVEL, Finding, counted, finding, least_rotations
from intriguing.units import rotation
from intriguing.units.rotation import MOST_COLUMNS, RotationOptions, RotationTest, corrected, least_inputs
from intriguing.units.scoring.metrics import Scorer, scorers
from intriguing.units.scoring.scores import METRICS, Depth, metrics_named
from intriguing.units.scoring.views import Inputs, far_means

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["higher", "lower", "none", "undecided", "unknown"]


@dataclass(frozen=True)
class ScoreTest:
    """The result of the rotation test for one score."""

    metric: str
    """The score's name."""
    outcome: Outcome
    """higher or lower: single units differ. none: no difference was found. undecided: beyond all rotations, which are
    too few for the correction. unknown: there is no test."""
    sentence: str
    """The same in a sentence, with the figures."""
    figures: RotationTest
    """Statistic, null, interval, p-values and effect: the columns of the table `rotation_tests`."""
    curve: tuple[RotationTest, ...] = ()
    """The dose curve: the same figures for powers of a rotation, from near the natural basis to a full rotation."""

    def __str__(self) -> str:
        return f"{self.metric}: {self.sentence}"


@dataclass(frozen=True)
class RotationTests(Sequence[ScoreTest]):
    """The tests of a basis, one `ScoreTest` per score: a sequence that is also indexed by the name of a score.

        tests = ig.rotation_test(activations, classes, metrics=["purity", "auroc"], rotations=99, subsamples=20)
        tests["purity"].outcome, tests["purity"].sentence
        tests.to_frame()

    `print(tests)` prints a sentence per score.
    """

    tests: tuple[ScoreTest, ...]
    """The tests, in the order of the scores asked for."""
    notes: tuple[str, ...] = ()
    """Remarks: units that never vary, or fewer rotations than any finding needs."""

    def __len__(self) -> int:
        return len(self.tests)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self.tests[key]
        by_name = {test.metric: test for test in self.tests}
        if key not in by_name:
            raise UnknownNameError(f"There is no test of a score named {key!r}; these were tested: {list(by_name)}.")
        return by_name[key]

    def __iter__(self) -> Iterator[ScoreTest]:
        return iter(self.tests)

    def __repr__(self) -> str:
        return "\n".join([*map(str, self.tests), *self.notes])

    def to_frame(self) -> "pd.DataFrame":
        """A pandas frame: one row per score; rows of the dose curve (alpha above 0) have no outcome and sentence."""
        import pandas as pd

        rows = []
        for test in self.tests:
            rows.append(test.figures.row() | {"outcome": test.outcome, "sentence": test.sentence})
            rows += [dose.row() | {"outcome": None, "sentence": None} for dose in test.curve]
        return pd.DataFrame(rows, columns=[*(field.name for field in fields(RotationTest)), "outcome", "sentence"])


@without_autocast()
def rotation_test(
    activations: npt.ArrayLike,
    labels: npt.ArrayLike | None = None,
    *,
    judge: npt.ArrayLike | None = None,
    metrics: str | Sequence[str] | None = None,
    k: int = 16,
    rotations: int = 999,
    seed: int = 0,
    subsamples: int = 100,
    doses: Sequence[float] = (),
) -> RotationTests:
    """Test whether the units of a layer differ from random rotations of its basis: a test and a sentence per score.

        import numpy as np, intriguing as ig
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 8, size=800)
        activations = np.eye(8)[labels] + 0.3 * rng.normal(size=(800, 8))
        tests = ig.rotation_test(activations, labels, rotations=299, subsamples=20)
        print(tests)

    The statistic is the mean of a score over all units. The null is the same mean over random rotations of the whole
    basis: units share their inputs, so a test that treats them as independent is invalid. p-values are exact for the
    rows as given, and corrected by Holm's method over the scores asked for.

    Args:
        activations: (N, D) array or tensor, one row per input. Rows should be independent: one per image, not several
            positions of one map. Computed in float32; large means of float64 activations are subtracted before.
        labels: (N,) classes, whole numbers or names. Classes that do not occur are not counted.
        judge: (N, E) vectors of the same inputs by an independent encoder, for interpretability and intruder.
        metrics: the scores, of `intriguing.units.scoring.scores.METRICS`; by default all that the arrays allow.
        k: number of top inputs that a score uses. At least 10 k rows are needed.
        rotations: number of random rotations in the null. Use at least 999 for a claim; the cost is proportional. A
            note says so where they are too few for any finding.
        seed: seed of the rotations, the random halves, and the order of equal projections.
        subsamples: number of random halves of the rows behind each interval; 0 for no interval.
        doses: powers of a rotation, in (0, 1], for which the statistics are added as a dose curve (at most 512 units).

    Raises:
        InputError: the arrays do not fit each other or hold NaN, there are too few rows, one unit or one class, or
            labels or a judge are missing for a score that was asked for.
        UnknownNameError: there is no such score.
    """
    _check_counts(k=(k, 1), rotations=(rotations, 1), seed=(seed, 0), subsamples=(subsamples, 0))
    if subsamples == 1:
        raise InputError("One random half has no spread: give subsamples=2 or more, or 0 for no interval.")
    matrix = _activations(activations)
    powers = _doses(doses, matrix.shape[1])
    inputs = Inputs.of(
        matrix,
        labels=None if labels is None else _labels(labels, len(matrix)),
        judge=None if judge is None else _judge(judge, len(matrix)),
        seed=seed,
    )
    scores = _scores(inputs, metrics, k)
    options = RotationOptions(rotations=rotations, seed=seed, subsamples=subsamples, doses=powers)
    tests = corrected(rotation.rotation_test(inputs, scores, options))
    return RotationTests(
        tuple(_results(inputs, scores, tests)), (*_few_rotations(tests, rotations), *_constant(matrix))
    )


def _results(inputs: Inputs, scores: Sequence[Scorer], tests: Sequence[RotationTest]) -> Iterator[ScoreTest]:
    for score in scores:
        own = [test for test in tests if test.metric == score.name]
        says = _finding(own[0], score, inputs)
        yield ScoreTest(score.name, says.outcome, says.sentence, own[0], tuple(own[1:]))


def _finding(test: RotationTest, score: Scorer, inputs: Inputs) -> Finding:
    needed = least_inputs(score)
    few = f"{counted(len(inputs), 'row')}, and it needs {needed}" if len(inputs) < needed else ""
    return finding(test.row(), score.metric.wording(), few or "it has no value for these inputs, or for a rotation")


def _scores(inputs: Inputs, metrics: str | Sequence[str] | None, k: int) -> list[Scorer]:
    """The scores that were asked for, or all whose labels and judge are given; raises where none can be tested."""
    parts = {part for part in ("labels", "judge") if getattr(inputs, part) is not None}
    if metrics is None:
        names = [metric.name for metric in METRICS.values() if parts.issuperset(metric.needs)]
    else:
        names = list(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics))
        for metric in metrics_named(names):
            for part in metric.needs:
                if part not in parts:
                    raise InputError(
                        f"The score {metric.name!r} needs {part}: give {part}=..., or leave the score out."
                    )
    if not names:
        raise InputError(f"No score was asked for: name some of {', '.join(METRICS)}.")
    scores = scorers(names, Depth(k=k))
    least = min(least_inputs(score) for score in scores)
    if len(inputs) < least:
        raise InputError(
            f"{counted(len(inputs), 'row')} of activations cannot support a test: {least} are needed with k = {k}. "
            "Give more rows, or a smaller k."
        )
    return scores


def _activations(given: npt.ArrayLike) -> np.ndarray:
    """The (N, D) activations as float32, without the means that would leave it no digits for what varies."""
    values = _array("activations", given)
    matrix = _numbers("activations", values)
    if matrix.ndim != 2:
        raise InputError(
            f"activations have shape {matrix.shape}; a matrix (N, D) is needed, a row per input and a column per unit. "
            "Take the maximum or mean of maps first."
        )
    if matrix.shape[1] < 2:
        raise InputError(
            f"activations have {counted(matrix.shape[1], 'unit')}: no basis can be told from its rotations."
        )
    if values.dtype.itemsize > matrix.dtype.itemsize:
        means = far_means(values.T, each=True)
        matrix = (values - means).astype(np.float32) if means.any() else matrix
        lost = (values != values[:1]).any(axis=0) & ~(matrix != matrix[:1]).any(axis=0)
        if lost.any():
            raise InputError(
                f"activations of {counted(int(lost.sum()), 'unit')} (the first: {int(lost.argmax())}) vary by less "
                "than float32 can tell. Scale all activations by one factor, so that their values are near 1."
            )
    return matrix


def _judge(given: npt.ArrayLike, rows: int) -> np.ndarray:
    vectors = _numbers("judge", given)
    if vectors.ndim != 2 or len(vectors) != rows or not vectors.shape[1]:
        raise InputError(
            f"judge has shape {vectors.shape}; a vector for each of the {rows} rows is needed: ({rows}, E)."
        )
    return vectors


def _numbers(name: str, given: npt.ArrayLike) -> np.ndarray:
    """The array as float32, finite."""
    values = _array(name, given)
    if values.dtype.kind not in "fiub":
        raise InputError(f"{name} are of type {values.dtype}; numbers are needed.")
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        rows = np.unique(np.argwhere(wrong)[:, 0]) if numbers.ndim else np.zeros(1, dtype=int)
        raise InputError(
            f"{name} hold NaN, infinity, or numbers beyond float32 in {counted(len(rows), 'row')} (the first: "
            f"{rows[0]}). Leave these rows out, of labels and judge as well."
        )
    return numbers


def _labels(given: npt.ArrayLike, rows: int) -> np.ndarray:
    """The classes that occur, numbered from 0 in their order."""
    values = _array("labels", given)
    if values.shape != (rows,):
        raise InputError(
            f"labels have shape {values.shape}; {rows} rows of activations need labels of shape ({rows},)."
        )
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.round(values)).all():
        values = values.astype(np.int64)
    text = values.dtype.kind == "O" and all(isinstance(value, str) for value in values)
    if not text and values.dtype.kind not in "iubUS":
        raise InputError(f"labels are of type {values.dtype}; whole numbers or names of classes are needed.")
    classes, numbers = np.unique(values, return_inverse=True)
    if rows and len(classes) < 2:
        raise InputError(
            f"All {rows} labels are {classes[0]}: scores of classes need at least two. Leave labels out to test the "
            "scores that need none."
        )
    return numbers


def _array(name: str, given: Any) -> np.ndarray:
    check_unmasked(given, name)
    if hasattr(given, "detach"):  # a tensor, of any device, that may ask for gradients
        given = given.detach().cpu()
        small = given.is_floating_point() and given.element_size() < 4  # bfloat16 is no type of NumPy's
        given = (given.float() if small else given).numpy()
    try:
        return np.asarray(given)
    except ValueError as error:
        raise InputError(f"{name} cannot be read as an array: {error}") from error


def _doses(doses: Iterable[float], dim: int) -> tuple[float, ...]:
    powers = tuple(float(dose) for dose in doses)
    if not all(0 < power <= 1 for power in powers):
        raise InputError(f"doses lie above 0 and at 1 at most, not {list(powers)}.")
    if powers and dim > MOST_COLUMNS:
        raise InputError(f"A dose curve turns whole bases of at most {MOST_COLUMNS} units, not {dim}: leave doses out.")
    return powers


def _check_counts(**counts: tuple[Any, int]) -> None:
    for name, (value, least) in counts.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < least:
            raise InputError(f"{name} is {value!r}; a whole number of at least {least} is needed.")


def _few_rotations(tests: Sequence[RotationTest], rotations: int) -> tuple[str, ...]:
    corrected_for = sum(test.p_holm is not None for test in tests)
    needed = least_rotations(corrected_for)
    if rotations >= needed:
        return ()
    return (
        f"Note: {counted(rotations, 'rotation')} cannot find anything: Holm's correction over "
        f"{counted(corrected_for, 'test')} leaves no p-value at {LEVEL:g} or below. Ask for at least {needed:,} "
        "rotations, or fewer metrics.",
    )


def _constant(matrix: np.ndarray) -> tuple[str, ...]:
    constant = int((matrix == matrix[:1]).all(axis=0).sum())
    if not constant:
        return ()
    return (
        f"Note: {constant} of {matrix.shape[1]} units never vary. They count as units; test the layer without them, "
        "too: activations[:, activations.std(axis=0) > 0].",
    )
