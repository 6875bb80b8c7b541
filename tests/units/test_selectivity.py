import itertools

import numpy as np
import pytest
import torch

import intriguing as ig
from intriguing.errors import InputError
from intriguing.units import Moments
from intriguing.units.selectivity import AurocHistogram, auroc, binned_auroc, selectivity


def scored(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    scores = rng.standard_normal((5, n)).astype(np.float32) + np.outer(np.arange(5), labels == 1).astype(np.float32) / 2
    scores[2] = np.maximum(scores[2], 0)
    scores[3] = np.round(scores[3])
    return scores, labels


def by_pairs(line, labels, c):
    inside, outside = line[labels == c], line[labels != c]
    above = inside[:, None] > outside
    return (above + 0.5 * (inside[:, None] == outside)).mean()


def test_auroc_is_the_share_of_pairs_in_order():
    scores, labels = scored(400)
    found = auroc(scores, labels, 4)
    for line in range(5):
        assert np.allclose(found[line], [by_pairs(scores[line], labels, c) for c in range(4)])


def test_selectivity_takes_the_strongest_class_of_either_sign():
    assert np.allclose(selectivity(np.array([[0.5, 0.6, 0.1], [0.5, 0.9, np.nan]])), [0.8, 0.8])


def test_binned_auroc_keeps_its_bound():
    scores, labels = scored()
    exact = auroc(scores, labels, 4)
    found, bound = binned_auroc(torch.from_numpy(scores), labels, 4)
    assert (np.abs(found - exact) <= bound + 1e-6).all()
    assert np.abs(found - exact).max() < 1e-3
    assert bound[[0, 1, 4]].max() < 2e-3


def test_a_unit_that_never_varies_is_at_chance():
    labels = np.arange(40) % 4
    assert np.allclose(binned_auroc(torch.zeros(1, 40), labels, 4)[0], 0.5)
    assert np.allclose(auroc(np.zeros((1, 40)), labels, 4), 0.5)


def test_a_class_without_inputs_has_no_auroc():
    scores, labels = scored(200)
    labels[labels == 3] = 2
    assert np.isnan(auroc(scores, labels, 4)[:, 3]).all()
    assert np.isnan(binned_auroc(torch.from_numpy(scores), labels, 4)[0][:, 3]).all()


def histogram(rows, labels, cuts, **options):
    moments = Moments(6, with_covariance=True)
    moments.update(rows)
    directions = ig.Directions.haar(6, 1)
    made = AurocHistogram.from_moments(directions, moments, 3, **options)
    edges = [0, *cuts, len(rows)]
    parts = []
    for a, b in itertools.pairwise(edges):
        part = AurocHistogram(directions, 3, made.low, made.high, made.bins)
        part.update(rows[a:b], labels[a:b])
        parts.append(part)
    for part in reversed(parts):
        made.merge(part)
    return made, directions


def test_a_histogram_in_shards_keeps_its_error_bound():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 4000)
    rows = (rng.standard_normal((4000, 6)) + labels[:, None] * 0.3).astype(np.float32)
    whole, directions = histogram(rows, labels, [])
    shards, _ = histogram(rows, labels, [1, 777, 3000])
    assert np.array_equal(whole.counts, shards.counts)
    exact = auroc((rows @ directions.columns).T, labels, 3)
    assert (np.abs(whole.auroc() - exact) <= whole.error_bound() + 1e-12).all()
    assert whole.error_bound().max() < 1e-3
    rough, _ = histogram(rows, labels, [], bins=8)
    assert (np.abs(rough.auroc() - exact) <= rough.error_bound() + 1e-12).all()
    assert rough.error_bound().max() > 0.05


def test_scores_outside_the_bins_are_counted_at_the_ends():
    made = AurocHistogram(ig.Directions.natural(1), 2, np.array([0.0]), np.array([1.0]), bins=4)
    made.update(np.array([[-5.0], [9.0]]), np.array([0, 1]))
    assert made.auroc().tolist() == [[0.0, 1.0]]


def test_histograms_of_other_bins_are_not_merged():
    a, b = (AurocHistogram(ig.Directions.natural(1), 2, np.zeros(1), np.ones(1), bins=n) for n in (4, 8))
    with pytest.raises(InputError):
        a.merge(b)
