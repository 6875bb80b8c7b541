import numpy as np
import pytest
from scipy import stats

from intriguing.errors import InputError
from intriguing.stats.multiple import benjamini_hochberg, holm


def test_holm_is_the_textbooks():
    assert np.allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_no_adjusted_p_is_above_one():
    p = np.array([0.4, 0.9, 0.5])
    assert holm(p).tolist() == [1.0, 1.0, 1.0]


def test_holm_passes_over_what_was_not_tested():
    assert np.allclose(holm(np.array([0.01, np.nan, 0.04])), [0.02, np.nan, 0.04], equal_nan=True)


def test_benjamini_hochberg_is_scipys():
    p = np.random.default_rng(1).random((3, 20)) ** 2
    assert np.allclose(benjamini_hochberg(p), stats.false_discovery_control(p, axis=-1))


def test_benjamini_hochberg_passes_over_what_was_not_tested():
    p = np.array([[0.01, np.nan, 0.04, 0.03], [np.nan, np.nan, np.nan, np.nan]])
    assert np.allclose(benjamini_hochberg(p), [[0.03, np.nan, 0.04, 0.04], [np.nan] * 4], equal_nan=True)


def test_p_values_above_one_are_refused():
    with pytest.raises(InputError):
        holm(np.array([0.2, 1.2]))
