"""What a search refuses before any work, in the words that a person reads."""

import pytest
import torch
from torch import nn

from intriguing.blind_spots import minimal_distortion
from intriguing.errors import InputError

MODEL = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
IMAGES = torch.full((2, 1, 2, 2), 0.5)


def test_a_target_equal_to_the_label_is_named():
    with pytest.raises(InputError, match="The target of example 0 is its label, 0; give a wrong class"):
        minimal_distortion(MODEL, IMAGES, torch.tensor([0, 1]), torch.tensor([0, 2]))


def test_a_label_that_is_no_class_of_the_model_is_refused():
    with pytest.raises(InputError, match="7"):
        minimal_distortion(MODEL, IMAGES, torch.tensor([0, 7]))
