import itertools

import numpy as np
import pytest
import scipy.stats

from intriguing.errors import CorruptError, InputError
from intriguing.randomness import generator
from intriguing.units import Moments


def rows_of(n=2000, dim=5):
    return (generator(0, "rows").exponential(size=(n, dim)) * [1, 10, 1e-3, 5, 1] + [0, 100, 0, -3, 1e3]).astype(
        np.float32
    )


def moments_of(rows, **options):
    made = Moments(rows.shape[1], **options)
    made.update(rows)
    return made


def test_moments_are_those_of_the_whole_array():
    rows = rows_of()
    made, exact = moments_of(rows, with_covariance=True), rows.astype(np.float64)
    assert np.allclose(made.mean, exact.mean(axis=0), rtol=1e-7)
    assert np.allclose(made.variance, exact.var(axis=0), rtol=1e-5)
    assert np.allclose(made.skewness, scipy.stats.skew(exact), rtol=1e-5, atol=1e-6)
    assert np.allclose(made.kurtosis, scipy.stats.kurtosis(exact, fisher=False), rtol=1e-5, atol=1e-6)
    assert np.allclose(made.covariance(), np.cov(exact.T, bias=True), rtol=1e-5, atol=1e-4)
    assert np.array_equal(made.low, exact.min(axis=0))


@pytest.mark.parametrize("edges", [[0, 1, 2000], [0, 700, 701, 1500, 2000], list(range(0, 2001, 10))])
def test_shards_merge_to_the_whole(edges):
    rows = rows_of()
    whole = moments_of(rows, with_covariance=True)
    parts = [moments_of(rows[a:b], with_covariance=True) for a, b in itertools.pairwise(edges)]
    merged = Moments(5, with_covariance=True)
    for part in reversed(parts):
        merged.merge(part)
    assert merged.count == whole.count
    for name in ("mean", "variance", "skewness", "kurtosis", "high"):
        assert np.allclose(getattr(merged, name), getattr(whole, name), rtol=1e-5)
    assert np.allclose(merged.covariance(), whole.covariance(), rtol=1e-5, atol=1e-4)


def test_merging_an_empty_one_changes_nothing():
    whole = moments_of(rows_of())
    before = whole.kurtosis
    assert np.array_equal(whole.merge(Moments(5)).kurtosis, before)


def test_rows_that_drift_lose_no_digits():
    rows = rows_of(40_000) + np.linspace(0, 1000, 40_000, dtype=np.float32)[:, None]
    made, exact = moments_of(rows), rows.astype(np.float64)
    assert np.allclose(made.variance, exact.var(axis=0), rtol=1e-5)
    assert np.allclose(made.kurtosis, scipy.stats.kurtosis(exact, fisher=False), rtol=1e-5)


def test_values_whose_fourth_power_overflows_are_kept():
    rows = (rows_of() * 1e12).astype(np.float32)
    made = moments_of(rows)
    assert made.skipped == 0
    assert np.allclose(made.kurtosis, scipy.stats.kurtosis(rows.astype(np.float64), fisher=False), rtol=1e-5)


@pytest.mark.parametrize("size", [1e-12, 1e-20, 1e-30, 1e20, 1e30])
def test_moments_of_units_of_any_size_are_those_of_the_whole_array(size):
    """Of small numbers the powers round to nothing: kurtosis was 0.007 of what it is, or below 0, and variance 0."""
    rows = rows_of() ** 3
    rows[:, 1] *= size
    rows[:, 2] = size
    rows = rows.astype(np.float32)
    varied = [0, 1, 3, 4]
    made, exact = moments_of(rows), rows[:, varied].astype(np.float64)
    assert made.dead.tolist() == [False, False, True, False, False]
    assert np.allclose(made.kurtosis[varied], scipy.stats.kurtosis(exact, fisher=False), rtol=1e-4)
    assert np.allclose(made.skewness[varied], scipy.stats.skew(exact), rtol=1e-3, atol=1e-3)
    assert np.allclose(made.variance[varied] / exact.var(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-100, 1e100])
def test_no_row_is_lost_where_even_float64_has_no_fourth_power(size):
    """They were left out, and neither counted nor called skipped."""
    rows = rows_of(600).astype(np.float64) * size
    with np.errstate(all="ignore"):
        made = moments_of(rows)
        assert (made.count, made.skipped) == (600, 0)
        assert np.allclose(made.mean / rows.mean(axis=0), 1, rtol=1e-6)
        assert np.allclose(made.variance / rows.var(axis=0), 1, rtol=1e-5)


def test_a_gaussian_has_kurtosis_three():
    assert np.abs(moments_of(generator(0, "g").standard_normal((200_000, 3))).kurtosis - 3).max() < 0.06


def test_a_unit_that_never_varies_is_dead_and_has_no_kurtosis():
    rows = rows_of()
    rows[:, 3] = 0.1
    made = moments_of(rows)
    assert made.dead.tolist() == [False, False, False, True, False]
    assert np.isnan(made.kurtosis[3])


def test_rows_that_are_not_finite_are_left_out():
    rows = rows_of()
    bad = rows.copy()
    bad[5, 1] = np.nan
    made = moments_of(bad)
    assert made.skipped == 1
    assert np.allclose(made.mean, np.delete(rows, 5, axis=0).mean(axis=0, dtype=np.float64))


def test_stored_moments_go_on_where_they_were():
    rows = rows_of()
    again = Moments.from_bytes(moments_of(rows[:900], with_covariance=True).to_bytes())
    again.update(rows[900:])
    assert np.allclose(again.covariance(), np.cov(rows.T.astype(np.float64), bias=True), rtol=1e-5, atol=1e-4)


def test_bytes_that_are_no_moments_are_refused():
    with pytest.raises(CorruptError):
        Moments.from_bytes(moments_of(rows_of()).to_bytes()[:40])


def test_covariance_has_to_be_asked_for():
    with pytest.raises(InputError, match="with_covariance"):
        moments_of(rows_of()).covariance()


def test_moments_of_different_spaces_are_not_merged():
    with pytest.raises(InputError):
        Moments(3).merge(Moments(4))


def test_shards_of_whole_blocks_give_the_same_numbers():
    rows = rows_of(256 * 12)
    made = []
    for size in (256, 512, 1536, 3072):
        shards = [moments_of(rows[i : i + size], with_covariance=True) for i in range(0, len(rows), size)]
        whole = shards.pop()
        for shard in shards:
            whole.merge(shard)
        made.append(whole)
    for other in made[1:]:
        for name in ("mean", "variance", "skewness", "kurtosis"):
            assert np.array_equal(getattr(other, name), getattr(made[0], name))
        assert np.array_equal(other.covariance(), made[0].covariance())
