"""Images of 256 levels that fool: where rounding undoes the change, a larger one of the same direction."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from intriguing.errors import InputError, ModelError
from intriguing.stages.blind_spots.eight_bits import Picture, in_levels, make_fool

WEIGHTS = np.array([0.9, -0.5], np.float32)
KEYS = {"dataset": "d", "model": "m", "model_seed": 0, "target_rule": "untargeted", "grade": "best", "target": None}


class Linear(nn.Module):
    """Two classes: the second where the weighted sum of two pixels exceeds `threshold`."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold

    def forward(self, x):
        score = x.flatten(1).double() @ torch.from_numpy(WEIGHTS).double() - self.threshold
        return torch.stack([torch.zeros_like(score), score], 1)


def found_in(original, threshold):
    """The image of a linear network's boundary that is nearest to `original`, just beyond it."""
    missing = threshold - float(original.ravel() @ WEIGHTS)
    change = WEIGHTS * (missing * (1 + 1e-4) / float(WEIGHTS @ WEIGHTS))
    return (original + change.reshape(original.shape)).astype(np.float32)


def nearest_of_256_levels(original, threshold):
    level = np.arange(256) / 255
    distances = [
        np.hypot(a - original.ravel()[0], b - original.ravel()[1])
        for a, b in itertools.product(level, level)
        if a * WEIGHTS[0] + b * WEIGHTS[1] > threshold
    ]
    return min(distances)


def exported(threshold, original=None, **changes):
    original = np.float32([[[100 / 255, 90 / 255]]]) if original is None else original
    exact = found_in(original, threshold)
    one = Picture({**KEYS, "label": 0, **changes}, exact, original, in_levels(exact))
    return one, make_fool([one], lambda *_: Linear(threshold), search=False)


@pytest.mark.parametrize("steps", [0.31, 0.7, 1.7, 3.4, 9.1])
def test_the_png_of_a_linear_network_is_hardly_farther_than_the_nearest_image_of_256_levels(steps):
    start = np.float32([100 / 255, 90 / 255])
    threshold = float(start @ WEIGHTS) + steps * float(np.linalg.norm(WEIGHTS)) / 255
    one, remarks = exported(threshold)
    assert one.fools
    assert one.distance(one.png) <= nearest_of_256_levels(one.original, threshold) * 1.25 + 1e-6
    assert np.array_equal(in_levels(one.png), one.png)
    assert remarks[0].startswith("1 of 1 PNGs fool")
    assert (one.made == "farther") == (not one.rounded_fools) == ("undid the change" in remarks[0])


def test_where_nothing_on_the_way_fools_the_png_is_the_rounded_image_and_it_is_said():
    white = np.ones((1, 1, 2), np.float32)
    one, remarks = exported(float(white.ravel() @ WEIGHTS) + 0.6, white)  # beyond the box
    assert (one.made, one.fools) == ("rounded", False)
    assert remarks == [
        "0 of 1 PNGs fool the model they were made for. Of 1 image rounding to 8 bits undoes larger changes, too: "
        "--eight-bit searches for others."
    ]


def test_a_png_to_which_the_network_answers_nan_does_not_fool():
    class Blind(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 2), torch.nan)

    original = np.float32([[[100 / 255, 90 / 255]]])
    one = Picture({**KEYS, "label": 1}, original, original, original)
    make_fool([one], lambda *_: Blind(), search=False)
    assert (one.prediction, one.fools, one.rounded_fools) == (-1, False, False)


def test_a_picture_whose_unchanged_image_is_not_to_be_had_is_rounded():
    original = np.float32([[[100 / 255, 90 / 255]]])
    threshold = float(original.ravel() @ WEIGHTS) + 0.31 * float(np.linalg.norm(WEIGHTS)) / 255
    exact = found_in(original, threshold)
    one = Picture({**KEYS, "label": 0}, exact, None, in_levels(exact))
    make_fool([one], lambda *_: Linear(threshold), search=False)
    assert (one.made, one.fools) == ("rounded", False)
    assert one.line("1")["png"] == "rounded" and "l2_of_png" not in one.line("1")


def test_without_the_model_it_is_said_that_nobody_knows_and_a_search_is_refused():
    def gone(*key):
        raise ModelError("it is gone")

    original = np.float32([[[0.5, 0.5]]])
    one = Picture({**KEYS, "label": 0}, original, original, original)
    assert make_fool([one], gone, search=False)[0].startswith("PNGs were not fed to their model: it is gone. They are")
    assert one.fools is None
    with pytest.raises(InputError, match="8-bit images need the model"):
        make_fool([one], gone, search=True)
