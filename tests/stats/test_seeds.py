"""Differences paired by seed are Student's."""

import numpy as np
import pytest
from scipy import stats

from intriguing.errors import InputError
from intriguing.stats.seeds import mean_interval, paired_difference


def test_a_paired_difference_is_scipy_s():
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 1, 5), rng.normal(0, 1, 5)
    found, expected = paired_difference(one, other), stats.ttest_rel(one, other)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert found.n == 5


def test_one_seed_and_equal_differences_have_no_interval_and_no_p():
    assert paired_difference([1.0], [3.0]) == paired_difference([0.0], [2.0])
    assert paired_difference([1.0], [3.0]).low is None
    same = paired_difference([1.0, 2.0], [0.5, 1.5])
    assert (same.mean, same.low, same.high, same.p, same.n) == (0.5, None, None, None, 2)
    assert paired_difference([1.0, 2.0], [1.0, 2.0]).p is None


@pytest.mark.parametrize("difference", [3, 0])
def test_differences_that_rounding_alone_tells_apart_are_equal(difference):
    wrong = np.array([186, 191, 177, 203])
    rounded = paired_difference((wrong + difference) / 10_000, (wrong / 10_000 * 3) / 3)
    assert rounded.mean == pytest.approx(difference / 10_000, abs=1e-12)
    assert (rounded.low, rounded.high, rounded.p) == (None, None, None)


def test_the_interval_of_a_mean_holds_it_and_of_one_seed_is_the_value():
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert low < mean == 2.0 < high
    assert mean_interval([4.0]) == (4.0, 4.0, 4.0)
    assert mean_interval([4.0, 4.0]) == (4.0, 4.0, 4.0)


@pytest.mark.parametrize(("one", "other"), [([1.0], [1.0, 2.0]), ([], []), ([np.nan], [1.0])])
def test_what_cannot_be_paired_is_refused(one, other):
    with pytest.raises(InputError, match="paired by seed"):
        paired_difference(one, other)
