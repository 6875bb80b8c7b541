import numpy as np
import pytest

from intriguing.stats.halves import OF_WHOLE_LISTS, half_list, random_half, standard_errors


def test_a_half_is_drawn_without_replacement_in_order():
    half = random_half(np.random.default_rng(0), 101)
    assert len(half) == 50
    assert (np.diff(half) > 0).all()


@pytest.mark.parametrize(("whole", "half"), [(1, 1), (3, 3), (5, 3), (10, 5), (20, 10)])
def test_a_list_of_a_half_is_half_as_long_but_not_below_three(whole, half):
    assert half_list(whole) == half


def test_halves_give_the_standard_error_of_a_mean_without_a_factor():
    rng = np.random.default_rng(1)
    values = rng.standard_normal(400)
    halves = ({"mean": [float(values[random_half(rng, 400)].mean()), 0.25, -0.25]} for _ in range(2000))
    assert standard_errors(halves)["mean"] == pytest.approx(values.std(ddof=1) / 20, rel=0.05)


def test_two_halves_give_the_sample_standard_deviation_times_the_factor():
    """Natural minus the mean of the rotations: 1 - 2 and 5 - 3."""
    halves = [{"purity": [1.0, 1.0, 3.0]}, {"purity": [5.0, 3.0, 3.0]}]
    assert standard_errors(halves, factor=2.0) == {"purity": pytest.approx(2 * 3 / 2**0.5)}


def test_top_means_need_half_the_list_and_no_factor():
    rng = np.random.default_rng(2)

    def top(values, k):
        return float(np.sort(values)[-k:].mean())

    fresh = np.std([top(rng.standard_normal(1000), 16) for _ in range(600)])
    errors = {8: [], 16: []}
    for _ in range(12):
        values = rng.standard_normal(1000)
        halves = [values[random_half(rng, 1000)] for _ in range(100)]
        for k, own in errors.items():
            own.append(standard_errors({"top": [top(half, k), 0.0]} for half in halves)["top"])
    ratio = {k: np.sqrt(np.mean(np.square(own))) / fresh for k, own in errors.items()}
    assert 0.85 < ratio[8] < 1.2
    assert ratio[16] < 0.85  # twice as deep


def test_means_over_pairs_need_whole_lists_and_their_factor():
    rng = np.random.default_rng(3)
    of_pairs = np.triu(rng.standard_normal((3000, 3000)).astype(np.float32), 1)
    of_pairs += of_pairs.T
    height = rng.standard_normal(3000)

    def mean_pair(items, k):
        best = items[np.argsort(-height[items])[:k]]
        return float(of_pairs[np.ix_(best, best)].sum()) / (k * (k - 1))

    fresh = np.std([mean_pair(rng.permutation(3000)[:300], 12) for _ in range(600)])
    errors = {6: [], 12: []}
    for _ in range(12):
        items = rng.permutation(3000)[:300]
        halves = [items[random_half(rng, 300)] for _ in range(100)]
        for k, own in errors.items():
            factor = OF_WHOLE_LISTS if k == 12 else 1.0
            own.append(standard_errors(({"pairs": [mean_pair(half, k), 0.0]} for half in halves), factor)["pairs"])
    ratio = {k: np.sqrt(np.mean(np.square(own))) / fresh for k, own in errors.items()}
    assert 0.9 < ratio[12] < 1.45
    assert ratio[6] > 1.45
