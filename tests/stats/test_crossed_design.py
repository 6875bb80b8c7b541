import numpy as np
import pytest

from intriguing.errors import InputError
from intriguing.stats.crossed_design import crossed_design


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


@pytest.mark.parametrize("cut", [1, 20])
def test_an_unbalanced_design_is_refused(cut):
    with pytest.raises(InputError, match="same number of seeds"):
        explained(*(column[:-cut] for column in design(lambda m, d: 0)))
