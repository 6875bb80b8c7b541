"""The gradient of convolutions of few channels."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots import search
from intriguing.blind_spots.network.evaluate import frozen
from intriguing.blind_spots.network.few_channels import (
    Shape,
    pulled,
    pulled_last,
    quick_gradients,
    side_of,
    transposed,
    transposed_last,
)
from intriguing.blind_spots.network.strips import Strips
from intriguing.models.feeding import rows

LAYERS = [
    # in, out, taps, stride, padding, height, width
    (1, 16, 5, 2, 0, 28, 28),
    (3, 8, 3, 2, 1, 33, 17),
    (3, 8, 7, 2, (3, 1), 20, 21),
    (2, 4, 3, 3, 0, 11, 10),
    (2, 4, 2, 3, 1, 9, 12),
    (4, 6, 1, 2, 0, 8, 7),
    (1, 4, 8, 4, 2, 24, 24),
    (1, 4, 5, 1, 2, 13, 12),
    (1, 4, 3, 1, 1, 9, 9),
    (3, 8, 3, 1, 1, 32, 32),
    (2, 3, 3, 1, 4, 6, 7),
]
STRIPS = {
    # in, out, taps, stride, padding, height, width: places of the output side by side
    (1, 16, 5, 2, 0, 28, 28): 6,
    (16, 32, 5, 2, 0, 12, 12): 2,
    (1, 16, 4, 2, 1, 28, 28): 7,
    (1, 32, 5, 2, 2, 28, 28): 7,
    (8, 16, 5, 2, 0, 12, 12): 4,
    (2, 4, 5, 4, 2, 17, 23): 6,
    (2, 4, 2, 3, 1, 9, 12): 5,
    (3, 8, 5, 2, (1, 2), 20, 21): 11,
    (3, 8, 3, 2, 1, 16, 18): 9,
}


@pytest.mark.parametrize("spec", LAYERS)
def test_the_gradient_is_that_of_autograd(spec):
    *layer, high, wide = spec
    torch.manual_seed(0)
    model = nn.Conv2d(*layer).double().requires_grad_(False)
    x = torch.rand(5, layer[0], high, wide, dtype=torch.float64, requires_grad=True)
    y = model(x)
    weights = torch.randn_like(y)
    (usual,) = torch.autograd.grad(y, x, weights)
    shape = Shape.of(model, x)
    assert shape.side > 1
    assert torch.allclose(pulled(weights, transposed(model.weight, shape), shape), usual, atol=1e-12)
    last = pulled_last(weights, transposed_last(model.weight, shape), shape)
    assert last.shape == usual.shape and torch.allclose(last, usual, atol=1e-12)


@pytest.mark.parametrize("spec", STRIPS)
def test_the_gradient_by_strips_is_that_of_autograd_for_any_number_of_rows(spec):
    *layer, high, wide = spec
    torch.manual_seed(0)
    model = nn.Conv2d(*layer).double().requires_grad_(False)
    x = torch.rand(40, layer[0], high, wide, dtype=torch.float64, requires_grad=True)
    y = model(x)
    weights = torch.randn_like(y).contiguous(memory_format=torch.channels_last)
    (usual,) = torch.autograd.grad(y, x, weights)
    shape = Shape.of(model, x)
    assert shape.outputs == y.shape[2:]
    strips = Strips.of(model.weight, shape)
    assert strips is not None and strips.width == STRIPS[spec]
    found = strips(weights)
    assert found.shape == usual.shape and torch.allclose(found, usual, atol=1e-12)
    assert all(torch.allclose(strips(weights[:count]), usual[:count], atol=1e-12) for count in (1, 8))


@pytest.mark.parametrize(
    "spec",
    [
        # stride 1; outputs in a row of a prime number; so many values that they would leave the cache
        (3, 8, 3, 1, 1, 32, 32),
        (16, 32, 4, 2, 1, 14, 14),
        (3, 16, 5, 2, 0, 32, 32),
    ],
)
def test_there_are_no_strips_where_a_convolution_is_quicker(spec):
    *layer, high, wide = spec
    model = nn.Conv2d(*layer)
    assert Strips.of(model.weight, Shape.of(model, torch.rand(1, layer[0], high, wide))) is None


def test_a_square_fills_a_vector_and_grows_with_the_taps_alone():
    assert [side_of(1, taps, 1) for taps in (1, 2, 3, 5)] == [1, 1, 2, 4]
    assert [side_of(channels, 5, 1) for channels in (1, 2, 3, 4)] == [4, 2, 2, 2]
    assert [side_of(channels, 5, 2) for channels in (1, 3)] == [4, 2]


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(54, 4)
    ).eval()


def gradient(model, x):
    leaf = x.clone().requires_grad_()
    z = model(leaf)
    return z.detach(), torch.autograd.grad(z[:, 0].sum(), leaf)[0], z.grad_fn


def test_inside_the_logits_are_the_same_to_the_bit_and_afterwards_all_is_as_before():
    model, x = network(), torch.rand(32, 2, 14, 14)
    before = {name: dict(module.__dict__) for name, module in model.named_modules()}
    logits, slope, _ = gradient(model, x)
    with frozen(model), quick_gradients(model):
        again, quick, _ = gradient(model, x)
        assert "_conv_forward" in model[0].__dict__
        assert torch.equal(model(x), logits)
        assert torch.equal(gradient(model, x[:32])[1][:8], gradient(model, torch.cat([x[:8], x[:24]]))[1][:8])
    assert torch.equal(again, logits)
    assert torch.allclose(quick, slope, atol=1e-6) and not torch.equal(quick, torch.zeros_like(slope))
    assert {name: dict(module.__dict__) for name, module in model.named_modules()} == before


def test_a_weight_that_changes_between_two_calls_is_noticed():
    model, x = network(), torch.rand(4, 2, 14, 14)
    with frozen(model), quick_gradients(model):
        gradient(model, x)
        with torch.no_grad():
            model[0].weight.mul_(-2)
        _, quick, _ = gradient(model, x)
    assert torch.allclose(quick, gradient(model, x)[1], atol=1e-6)


def test_layers_that_it_was_not_made_for_are_left_alone():
    class Own(nn.Conv2d):
        """A layer whose forward a user may have changed."""

    model = nn.Sequential(
        nn.Conv2d(5, 4, 3, 2), nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, 2, groups=2), nn.Conv2d(1, 4, (3, 5), 2),
        nn.Conv2d(4, 4, 3, 2, dilation=2, padding=2),
        nn.Conv2d(4, 4, 3, 2, padding=1, padding_mode="reflect"), nn.Conv2d(4, 4, 3, (2, 1), padding=1),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, 2, 1)), Own(4, 4, 3, 2, 1),
    )  # fmt: skip
    with frozen(model), quick_gradients(model):
        assert not any("_conv_forward" in module.__dict__ for module in model.modules())
    seen = copy.deepcopy(network())
    with quick_gradients(seen):  # its weights need a gradient
        z = seen(torch.rand(2, 2, 14, 14))
        z.sum().backward()
    assert seen[0].weight.grad is not None


@pytest.mark.parametrize(("dear", "expected"), [(1e9, 1), (1.0, 0)])
def test_networks_whose_rows_are_dear_keep_the_gradient_of_torch(monkeypatch, dear, expected):
    used = []
    monkeypatch.setattr(rows, "MIDDLE", 1.0)
    monkeypatch.setattr(rows, "DEAR", dear)
    monkeypatch.setattr(search, "quick_gradients", lambda model: used.append(model) or nullcontext())
    model, x = network(), torch.rand(1, 2, 14, 14)
    minimal_distortion(model, x, model(x).argmax(1), options=SearchOptions(grade="fast"))
    assert len(used) == expected
