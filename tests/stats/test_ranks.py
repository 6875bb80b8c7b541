"""Rank correlations are scipy's."""

import numpy as np
import pytest
from scipy import stats

from intriguing.errors import InputError
from intriguing.stats.ranks import spearman


def test_a_rank_correlation_is_scipy_s_with_ties_too():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 5, 30)
    other = one + rng.normal(0, 2, 30)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
    assert spearman(one, -one) == pytest.approx(-1)


def test_a_constant_and_nothing_have_no_rank_correlation():
    assert np.isnan(spearman([1, 2, 3], [9, 9, 9]))
    assert np.isnan(spearman([], []))
    with pytest.raises(InputError, match="given 2 and 1"):
        spearman([1, 2], [1])
