"""McNemar's exact test against the exact binomial test."""

import numpy as np
import pytest
from scipy.stats import binomtest

from intriguing.errors import InputError
from intriguing.stats.paired import mcnemar


@pytest.mark.parametrize(("first", "second"), [(31, 15), (13, 2), (15, 3), (1, 1), (0, 6), (7, 0), (0, 0)])
def test_it_is_the_exact_binomial_test_of_the_pairs_that_differ(first, second):
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, abs=1e-12)


def test_a_case_that_can_be_worked_out_by_hand():
    # 5 pairs that differ, all the same way: 2 / 2^5.
    np.testing.assert_allclose(mcnemar([5, 0, 2], [0, 5, 2]), [1 / 16, 1 / 16, 1.0])


@pytest.mark.parametrize("count", [-1, 0.5])
def test_what_is_no_count_is_refused(count):
    with pytest.raises(InputError, match="whole counts"):
        mcnemar(count, 3)
