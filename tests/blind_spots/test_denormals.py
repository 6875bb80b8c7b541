"""A search takes denormal numbers for zero, where that costs nothing but time."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.blind_spots import batch_search

IMAGES = torch.rand(6, 32, generator=torch.Generator().manual_seed(0))
TINY = torch.finfo(torch.float32).tiny


class Watched(nn.Module):
    """Two layers, the first 8 inputs of which have weights as weight decay leaves them at pixels that are black."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        first, last = nn.Linear(32, 16), nn.Linear(16, 3)
        self.layers = nn.Sequential(first, nn.Sigmoid(), last)
        with torch.no_grad():
            first.weight[:, 8:] *= 8
            first.weight[:, :8] *= 1e-37
            last.bias -= self.layers(IMAGES).mean(0)
        self.requires_grad_(False)
        self.zero = []

    def forward(self, x):
        self.zero.append(not torch.full((64,), TINY).mul(0.5).any())
        return self.layers(x)


def searched(model, **options):
    labels = model(IMAGES).argmax(1)
    model.zero = []
    found = ig.minimal_distortion(model, IMAGES, labels, None, ig.SearchOptions(**options))
    assert set(found.status) == {"found"}
    return found


@pytest.mark.parametrize("grade", ["best", "fast", "faithful"])
def test_what_is_found_is_the_same_and_the_callers_numbers_are_as_before(monkeypatch, grade):
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot take denormal numbers for zero")
    model = Watched()
    found = searched(model, grade=grade)
    assert False in model.zero[model.zero.index(True) :]  # a result is confirmed with the caller's numbers
    assert torch.full((64,), TINY).mul(0.5).any()
    monkeypatch.setattr(batch_search, "without_denormals", nullcontext)
    usual = searched(model, grade=grade)
    assert not any(model.zero)
    assert torch.equal(found.l2, usual.l2) and torch.equal(found.forward_passes, usual.forward_passes)
    torch.testing.assert_close(found.adversarial, usual.adversarial, rtol=0, atol=1e-30)
