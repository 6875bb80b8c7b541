import numpy as np
import pytest
import torch

from intriguing.units.scoring.selectivity import Binned, selectivity
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


def test_selectivity_of_lines_of_which_no_class_has_an_auroc_is_none_and_warns_of_nothing():
    assert np.isnan(selectivity(np.full((2, 3), np.nan))).all()


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


def heavy_tailed(n=1200):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, n)
    lines = np.stack([rng.standard_normal(n) + 0.5 * (labels == 1) for _ in range(3)])
    lines[0] = np.exp(3 * lines[0])
    lines[1] = np.maximum(lines[1] - 1, 0) ** 4
    lines[2, 7] = 1e6
    return lines.astype(np.float32), labels


def test_one_far_value_does_not_hide_the_order_of_the_others():
    scores, labels = heavy_tailed()
    exact = auroc(scores, labels, 3)
    found, bound = binned_auroc(torch.from_numpy(scores), labels, 3)
    assert np.abs(found - exact).max() < 1e-6
    assert np.nanmax(bound) == 0.0
    assert exact[2, 1] > 0.6


def test_usual_lines_beside_a_heavy_tailed_one_are_binned_as_alone():
    scores, labels = scored()
    both = np.concatenate([scores, heavy_tailed(1500)[0]])
    assert np.array_equal(
        binned_auroc(torch.from_numpy(both), labels, 4)[0][:2], binned_auroc(torch.from_numpy(scores), labels, 4)[0][:2]
    )


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 3e38])
def test_projections_of_any_size_have_an_auroc(scale):
    scores, labels = scored(300)
    scores = (np.clip(scores[:1], -1, 1) * np.float32(scale)).astype(np.float32)
    found, bound = binned_auroc(torch.from_numpy(scores), labels, 4)
    assert (np.abs(found - auroc(scores, labels, 4)) <= bound + 1e-6).all()
