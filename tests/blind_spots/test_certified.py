"""A search's other end: proven bounds, and results that are proven to be optimal."""

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.errors import UnknownNameError


def network(act=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), act(), nn.Linear(8, 3)).eval()


def test_a_search_may_carry_a_proven_bound():
    x, model = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1)), network()
    x[0] = 3.0
    labels = model(x).argmax(1)
    plain = minimal_distortion(model, x, labels)
    assert bool(plain.lower_bound.isnan().all()) and plain.is_optimal == [False] * 12
    proven = minimal_distortion(model, x, labels, options=SearchOptions(bounds="fast"))
    assert torch.equal(proven.adversarial, plain.adversarial)
    searched = [status != "bad_input" for status in proven.status]
    assert searched == [False] + [True] * 11
    bound, found = proven.lower_bound[searched], proven.l2[searched]
    assert bool((bound > 0).all()) and not bool((bound > found).any())
    assert float((bound / found).nanmedian()) > 0.3
    assert any("Lower bounds: lines" in note for note in proven.notes)
    targets = (labels + 1) % 3
    aimed = minimal_distortion(model, x, labels, targets, SearchOptions(bounds="fast"))
    assert not bool((aimed.lower_bound[1:] > aimed.l2[1:]).any()) and bool((aimed.lower_bound[1:] > 0).all())


def test_what_stands_in_the_way_of_a_proof_is_noted():
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    x, model = torch.rand(4, 1, 4, 4), network(Gate)
    result = minimal_distortion(model, x, model(x).argmax(1), options=SearchOptions("fast", bounds="fast"))
    assert bool(result.lower_bound.isnan().all())
    assert any("product of two inputs" in note for note in result.notes)


def test_the_optimum_of_a_linear_model_is_told_as_such():
    torch.manual_seed(0)
    x, model = torch.rand(24, 1, 4, 4), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    result = minimal_distortion(model, x, model(x).argmax(1))
    assert sum(result.is_optimal) >= 20
    with pytest.raises(UnknownNameError, match="fast"):
        SearchOptions(bounds="quick")
