"""Masked arrays are refused by whatever would take what stands behind the mask."""

import numpy as np
import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.data.arrays import sorted_arrays
from intriguing.errors import DataError, InputError

ROWS = np.ma.masked_less(np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32), 0)
IMAGES = np.ma.masked_less(np.random.default_rng(0).random((4, 3, 3)).astype(np.float32), 0.5)
NET = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))

TAKERS = {
    "a scan": lambda: ig.TopK(ig.Directions.natural(4)).update(ROWS, range(200)),
    "moments": lambda: ig.Moments(4).update(ROWS),
    "a rotation test": lambda: ig.rotation_test(ROWS, rotations=9, subsamples=0, k=2),
    "amplification": lambda: ig.amplify(IMAGES, IMAGES * 0.5, 0.1),
    "noise": lambda: ig.gaussian_noise(IMAGES, 0.1, 0, range(4)),
    "a search": lambda: ig.minimal_distortion(NET, IMAGES, [0, 1, 2, 0]),
    "labels": lambda: ig.minimal_distortion(NET, torch.rand(2, 3, 3), np.ma.masked_equal(np.array([0, 1]), 1)),
    "activations": lambda: list(ig.collect_activations(NET, [IMAGES], "1")),
    "a data set": lambda: sorted_arrays((IMAGES, np.arange(4) % 2), "The data"),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_masked_entries_are_refused(taker):
    with pytest.raises((InputError, DataError), match="masked entries"):
        TAKERS[taker]()


def test_a_mask_that_hides_nothing_is_none():
    plain = np.ma.masked_array(np.ones((2, 4), np.float32), mask=False)
    moments = ig.Moments(4)
    moments.update(plain)
    assert moments.count == 2


def test_tensors_of_half_precision_are_images_as_others_are():
    images = torch.full((4, 3, 3), 0.5, dtype=torch.bfloat16)
    given = sorted_arrays((images, np.arange(4) % 2), "The data")
    assert given.parts["test"][0].dtype == np.float32
    assert ig.amplify(images, images * 0.5, 0.1).rms_after == pytest.approx(0.1)
    with pytest.raises(DataError, match="cannot be read as an array"):
        sorted_arrays((images.to("meta"), np.arange(4) % 2), "The data")
