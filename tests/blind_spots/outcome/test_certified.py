"""A search's other end: proven bounds, and results that are proven to be optimal."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.basics.precision import Precision
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.outcome import certified
from intriguing.errors import UnknownNameError


def network(act=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), act(), nn.Linear(8, 3)).eval()


def test_a_bound_is_rounded_down_to_the_type_of_the_result(monkeypatch):
    model, images = network(), torch.rand(3, 1, 4, 4)
    proven = float(torch.tensor(0.1)) - 1e-10  # nearest in float32 is 0.1 itself, which is larger
    bounds = SimpleNamespace(bound=torch.full((3,), proven, dtype=torch.float64), method="lines", reason="")
    monkeypatch.setattr(certified, "lower_bounds", lambda *_, **__: bounds)
    result = minimal_distortion(model, images, model(images).argmax(1), options=SearchOptions(bounds="fast"))
    assert result.lower_bound.dtype == torch.float32
    assert bool((result.lower_bound.double() <= proven).all()) and bool((result.lower_bound > 0.0999999).all())


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


@pytest.mark.parametrize(("lower", "upper"), [(torch.zeros(1, 1, 4), 1.0), (0.0, torch.linspace(1, 1.5, 4))])
def test_a_bound_may_be_a_tensor_on_one_side_and_a_number_on_the_other(lower, upper):
    x, model = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1)), network()
    options = SearchOptions("fast", lower=lower, upper=upper, bounds="fast")
    result = minimal_distortion(model, x, model(x).argmax(1), options=options)
    assert set(result.status) == {"found"} and bool((result.lower_bound > 0).all())
    assert not bool((result.lower_bound > result.l2).any())


def in_tf32(x):
    """The nearest number of 11 significant bits, as a GPU rounds the factors of a product."""
    return x + (((x.detach().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32) - x.detach())


class Tf32(nn.Module):
    """`model`, a chain of dense layers and ReLUs, as a GPU evaluates it where TF32 is allowed."""

    def __init__(self, model):
        super().__init__()
        self.layers = model

    def forward(self, x):
        for layer in self.layers:
            dense = isinstance(layer, nn.Linear)
            x = nn.functional.linear(in_tf32(x), in_tf32(layer.weight), layer.bias) if dense else layer(x)
        return x


@pytest.mark.parametrize("depth", [1, 2])
def test_a_bound_holds_where_products_are_rounded_to_tf32(depth):
    torch.manual_seed(0)
    inner = [nn.Linear(16, 16), nn.ReLU()] if depth == 2 else []
    model = nn.Sequential(nn.Flatten(), *inner, nn.Linear(16, 6)).requires_grad_(False)
    x = torch.rand(100, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    rounded = Tf32(model)
    labels = model(x).argmax(1)
    keep = rounded(x).argmax(1) == labels
    x, labels = x[keep], labels[keep]
    found = minimal_distortion(rounded, x, labels).l2
    options = SearchOptions("fast", bounds="fast")
    with Precision.all("tf32").used():
        bound = minimal_distortion(model, x, labels, options=options).lower_bound
    assert not bool((bound > found).any())
    in_full = minimal_distortion(model, x, labels, options=options).lower_bound
    assert 0.5 < float(bound.nan_to_num(0).mean() / in_full.mean()) < 1
    if depth == 1:
        assert bool((in_full > found).any())


def test_tries_of_classes_that_are_proven_to_be_farther_are_dropped():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 8)).eval()
    x = torch.rand(24, 1, 6, 6)
    labels = model(x).argmax(1)
    plain, proven = (
        minimal_distortion(model, x, labels, "every", SearchOptions(bounds=b, classes=7)) for b in ("linear", "fast")
    )
    assert plain.status == proven.status and torch.equal(plain.l2, proven.l2)
    # What is dropped is less work, for no image more, and the nearest class is never dropped.
    assert bool((proven.backward_passes <= plain.backward_passes).all())
    assert proven.backward_passes.sum() < 0.97 * plain.backward_passes.sum()
    assert proven.backward_rows < plain.backward_rows


def test_nothing_is_excluded_of_an_image_without_a_success_or_that_is_wrong_before():
    model = network()
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = model(x).argmax(1)
    prover = certified.Certifier(model, Box(0.0, 1.0), (1, 4, 4), "fast", Precision.now())
    mask = prover.excluded(x.flatten(1), labels, torch.tensor([1e-3, 0.0, torch.inf]))
    assert mask.sum(1).tolist() == [2, 0, 0] and not bool(mask.gather(1, labels.unsqueeze(1)).any())


def test_classes_are_not_excluded_where_that_costs_more_than_searches(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 8)).eval()
    x = torch.rand(4, 1, 6, 6)
    labels = model(x).argmax(1)
    monkeypatch.setattr(certified, "_PRUNING", 0.0)
    monkeypatch.setattr(certified, "excluded_classes", None)
    assert bool((minimal_distortion(model, x, labels, "every", SearchOptions(bounds="fast")).lower_bound > 0).all())
