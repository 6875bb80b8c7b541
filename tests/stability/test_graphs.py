"""Random graphs of all operations with a norm: nothing moves further than their bounds allow, no search comes below."""

from dataclasses import replace

import pytest

from intriguing.stability import norms

from . import graphs


def wrong_among(seeds, search=False):
    tried = [graphs.trial(seed, search) for seed in seeds]
    assert sum(bounded for _, bounded in tried) > 0.8 * len(tried)
    return [one for wrong, _ in tried for one in wrong]


def test_no_slope_of_a_random_graph_is_above_its_bound():
    assert not wrong_among(range(40))


def test_no_search_result_of_a_random_graph_lies_below_its_bound():
    assert not wrong_among(range(100, 105), search=True)


@pytest.mark.parametrize(
    ("kind", "seed"), [("product", 31), ("sort", 17), ("vector_norm", 7), ("logsumexp", 23), ("softsign", 8)]
)
def test_a_bound_that_is_too_small_is_caught(kind, seed, monkeypatch):
    true = norms.gain

    def smaller(op, *shapes, **kwargs):
        one = true(op, *shapes, **kwargs)
        return replace(one, upper=0.7 * one.upper) if op.kind == kind else one

    monkeypatch.setattr(norms, "gain", smaller)
    assert graphs.trial(seed)[0]
