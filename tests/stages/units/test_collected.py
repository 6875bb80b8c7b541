"""The rows that a network gives its inputs, and its answers to them."""

import numpy as np
import torch
from torch import nn

from intriguing.activations import CollectOptions
from intriguing.data import Split
from intriguing.stages.units.tasks.activations import collected


class Blind(nn.Module):
    """A network that answers NaN where an image is bright, and class 1 to all others."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Flatten()

    def forward(self, x):
        bright = self.layer(x).mean(dim=1) > 0.5
        logits = torch.tensor([0.0, 1.0, 0.0]).repeat(len(x), 1)
        logits[bright, 2] = torch.nan
        return logits


def test_an_answer_of_nan_is_none():
    """Its place was taken for a class, so that the network was right where that was the label."""
    images = np.array([0, 255, 0, 255], np.uint8).repeat(4).reshape(4, 1, 2, 2)
    part = Split(images, np.array([1, 2, 0, 2]), np.arange(4))
    [(layer, rows)] = collected(
        Blind(), part, np.arange(4), ["layer"], CollectOptions(slots=8, output=True), "float32", []
    )
    assert (layer, rows.ids.tolist()) == ("layer", [0, 1, 2, 3])
    assert rows.predictions.tolist() == [1, -1, 1, -1]
