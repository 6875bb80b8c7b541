import numpy as np
import torch

from intriguing.units.selectivity import Binned, selectivity
from tests.units.exact import auroc


def binned_auroc(scores, labels, classes):
    binned = Binned.of(scores)
    return binned.auroc(labels, classes), binned.error_bound(labels, classes)


def scored(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    scores = rng.standard_normal((5, n)).astype(np.float32) + np.outer(np.arange(5), labels == 1).astype(np.float32) / 2
    scores[2] = np.maximum(scores[2], 0)
    scores[3] = np.round(scores[3])
    return scores, labels


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


def test_a_class_without_inputs_has_no_auroc():
    scores, labels = scored(200)
    labels[labels == 3] = 2
    assert np.isnan(binned_auroc(torch.from_numpy(scores), labels, 4)[0][:, 3]).all()
