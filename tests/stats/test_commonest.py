"""Whether a model is better than whoever names the commonest class."""

import pytest
from scipy.stats import binom

from intriguing.stats.commonest import CLEARLY, FEWEST, HARDLY, beats_commonest, no_better_than_commonest


@pytest.mark.parametrize("level", [CLEARLY, HARDLY])
@pytest.mark.parametrize(("count", "commonest"), [(40, 0.25), (1_000, 0.1), (50_000, 0.001), (300, 0.97)])
def test_it_is_the_exact_binomial_test(count, commonest, level):
    needed = int(binom.isf(level, count, commonest)) + 1
    assert float(binom.sf(needed - 1, count, commonest)) < level < float(binom.sf(needed - 2, count, commonest))
    assert beats_commonest(needed, count, commonest, level)
    assert not beats_commonest(needed - 1, count, commonest, level)
    assert beats_commonest(count, count, commonest, level) == (commonest**count < level)


def test_a_model_that_is_worse_than_chance_is_told_and_a_good_one_is_not():
    said = no_better_than_commonest("cnn", 0.97, 1_000, 0.11)
    assert said and said.startswith("cnn is wrong on 97% of the test images, no better than") and "(89%)" in said
    assert no_better_than_commonest("cnn", 0.88, 1_000, 0.11)
    assert no_better_than_commonest("cnn", 0.5, 1_000, 0.11) is None
    said = no_better_than_commonest("cnn", 0.89, 1_000, 0.11)
    assert said and ", no better than" in said, "as good is no better"
    said = no_better_than_commonest("cnn", 0.889, 1_000, 0.11)
    assert said and ", hardly better than" in said
    assert no_better_than_commonest("cnn", 0.75, FEWEST, 0.5)
    assert no_better_than_commonest("cnn", 0.75, FEWEST - 1, 0.5) is None, "with so few a good model can look so"
    assert no_better_than_commonest("cnn", 0.1, 100, 1.0) is None, "one class says nothing"
