import numpy as np
import pytest
from scipy import stats

from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.stats.binomial import compare_with_chance
from intriguing.stats.comparison import Comparison, compare_with_draws, detectable_effect


def test_p_values_are_ranks_among_the_draws():
    test = compare_with_draws(5.0, np.array([1.0, 2.0, 5.0, 6.0]))
    assert (test.p_high, test.p_low, test.p_two) == (3 / 5, 4 / 5, 1.0)
    assert test.low is None


def test_rounding_does_not_break_a_tie():
    total = 0.1 + 0.2  # 0.30000000000000004
    assert compare_with_draws(0.3, np.array([total] * 9)).p_high == 1.0


def test_values_that_agree_to_the_digits_of_float32_are_one_value():
    test = compare_with_draws(2.7 + 5e-7, 2.7 + 1e-7 * np.arange(99.0) / 99, 0.0)
    assert (test.p_high, test.p_low, test.p_two, test.null_sd, test.effect) == (1, 1, 1, 0, None)
    assert test.detectable_effect is None
    apart = compare_with_draws(2.8, 2.7 + 1e-7 * np.arange(99.0) / 99, 0.0)
    assert (apart.p_high, apart.p_low) == (1 / 100, 1)


def test_a_null_without_spread_has_no_effect():
    test = compare_with_draws(1.0, np.ones(99), 0.0)
    assert (test.effect, test.p_two, test.detectable_effect) == (None, 1, None)


@pytest.mark.parametrize("statistic", [float("nan"), float("inf")])
def test_what_is_not_finite_gives_no_figures(statistic):
    assert compare_with_draws(statistic, np.arange(9.0)) == Comparison(rotations=9)
    assert compare_with_draws(1.0, np.array([1.0, np.nan])) == Comparison(rotations=2)
    assert compare_with_draws(1.0, np.zeros(0)) == Comparison()


def test_the_interval_is_the_normal_one_of_the_standard_error():
    test = compare_with_draws(3.0, np.array([0.5, 1.5]), 0.5)
    assert (test.low, test.high) == pytest.approx((2 - 1.959964 * 0.5, 2 + 1.959964 * 0.5))


def test_an_unknown_standard_error_leaves_no_interval():
    null = np.arange(99.0)
    assert compare_with_draws(3.0, null, float("nan")) == compare_with_draws(3.0, null)


def test_the_detectable_effect_is_half_of_what_lies_between_the_draws_that_decide():
    null = np.arange(39.0) ** 2  # p_two <= 0.05 is reached beyond the least and the largest of 39 alone
    assert detectable_effect(null) == pytest.approx(38**2 / 2 / null.std(ddof=1))
    assert detectable_effect(null[:38]) is None


def test_the_detectable_effect_has_the_power_it_promises():
    rng = generator(0, "power")
    null = stats.norm.ppf(np.arange(1, 1000) / 1000)
    limit = detectable_effect(null, standard_error=0.5)
    natural = limit + null.mean() + 0.5 * rng.standard_normal(4000)
    rate = np.mean([compare_with_draws(value, null).p_two <= 0.05 for value in natural])
    assert abs(rate - 0.8) < 0.03


def test_too_few_draws_detect_nothing():
    assert detectable_effect(np.arange(38.0)) is None
    assert detectable_effect(np.arange(39.0)) is not None


@pytest.mark.parametrize("successes", [0, 3, 17, 60, 100])
def test_the_test_against_chance_is_the_exact_binomial(successes):
    test = compare_with_chance(successes, 100, 1 / 6)
    high = stats.binomtest(successes, 100, 1 / 6, "greater").pvalue
    low = stats.binomtest(successes, 100, 1 / 6, "less").pvalue
    assert (test.p_high, test.p_low) == pytest.approx((high, low))
    assert test.p_two == pytest.approx(min(1, 2 * min(high, low)))
    assert test.low + 1 / 6 <= successes / 100 <= test.high + 1 / 6


def test_the_detectable_share_is_found_with_80_percent_power():
    test = compare_with_chance(17, 200, 1 / 6)
    share = 1 / 6 + test.detectable_effect * test.null_sd
    needed = next(k for k in range(201) if 2 * stats.binom.sf(k - 1, 200, 1 / 6) <= 0.05)
    assert stats.binom.sf(needed - 1, 200, share) == pytest.approx(0.8)


def test_no_trials_give_no_figures_and_impossible_counts_are_refused():
    assert compare_with_chance(0, 0, 0.5) == Comparison()
    for successes, trials, chance in [(3, 2, 0.5), (-1, 2, 0.5), (1, 2, 0.0), (1, 2, 1.0)]:
        with pytest.raises(InputError, match="0 <= successes <= trials"):
            compare_with_chance(successes, trials, chance)
