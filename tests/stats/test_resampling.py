"""The bootstrap by weights: against the textbook's standard error, and the coverage of its interval."""

import numpy as np
import pytest

from intriguing.errors import InputError
from intriguing.stats import resampling
from intriguing.stats.intervals import wilson
from intriguing.stats.resampling import (
    Estimate,
    extremes_drawn,
    resampled_ratios,
    weights,
    weights_by_group,
    with_extremes,
)


def test_weights_count_how_often_each_unit_was_drawn():
    drawn = weights(np.random.default_rng(0), 7, 100)
    assert drawn.shape == (100, 7)
    assert (drawn.sum(1) == 7).all()
    assert (drawn == np.round(drawn)).all()


def test_the_spread_of_resampled_means_is_the_standard_error():
    values = np.random.default_rng(1).normal(size=400)
    means = weights(np.random.default_rng(2), 400, 4000) @ values / 400
    assert means.std() == pytest.approx(values.std() / 20, rel=0.05)


@pytest.mark.parametrize("at_once", [1, 7 * 400, 1 << 20])
def test_resampled_ratios_spread_as_those_by_weights(monkeypatch, at_once):
    monkeypatch.setattr(resampling, "_DRAWN_AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    bottom = rng.integers(1, 20, 400).astype(float)
    top = 0.2 * bottom + rng.normal(size=400)
    drawn = weights(np.random.default_rng(2), 400, 4000)
    expected = (drawn @ top) / (drawn @ bottom)
    ratios = resampled_ratios(np.random.default_rng(3), top, bottom, 4000)
    assert ratios.shape == (4000,)
    assert ratios.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / 4000**0.5)
    assert ratios.std() == pytest.approx(expected.std(), rel=0.05)


def test_a_resample_without_anything_to_count_is_no_number():
    ratios = resampled_ratios(np.random.default_rng(0), np.array([1.0, 0.0]), np.array([1.0, 0.0]), 50)
    assert np.isnan(ratios).any() and (ratios[~np.isnan(ratios)] == 1).all()


def test_groups_are_drawn_among_themselves():
    drawn = weights_by_group(np.random.default_rng(0), ["a", "b", "a", "c", "a"], 50)
    assert drawn[:, [0, 2, 4]].sum(1) == pytest.approx(3)
    assert (drawn[:, [1, 3]] == 1).all()
    assert len(np.unique(drawn[:, 0])) > 1


@pytest.mark.parametrize("n", [2, 3, 5])
def test_seeds_drawn_again_vary_as_much_as_seeds_do(n):
    values = np.random.default_rng(n).normal(size=n)
    drawn = weights_by_group(np.random.default_rng(0), ["one"] * n + ["other"], 40_000)
    means = drawn[:, :n] @ values / n
    assert means.mean() == pytest.approx(values.mean(), abs=0.02)
    assert means.std() == pytest.approx(values.std(ddof=1) / n**0.5, rel=0.02)


def test_a_pair_of_two_seeds_is_in_no_resample():
    drawn = weights_by_group(np.random.default_rng(0), ["one", "one"], 50)
    assert (drawn.prod(axis=1) == 0).all() and (drawn.sum(axis=1) == 2).all()


def test_the_interval_covers_the_truth_and_the_p_value_is_uniform_where_nothing_is_there():
    rng, covered, low = np.random.default_rng(3), 0, 0
    for _ in range(300):
        values = rng.normal(size=60)
        means = weights(rng, 60, 400) @ values / 60
        estimate = Estimate.of(values.mean(), means)
        covered += estimate.low <= 0 <= estimate.high
        low += estimate.p <= 0.05
    assert 0.90 <= covered / 300 <= 0.98
    assert 0.02 <= low / 300 <= 0.10


def test_a_figure_without_resamples_has_no_interval():
    estimate = Estimate.of(1.0, np.array([np.nan, np.nan, 2.0]))
    assert estimate.columns() == {"value": 1.0, "low": None, "high": None, "p": None}
    assert Estimate.of(np.nan, np.ones(5)).columns()["value"] is None


def test_the_p_value_counts_resamples_on_the_other_side_of_the_reference():
    resampled = np.concatenate([np.full(2, 0.4), np.full(97, 0.6)])
    assert Estimate.of(0.6, resampled, reference=0.5).p == pytest.approx(2 * 3 / 100)
    assert Estimate.of(0.6, resampled, reference=0.7).p == pytest.approx(2 * 1 / 100)


def test_the_p_value_of_few_images_is_that_of_a_sign_test_in_which_all_agree():
    estimate = Estimate.of(1.0, np.ones(999))
    assert estimate.p == pytest.approx(2 / 1000)
    assert [estimate.of_images(n).p for n in (0, 1, 6, 20)] == pytest.approx([1, 1, 2 / 64, 2 / 1000])
    assert np.isnan(Estimate.of(np.nan, np.ones(5)).of_images(6).p)


def interval(values, one=1.0, other=0.0, draws=2000):
    """The interval of the mean of values (n, cells), images drawn with all their cells."""
    each, n = values.reshape(len(values), -1).mean(1), len(values)
    rng = np.random.default_rng(0)
    drawn = weights(rng, n, draws) @ each / n
    estimate = Estimate.of(each.mean(), with_extremes(drawn, n, extremes_drawn(rng, draws), one, other))
    assert estimate.low <= estimate.value <= estimate.high
    return estimate.low, estimate.high


@pytest.mark.parametrize("cells", [1, 10])
def test_an_interval_never_narrows_where_an_image_fewer_agrees(cells):
    dissent = [np.where(np.arange(30 * cells) < k, 0.0, 1.0).reshape(30, cells) for k in range(15 * cells)]
    ends = np.array([interval(values) for values in dissent])
    assert (np.diff(ends[:, 0]) <= 1e-12).all() and (np.diff(ends[:, 1]) <= 1e-12).all()
    mirrored = np.array([interval(1 - values, 0.0, 1.0) for values in dissent])
    assert mirrored[:, ::-1] == pytest.approx(1 - ends)
    lost = np.array([interval(-values, -1.0, 1.0) for values in dissent])  # the last of a difference of -1
    assert lost[0, 0] == -1 and (np.diff(lost[:, 1]) >= -1e-12).all()


@pytest.mark.parametrize("n", [30, 100])
def test_an_interval_of_images_that_all_agree_is_nearly_wilsons(n):
    low, high = interval(np.ones((n, 1)))
    wilsons = float(wilson(n, n)[0])
    assert high == 1 and 0.75 < (1 - low) / (1 - wilsons) < 1.1
    low, high = interval(np.zeros((n, 1)), 1.0, -1.0)
    assert 0.75 < high / (1 - wilsons) < 1.1 and -high == pytest.approx(low, abs=0.01)


@pytest.mark.parametrize(("n", "share"), [(20, 0.9), (20, 0.95), (100, 0.99), (100, 0.5), (300, 0.002)])
def test_an_interval_holds_a_share_as_often_as_it_says(n, share):
    from scipy.stats import binom

    k = np.arange(n + 1)
    ends = np.array([interval((np.arange(n) < each).astype(float)) for each in k])
    covered = binom.pmf(k, n, share)[(ends[:, 0] <= share) & (share <= ends[:, 1])].sum()
    assert covered > 0.92  # of the resamples of the images alone 0.87, 0.63, 0.63, 0.95 and 0.45


def test_nothing_to_draw_from_is_refused():
    with pytest.raises(InputError, match="at least one"):
        weights(np.random.default_rng(0), 0, 10)
    for top, bottom in ((0, 0), (2, 3)):
        with pytest.raises(InputError, match="as many of each"):
            resampled_ratios(np.random.default_rng(0), np.ones(top), np.ones(bottom), 10)
