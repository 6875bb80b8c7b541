import numpy as np
import pytest
from scipy import stats

from intriguing.errors import InputError
from intriguing.stats.intervals import median_interval, newcombe, wilson


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_equals_scipys_for_every_count(level):
    for n in (1, 2, 7, 256):
        k = np.arange(n + 1)
        low, high = wilson(k, n, level)
        expected = [stats.binomtest(int(i), n).proportion_ci(level, method="wilson") for i in k]
        np.testing.assert_allclose(low, [e.low for e in expected], atol=1e-12)
        np.testing.assert_allclose(high, [e.high for e in expected], atol=1e-12)


def test_wilson_solves_its_defining_equation():
    # (p - bound)^2 = z^2 bound (1 - bound) / n at both ends.
    low, high = wilson(30, 256)
    z = stats.norm.ppf(0.975)
    for bound in (low, high):
        np.testing.assert_allclose((30 / 256 - bound) ** 2, z**2 * bound * (1 - bound) / 256, rtol=1e-10)


def test_no_errors_and_all_errors_reach_the_ends_exactly():
    low, high = wilson([0, 10], [10, 10])
    assert low[0] == 0
    assert high[1] == 1
    assert 0 < high[0] < 0.35
    assert 0.65 < low[1] < 1


def test_wilson_broadcasts_and_gives_nan_without_inputs():
    low, high = wilson([[0, 1], [0, 2]], [0, 4])
    assert low.shape == high.shape == (2, 2)
    assert np.isnan(low[:, 0]).all()
    assert np.isnan(high[:, 0]).all()
    assert np.isfinite(low[:, 1]).all()


@pytest.mark.parametrize(("k", "n"), [(5, 4), (-1, 4), (float("nan"), 4)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(InputError, match="between 0 and its n"):
        wilson(k, n)


def test_an_impossible_level_is_refused():
    with pytest.raises(InputError, match=r"0\.95"):
        wilson(1, 2, 95)


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (9, 2), (20, 6), (100, 40)])
def test_the_ends_of_a_medians_interval_are_the_order_statistics_of_the_published_tables(n, rank):
    # Conover 1999, table A3: the largest rank whose interval still covers the median with 95 %.
    assert median_interval(np.arange(1, n + 1)) == (rank, n + 1 - rank)
    assert 1 - 2 * stats.binom.cdf(rank - 1, n, 0.5) >= 0.95
    assert 1 - 2 * stats.binom.cdf(rank, n, 0.5) < 0.95


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.99])
def test_the_ranks_that_are_counted_in_whole_numbers_are_those_of_the_binomial_distribution(level):
    for n in (*range(70), 256, 999, 4_097, 9_999, 10_000, 10_001, 30_000):
        low, high = median_interval(np.arange(1, n + 1), level)
        rank = 0 if np.isinf(low) else int(low)
        assert high == (n + 1 - rank if rank else np.inf)
        # Exactly a tail's chance is still within it; scipy may be a last digit off there.
        assert stats.binom.cdf(rank - 1, n, 0.5) <= (1 - level) / 2 + 1e-12
        assert stats.binom.cdf(rank, n, 0.5) > (1 - level) / 2 - 1e-12


def test_a_rank_whose_chance_is_exactly_the_tail_counts():
    # P(X < 1) of two values is 1/4, the tail of an interval of 50 %.
    assert median_interval([1.0, 2.0], 0.5) == (1.0, 2.0)


def test_few_values_decide_nothing_about_a_median():
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) == (-np.inf, np.inf)
    assert median_interval([]) == (-np.inf, np.inf)


def test_values_without_a_median_are_refused():
    with pytest.raises(InputError, match="leave these out"):
        median_interval([1.0, float("nan")])
    with pytest.raises(InputError, match="between 0 and 1"):
        median_interval([1.0], level=1.0)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
    ],
)
def test_newcombe_gives_the_values_that_its_paper_prints(counts, low, high):
    # Newcombe 1998, table II, method 10.
    assert np.round(newcombe(*counts), 4).tolist() == [low, high]


def test_newcombe_is_turned_by_exchanging_the_two():
    low, high = newcombe([3, 20], 40, [9, 1], 25)
    other_low, other_high = newcombe([9, 1], 25, [3, 20], 40)
    np.testing.assert_allclose([low, high], [-other_high, -other_low])


def test_newcombe_needs_inputs_on_both_sides():
    assert np.isnan(newcombe(0, 0, 1, 2)).all()
    assert np.isfinite(newcombe(0, 10, 0, 20)).all()
