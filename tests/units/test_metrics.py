import numpy as np
import pytest

import intriguing as ig
from intriguing.errors import InputError, UnknownNameError
from intriguing.randomness import generator
from intriguing.units.rotation import RotationOptions, rotation_test
from intriguing.units.scoring.labels import class_counts, purity
from intriguing.units.scoring.metrics import FORMULAS, auroc_error_bound, score_directions, scorers
from intriguing.units.scoring.scores import METRICS
from intriguing.units.scoring.selectivity import selectivity
from intriguing.units.scoring.views import Inputs, View
from tests.units.exact import auroc


def inputs_of(n=400, dim=6, ties=False):
    rng = generator(0, "metrics")
    rows = rng.standard_normal((n, dim))
    labels = rng.integers(0, 5, n)
    rows = np.round(np.maximum(rows - 1.5, 0)) if ties else rows
    return rows.astype(np.float32), labels


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("ties", [True, False])
def test_scores_are_those_of_the_scans_own_top(ties, sign):
    rows, labels = inputs_of(ties=ties)
    directions = ig.Directions.natural(6)
    scan = ig.TopK(directions, 16, both=True)
    scan.update(rows, np.arange(400))
    found = score_directions(Inputs.of(rows, labels=labels), directions, scorers(["purity"]), sign=sign)["purity"]
    assert np.array_equal(found, purity(class_counts(labels[scan.result(sign).ids], 5)))


@pytest.mark.parametrize("ties", [True, False])
def test_a_short_list_of_extremes_is_the_start_of_a_long_one(ties):
    view = View(Inputs.of(inputs_of(n=2000, ties=ties)[0]), np.eye(6))
    for short, long in ((view.top(8), view.top(500)), (view.bottom(8), view.bottom(500))):
        assert np.array_equal(short, long[:, :8])
    whole = np.argsort(-view.scores.numpy(), axis=1, kind="stable")
    assert np.array_equal(view.top(500), whole[:, :500])


def test_other_labels_of_the_same_inputs_share_their_projections():
    rows, labels = inputs_of()
    inputs = Inputs.of(rows, labels=labels)
    view, others = View(inputs, np.eye(6)), inputs.shuffled(seed=1)
    fresh = View(others, np.eye(6))
    assert view.with_inputs(others).top(16) is view.top(16)
    for score in scorers(["purity", "auroc"]):
        assert np.array_equal(score.score(view.with_inputs(others)), score.score(fresh))
        assert not np.array_equal(score.score(view), score.score(fresh))


def test_the_error_bound_of_binned_selectivity_holds():
    rows, labels = inputs_of(n=1500)
    inputs, directions = Inputs.of(rows, labels=labels), ig.Directions.haar(6, 1)
    found = score_directions(inputs, directions, scorers(["auroc"]))["auroc"]
    exact = selectivity(auroc((inputs.activations @ directions.columns).T, inputs.labels, 5))
    assert np.abs(found - exact).max() <= auroc_error_bound(inputs, directions) + 1e-6 < 0.01


def test_a_unit_that_never_varies_has_no_kurtosis():
    rows = inputs_of(n=1000)[0]
    rows[:, 2], rows[:, 4] = 0.1, 0.0
    found = score_directions(Inputs.of(rows), ig.Directions.natural(6), scorers(["kurtosis"]))["kurtosis"]
    assert np.isnan(found).tolist() == [False, False, True, False, True, False]


@pytest.mark.parametrize("exponent", [-120, -60, -38, 30, 60, 115])
def test_kurtosis_does_not_depend_on_the_size_of_activations(exponent):
    """From 2^-38 on it was 0, and no number above 2^32."""
    rows = inputs_of(n=1000)[0]
    directions = ig.Directions.haar(6, 1)
    plain, scaled = (
        score_directions(Inputs.of(some), directions, scorers(["kurtosis"]))["kurtosis"]
        for some in (rows, np.ldexp(rows, exponent))
    )
    np.testing.assert_array_equal(scaled, plain)


def test_the_low_end_of_units_has_its_own_test():
    rows, labels = inputs_of(600)
    rows[labels == 2, :] -= 3.0
    inputs, scores = Inputs.of(rows, labels=labels), scorers(["purity"])
    high = rotation_test(inputs, scores, RotationOptions(rotations=39, subsamples=0))[0]
    low = rotation_test(inputs, scores, RotationOptions(rotations=39, subsamples=0, sign=-1))[0]
    assert low.natural > high.natural
    assert low.null_mean == high.null_mean


def test_all_scores_are_there_by_name():
    assert list(METRICS) == list(FORMULAS) == [m.name for m in scorers()]


def test_an_unknown_score_names_the_nearest():
    with pytest.raises(UnknownNameError, match="purity"):
        scorers(["purty"])


def test_labels_are_asked_for_where_they_are_needed():
    with pytest.raises(InputError, match="needs labels"):
        score_directions(Inputs.of(inputs_of()[0]), ig.Directions.natural(6), scorers(["auroc"]))


def test_activations_that_are_not_finite_are_refused():
    rows, _ = inputs_of()
    rows[3, 2] = np.nan
    with pytest.raises(InputError, match="finite"):
        Inputs.of(rows)


def test_labels_of_another_length_are_refused():
    with pytest.raises(InputError, match="400 rows"):
        Inputs.of(inputs_of()[0], labels=np.zeros(399, dtype=int))


def test_directions_of_another_space_are_refused():
    with pytest.raises(InputError, match="do not fit"):
        score_directions(Inputs.of(inputs_of()[0]), ig.Directions.natural(7), scorers(["kurtosis"]))


@pytest.mark.parametrize("mean", [3e3, 1e6, 3e6])
def test_a_mean_far_from_0_takes_no_digits_from_scores(mean):
    """Of a mean of a million times the spread kurtosis was 2 % off, and projections were sums of roundings."""
    rng = generator(0, "far means")
    rows = (mean * rng.uniform(-1, 1, 16) + rng.laplace(size=(3000, 16))).astype(np.float32)
    rows[:, 3] = 2 * mean  # a unit that never varies
    labels = rng.integers(0, 5, 3000)
    exact = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    near, far = Inputs.of(exact.astype(np.float32), labels=labels), Inputs.of(rows, labels=labels)
    for directions in (ig.Directions.natural(16), ig.Directions.haar(16, 1)):
        some = exact @ directions.columns
        with np.errstate(invalid="ignore"):
            kurtosis = (some**4).mean(axis=0) / (some**2).mean(axis=0) ** 2
        found = score_directions(far, directions, scorers(["kurtosis", "auroc"]))
        varies = np.ptp(some, axis=0) > 0
        np.testing.assert_allclose(found["kurtosis"][varies], kurtosis[varies], rtol=1e-5)
        expected = score_directions(near, directions, scorers(["auroc"]))["auroc"]
        np.testing.assert_allclose(found["auroc"], expected, atol=1e-3)
    assert np.array_equal(far.activations, Inputs.of(rows).activations)
