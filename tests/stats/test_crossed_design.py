import itertools

import numpy as np
import pytest
import scipy.stats

from intriguing.errors import InputError
from intriguing.stats.crossed_design import _resampled, _statistic, crossed_design, least_p_values


def explained(*columns, draws=300):
    return crossed_design(*columns, rng=np.random.default_rng(0), draws=draws)


def design(effect, seed=0, seeds=3, noise=0.5):
    rng = np.random.default_rng(seed)
    rows = [
        (m, d, effect(i, j) + noise * rng.standard_normal())
        for i, m in enumerate(["softmax", "mlp", "cnn"])
        for j, d in enumerate(["mnist", "fashion", "cifar10"])
        for _ in range(seeds)
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def test_an_outcome_of_the_model_is_told_from_one_of_the_data():
    assert explained(*design(lambda m, d: 3 * m)).sentence.startswith("The outcome comes from the model:")
    data = explained(*design(lambda m, d: 3 * d, seed=1))
    assert data.sentence.startswith("The outcome comes from the data:")
    assert data.sources[1].share > 0.9
    assert data.by_data["cifar10"][1] > 5


def test_nothing_is_found_in_noise_more_often_than_chance_has_it():
    found = np.array(
        [[s.p for s in explained(*design(lambda m, d: 0, seed=s), draws=99).sources[:3]] for s in range(60)]
    )
    assert ((found <= 0.05).sum(axis=0) <= 9).all()


def test_a_combination_is_neither_alone():
    answer = explained(*design(lambda m, d: 4.0 * (m == d), seed=3))
    assert answer.sources[2].p < 0.05
    assert answer.sources[2].share > 0.8
    assert answer.sentence.startswith("The outcome comes from the combination of model and data, from neither alone:")


def test_shares_add_up_and_lie_in_their_intervals():
    answer = explained(*design(lambda m, d: m + d, seed=2))
    assert np.isclose(sum(s.share for s in answer.sources), 1)
    for source in answer.sources[:2]:
        assert source.low <= source.share <= source.high
    assert "from both" in answer.sentence


def test_cells_drawn_again_vary_as_much_as_their_seeds_do():
    cells = np.broadcast_to([0.0, 1.0, 5.0], (200, 200, 3))
    means = _resampled(cells, np.random.default_rng(0)).mean(axis=2)
    assert means.mean() == pytest.approx(2, abs=0.03)
    assert means.var() == pytest.approx(np.var([0, 1, 5], ddof=1) / 3, rel=0.03)


def test_a_mean_effect_has_student_s_interval():
    effects = [0.0, 1.0, 4.0, 7.0, 2.0, 2.0, 2.0, 2.0]
    names = [(m, d) for m in ("cnn", "mlp") for d in ("cifar10", "mnist") for _ in range(2)]
    answer = explained(*zip(*names, strict=True), effects, draws=2)
    # Variances 0.5 and 4.5 within the two cells of the CNN: their mean over 4 entries, with 2 degrees of freedom.
    half = scipy.stats.t.ppf(0.975, 2) * np.sqrt(2.5 / 4)
    assert answer.by_model["cnn"] == pytest.approx((3, 3 - half, 3 + half))
    assert answer.by_model["mlp"] == (2, 2, 2)


@pytest.mark.parametrize(("seeds", "noise"), [(2, [1.0, 1.0, 1.0]), (3, [1.0, 5.0, 1.0])])
def test_the_interval_of_a_mean_effect_holds_it_as_often_as_it_says(seeds, noise):
    held = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        names = [(m, d) for m in range(3) for d in range(2) for _ in range(seeds)]
        effects = [10.0 * m + noise[m] * rng.standard_normal() for m, _ in names]
        columns = ([f"model {m}" for m, _ in names], [f"data {d}" for _, d in names], effects)
        means = crossed_design(*columns, rng=rng, draws=1).by_model
        held += [low <= 10.0 * m <= high for m, (_, low, high) in enumerate(means.values())]
    # 600 intervals, of which 570 are expected, with a standard deviation of 5.3.
    assert 550 <= sum(held) <= 588


@pytest.mark.parametrize("cut", [1, 20])
def test_an_unbalanced_design_is_refused(cut):
    with pytest.raises(InputError, match="same number of seeds"):
        explained(*(column[:-cut] for column in design(lambda m, d: 0)))


def test_p_values_are_those_of_all_permutations():
    rng = np.random.default_rng(3)
    effects = rng.normal(size=(2, 2, 2)) + np.array([0.0, 1.5])[:, None, None]

    def ratio(cells):
        within = ((cells - cells.mean(axis=2, keepdims=True)) ** 2).sum()
        return 4 * ((cells.mean(axis=(1, 2)) - cells.mean()) ** 2).sum() / within

    orders = list(itertools.permutations(range(4)))
    permuted = [
        np.stack([effects[:, d].ravel()[list(order)].reshape(2, 2) for d, order in enumerate(pair)], axis=1)
        for pair in itertools.product(orders, orders)
    ]
    exact = np.mean([ratio(cells) >= ratio(effects) * (1 - 1e-12) for cells in permuted])
    names = [(m, d) for m in ("mlp", "cnn") for d in ("mnist", "cifar10") for _ in range(2)]
    # The design sorts its models and data sets by name; the statistic of the models does not depend on that.
    answer = explained(*zip(*names, strict=True), effects.ravel(), draws=4000)
    assert abs(answer.sources[0].p - exact) < 0.03


@pytest.mark.parametrize(("sizes", "levels"), [((2, 2, 2), 1), ((3, 2, 2), 1), ((2, 3, 2), 0)])
def test_the_least_p_is_that_of_the_clearest_effect_over_all_arrangements(sizes, levels):
    """Of the factor with two levels: `levels` is its axis."""
    cells = np.random.default_rng(1).normal(size=sizes) * 0.01
    cells[(slice(None),) * levels + (1,)] += 100
    rows = np.moveaxis(cells, levels, 1).reshape(sizes[1 - levels], -1)
    places = range(rows.shape[1])
    ways = [
        [np.stack([row[list(chosen)], np.delete(row, chosen)]) for chosen in itertools.combinations(places, sizes[2])]
        for row in rows
    ]
    reached = [
        _statistic(np.moveaxis(np.stack(some), 1, levels))[levels] >= _statistic(cells)[levels] * (1 - 1e-12)
        for some in itertools.product(*ways)
    ]
    name = ("model", "data")[levels]
    assert np.mean(reached) == pytest.approx(least_p_values(*sizes)[name])
    models, data = ([str(place[axis]) for place in np.ndindex(sizes)] for axis in (0, 1))
    source = explained(models, data, cells.ravel(), draws=400).sources[levels]
    assert (source.name, source.p >= least_p_values(*sizes)[name]) == (name, True)


def test_so_few_networks_that_nothing_can_be_found_are_told():
    names = [(m, d) for m in ("cnn", "mlp") for d in ("cifar10", "mnist") for _ in range(2)]
    effects = [100 * (m == "mlp") + 0.01 * n for n, (m, _) in enumerate(names)]
    for seed in range(5):  # by chance 2,000 permutations hold fewer such ones than the 2 of 36 that there are
        answer = crossed_design(*zip(*names, strict=True), effects, rng=np.random.default_rng(seed))
        assert answer.sources[0].p >= 2 / 36
    assert answer.sentence.startswith(
        "Undecided whether the outcome comes from the model or the data, as no p of so few networks can fall below "
        "0.056 (three seeds are enough): model 100%"
    )
    crossed = [100 * ((m == "mlp") == (d == "mnist")) + 0.01 * n for n, (m, d) in enumerate(names)]
    answer = crossed_design(*zip(*names, strict=True), crossed, rng=np.random.default_rng(0))
    assert "but their combination explains a part of it: " in answer.sentence
    assert all(p * 10 <= 0.05 for p in least_p_values(3, 3, 2).values())


def test_rounding_is_not_taken_for_spread():
    equal = explained(*design(lambda m, d: 0.1, noise=0))
    assert [(s.share, s.p) for s in equal.sources] == [(0, 1), (0, 1), (0, 1), (0, None)]
    assert equal.sentence.startswith("Neither the model nor the data explains the outcome")
    added = explained(*design(lambda m, d: 0.1 * m + 0.7 * d, noise=0))
    assert (added.sources[2].share, added.sources[2].p, added.sources[3].share) == (0, 1, 0)
