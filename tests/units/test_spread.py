"""Histograms of the projections on many directions."""

import numpy as np

from intriguing.units.spread import spread


def test_counts_agree_with_numpy_s_histograms():
    rng = np.random.default_rng(0)
    vectors, columns = rng.normal(size=(500, 7)).astype(np.float32), rng.normal(size=(7, 300)).astype(np.float32)
    found = spread(vectors, columns, bins=10)
    values = vectors @ columns
    for i in (0, 17, 299):
        assert (found.low[i], found.high[i]) == (values[:, i].min(), values[:, i].max())
        expected, _ = np.histogram(values[:, i].astype(float), 10)
        assert np.array_equal(found.counts[i], expected)


def test_a_unit_that_never_answers_fills_one_bin_and_counts_as_zeros():
    vectors = np.array([[0, 1], [0, 2], [0, 4]], np.float32)
    found = spread(vectors, bins=3)
    assert found.counts.tolist() == [[3, 0, 0], [1, 1, 1]]
    assert found.zeros.tolist() == [3, 0]
    assert (found.low.tolist(), found.high.tolist()) == ([0, 1], [0, 4])
