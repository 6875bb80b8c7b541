import numpy as np
import pytest

from intriguing.errors import InputError
from intriguing.randomness import generator
from intriguing.words.judging.frequency import matched_draws, norm_count, strata


def drawn_counts(n=1000):
    return np.minimum(generator(0, "test counts").zipf(1.2, n), 10**6)


def test_strata_part_words_by_count_and_none_is_small():
    counts = drawn_counts()
    groups = strata(counts)
    assert np.bincount(groups).min() >= 40
    for g in range(groups.max()):
        assert counts[groups == g].min() >= counts[groups == g + 1].max()


def test_equal_counts_are_never_parted():
    counts = drawn_counts()
    groups = strata(counts)
    assert all(len(set(groups[counts == c])) == 1 for c in set(counts.tolist()))


def test_a_handful_of_words_is_one_stratum():
    assert strata(np.array([1, 5, 1000])).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([8, 15, 9, 7, 4, 4, 3, 2, 2], [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        ([8, 9, 7, 4, 4, 3, 2, 2], [0, 0, 0, 0, 0, 1, 1, 1]),
        ([8, 9, 8, 7, 4, 4, 3, 2], [0, 0, 0, 1, 1, 1, 1, 1]),
    ],
)
def test_a_stratum_is_an_octave_or_more_where_that_has_too_few_words(counts, groups):
    assert strata(np.array(counts), smallest=3).tolist() == groups


def test_matched_draws_keep_the_strata_and_repeat_no_word():
    groups = strata(drawn_counts())
    sets = np.array([generator(i, "test sets").permutation(1000)[:10] for i in range(7)])
    drawn = matched_draws(groups, sets, 50, generator(0, "test draws"))
    assert drawn.shape == (50, 7, 10)
    assert np.array_equal(groups[drawn], np.broadcast_to(groups[sets], drawn.shape))
    assert all(len(set(line)) == 10 for line in drawn.reshape(-1, 10).tolist())


def test_every_word_of_a_stratum_is_drawn_equally_often():
    drawn = matched_draws(np.zeros(20, int), np.array([[0, 1, 2]]), 4000, generator(0, "test even"))
    seen = np.bincount(drawn.ravel(), minlength=20)
    assert abs(seen - 600).max() < 5 * np.sqrt(600)


def test_a_stratum_that_is_too_small_is_refused():
    with pytest.raises(InputError, match="fewer words"):
        matched_draws(np.array([0, 0, 1]), np.array([[0, 1, 0]]), 2, generator(0, "x"))
    whole = matched_draws(np.array([0, 0, 1]), np.array([[0, 1, 2]]), 2, generator(0, "x"))
    assert np.sort(whole).tolist() == [[[0, 1, 2]]] * 2


def test_norms_that_grow_with_counts_have_a_correlation_of_one():
    counts = np.arange(1, 201)
    vectors = np.sqrt(counts)[:, None] * np.array([[0.6, 0.8]])
    relation = norm_count(vectors, counts)
    assert relation.spearman == pytest.approx(1) and relation.n == 200
    assert (np.diff(relation.median) < 0).all()
    assert relation.words.sum() == 200
    assert (relation.low <= relation.median).all() and (relation.median <= relation.high).all()


def test_words_without_a_count_do_not_take_part():
    assert norm_count(np.eye(5), np.array([3, 2, 1, 0, -1])).n == 3
    with pytest.raises(InputError, match="counts from a corpus"):
        norm_count(np.eye(3), np.full(3, -1))


def test_equal_norms_have_no_correlation():
    assert np.isnan(norm_count(np.eye(4), np.arange(1, 5)).spearman)
