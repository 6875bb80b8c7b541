import numpy as np
import pytest

from intriguing.errors import InputError, UnknownNameError
from intriguing.randomness import generator
from intriguing.units.directions import haar
from intriguing.words.judging.conditions import conditioned, varimax


def vectors(n=300, dim=6):
    x = generator(0, "test conditions").standard_normal((n, dim))
    x[:, 0] = 5 + 4 * x[:, 0]
    return x.astype(np.float32)


def test_raw_vectors_stay_as_they_are():
    assert np.array_equal(conditioned(vectors(), "raw"), vectors())


def test_l2_rows_have_unit_length_and_zero_rows_stay():
    x = vectors()
    x[3] = 0
    norms = np.linalg.norm(conditioned(x, "l2"), axis=1)
    assert norms[3] == 0 and np.allclose(np.delete(norms, 3), 1)


@pytest.mark.parametrize("removed", [0, 1, 3])
def test_centred_rows_have_no_mean_and_no_leading_components(removed):
    x = conditioned(vectors(), "centred", removed=removed).astype(np.float64)
    assert np.allclose(x.mean(axis=0), 0, atol=1e-5)
    assert np.linalg.matrix_rank(x, tol=1e-3) == 6 - removed
    kept = np.linalg.svd(vectors() - vectors().mean(axis=0))[1][removed:]
    assert np.allclose(np.linalg.svd(x)[1][: 6 - removed], kept, rtol=1e-4)


def test_one_component_in_a_hundred_is_removed_by_default():
    assert np.linalg.matrix_rank(conditioned(vectors(dim=6), "centred"), tol=1e-3) == 5


def test_an_unknown_condition_lists_the_known():
    with pytest.raises(UnknownNameError, match="centred, l2, raw"):
        conditioned(vectors(), "whitened")


def test_removing_all_components_is_refused():
    with pytest.raises(InputError, match="0 to 5"):
        conditioned(vectors(), "centred", removed=6)


def test_varimax_finds_sparse_axes_that_a_rotation_hid():
    rng = generator(0, "test varimax")
    sparse = rng.standard_normal((2000, 5)) * (rng.random((2000, 5)) < 0.15)
    rotation = varimax(sparse @ haar(5, 5, 1).T, tolerance=1e-9)
    assert np.allclose(rotation.T @ rotation, np.eye(5), atol=1e-9)
    matched = np.abs(haar(5, 5, 1).T @ rotation)
    assert np.allclose(np.sort(matched.max(axis=0)), 1, atol=0.01)


def test_varimax_raises_its_criterion():
    def criterion(x):
        return ((x - x.mean(axis=0)) ** 2).var(axis=0).sum()

    x = vectors() ** 3
    assert criterion(x @ varimax(x)) > criterion(x)


def test_varimax_needs_as_many_rows_as_dimensions():
    with pytest.raises(InputError, match="3 rows in 6 dimensions"):
        varimax(vectors(3))
