import json

import numpy as np
import pytest

import intriguing as ig
from intriguing.errors import InputError, UnknownNameError
from intriguing.randomness import generator
from intriguing.units import Moments


def cosines(directions):
    v = directions.columns / np.linalg.norm(directions.columns, axis=0)
    return (v.T @ v)[np.triu_indices(directions.count, 1)]


def moments_of(dim, n=500):
    made = Moments(dim, with_covariance=True)
    made.update(generator(0, "m").standard_normal((n, dim)) * np.arange(1, dim + 1))
    return made


MADE = {
    "natural": ig.Directions.natural(6),
    "gaussian": ig.Directions.gaussian(6, 9, 4),
    "haar": ig.Directions.haar(6, 4),
    "haar columns": ig.Directions.haar_columns(6, 2, 4),
    "uniform01": ig.Directions.uniform01(6, 9, 4),
}


@pytest.mark.parametrize("name", MADE)
def test_directions_are_drawn_again_from_a_small_description(name):
    text = json.dumps(MADE[name].describe())
    again = ig.Directions.from_description(text)
    assert again == MADE[name]
    assert np.array_equal(again.columns, MADE[name].columns)
    assert len(text) < 200


def test_directions_from_moments_are_drawn_again_with_their_moments():
    moments = moments_of(5)
    for made in (ig.Directions.pca(moments), ig.Directions.covariance(moments, 7, 2)):
        again = ig.Directions.from_description(made.describe(), moments)
        assert np.array_equal(again.columns, made.columns)
        with pytest.raises(InputError, match="not the one"):
            ig.Directions.from_description(made.describe(), np.eye(5))


def test_a_haar_basis_is_orthonormal_and_its_columns_are_a_part_of_it():
    whole = ig.Directions.haar(40, 1).columns
    assert np.allclose(whole.T @ whole, np.eye(40), atol=1e-5)
    assert np.allclose(ig.Directions.haar_columns(40, 7, 1).columns, whole[:, :7], atol=1e-6)


def test_haar_rotations_are_uniform():
    entries = np.array([ig.Directions.haar(3, seed).columns for seed in range(2000)])
    assert np.abs(entries.mean(axis=0)).max() < 0.06
    assert np.abs((entries**2).mean(axis=0) - 1 / 3).max() < 0.03


def test_more_gaussian_directions_start_with_the_fewer():
    assert np.array_equal(ig.Directions.gaussian(8, 20, 1).columns[:, :5], ig.Directions.gaussian(8, 5, 1).columns)


def test_seeds_give_different_directions():
    assert not np.allclose(ig.Directions.haar(8, 1).columns, ig.Directions.haar(8, 2).columns)


def test_the_replica_is_labelled_invalid_and_its_directions_are_alike():
    replica = ig.Directions.uniform01(100, 50)
    assert not replica.valid
    assert abs(cosines(replica).mean() - 0.75) < 0.02
    assert abs(cosines(ig.Directions.gaussian(100, 50)).mean()) < 0.02


def test_principal_axes_come_largest_first():
    axes = ig.Directions.pca(moments_of(5, 5000)).columns
    assert np.abs(axes[:, 0]).argmax() == 4
    assert np.abs(axes[:, 4]).argmax() == 0


def test_covariance_directions_vary_as_the_activations_do():
    v = ig.Directions.covariance(np.diag([100.0, 1.0, 1.0]), 500).columns
    assert np.abs(v[0]).mean() > 0.9


def test_random_directions_have_unit_length():
    for name in ("gaussian", "haar", "uniform01"):
        assert np.allclose(np.linalg.norm(MADE[name].columns, axis=0), 1, atol=1e-6)


def test_a_matrix_is_kept_as_it_is():
    given = np.array([[1.0, 2.0, 0.0], [0.0, 2.0, 3.0]])
    assert np.array_equal(ig.Directions.matrix(given).columns, given)


def test_a_rotation_cannot_have_more_directions_than_units():
    with pytest.raises(InputError, match="at most 4"):
        ig.Directions.haar_columns(4, 5)


def test_an_unknown_basis_names_the_nearest():
    with pytest.raises(UnknownNameError, match="gaussian"):
        ig.Directions("gausian", 3, 3)


@pytest.mark.parametrize("bad", [np.ones(3), np.array([[np.nan]])])
def test_a_matrix_that_is_none_is_refused(bad):
    with pytest.raises(InputError):
        ig.Directions.matrix(bad)
