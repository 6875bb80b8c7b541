"""A network cut at a layer: both halves together are the network, and what cannot be cut is refused."""

import pytest
import torch
from torch import nn

from intriguing.blind_spots import minimal_distortion
from intriguing.errors import InputError, ModelError, UnknownNameError
from intriguing.hardening import Cut
from intriguing.hardening.cutting import check_dropout, check_layers, dropout_layers, dropping, pool_layers
from intriguing.models import build_model
from tests.hardening.nets import Functional, Pair, Skipping, Twice, Unused, chain, images, seeded


@pytest.mark.parametrize(
    ("make", "layer"),
    [(chain, "hidden1"), (chain, "hidden2"), (chain, "hidden1.linear"), (Functional, "block"), (chain, "input")],
)
def test_the_halves_of_a_cut_network_are_the_network(make, layer):
    net = seeded(make)
    cut = Cut(net, layer, images())
    x = images(5) + 0.0
    assert torch.equal(cut.upper(cut.activations(x)), net(x))


def test_a_plain_sequence_is_sliced_so_that_a_linear_top_is_solved_exactly():
    net = seeded(chain)
    proven = []
    for layer in ("hidden1", "hidden2"):
        cut = Cut(net, layer, images())
        result = minimal_distortion(cut.upper, cut.activations(images()), net(images()).argmax(1))
        proven.append(bool(result.lower_bound.isfinite().any()))
    assert proven == [False, True]


def test_the_paper_s_network_and_a_convolutional_one_can_be_cut():
    for name, layer in (("mlp", "hidden1"), ("cnn", "conv1")):
        net = build_model(name, (1, 28, 28), 10)
        x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        cut = Cut(net.eval(), layer, x)
        assert torch.allclose(cut.upper(cut.activations(x)), net(x), atol=1e-6)


def test_a_next_layer_that_works_in_place_does_not_change_the_activations():
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)))
    cut = Cut(net, "1", images())
    assert (cut.activations(images()) < 0).any()
    assert torch.equal(cut.activations(images()), net[1](net[0](images())))


@pytest.mark.parametrize(
    ("make", "layer", "bounds"),
    [
        (chain, "hidden1", (0, 1)),
        (chain, "hidden1.linear", (-torch.inf, torch.inf)),
        (chain, "input", (0, 1)),
        (lambda: chain(nn.ReLU), "hidden1", (0, torch.inf)),
        (lambda: chain(nn.Tanh), "hidden2", (-1, 1)),
        (Functional, "block", (0, torch.inf)),
        (Functional, "block.linear", (-torch.inf, torch.inf)),
    ],
)
def test_the_bounds_of_a_layer_follow_from_what_makes_its_output(make, layer, bounds):
    cut = Cut(seeded(make), layer, images())
    assert cut.bounds == bounds
    low, high = cut.box
    largest = float(cut.activations(images()).abs().max())
    assert low == max(bounds[0], -3 * largest)
    assert high == min(bounds[1], 3 * largest)


@pytest.mark.parametrize(
    ("make", "layer", "told"),
    [
        (Skipping, "block", "something passes by layer 'block'"),
        (Twice, "block", "runs 2 times in one forward"),
        (Pair, "block", "does not give one tensor of floats with a row per image"),
        (lambda: nn.Sequential(Functional(), nn.Identity()), "0.block.linear", None),
    ],
)
def test_what_cannot_be_cut_is_refused(make, layer, told):
    if told is None:  # a sequence around a module with a forward of its own is cut with hooks
        assert not isinstance(Cut(seeded(make), layer, images()).upper, nn.Sequential)
        return
    with pytest.raises(ModelError, match=told):
        Cut(seeded(make), layer, images())


def test_a_layer_that_is_not_there_and_one_that_does_not_run_are_refused():
    with pytest.raises(UnknownNameError, match="hidden1"):
        Cut(seeded(chain), "hidden", images())
    net = seeded(Unused)
    with pytest.raises(ModelError, match="does not run"):
        Cut(net, "unused", images())
    named = nn.Sequential()
    named.add_module("input", nn.Flatten())
    with pytest.raises(ModelError, match="rename the module"):
        Cut(named, "input", images())


def test_changed_activations_are_clipped_and_reach_the_layers_below_or_not():
    net = seeded(chain)
    cut = Cut(net, "hidden1", images())
    changes = torch.full((8, 8), 5.0)
    assert torch.equal(cut.forward_changed(images(), changes, fixed=True), cut.upper(torch.ones(8, 8)))
    small = torch.full((8, 8), 1e-3)
    for fixed in (True, False):
        net.zero_grad(set_to_none=True)
        cut.forward_changed(images(), small, fixed=fixed).sum().backward()
        assert (net.hidden1.linear.weight.grad is None) == fixed
        assert net.hidden2.linear.weight.grad is not None
    assert torch.equal(net(images()), net(images()))
    assert not net.hidden1._forward_hooks


def test_the_layers_of_the_pools_are_the_input_and_those_of_the_spec():
    net = seeded(chain)
    assert pool_layers(net, ["hidden1", "hidden2"], "each") == ("input", "hidden1", "hidden2")
    assert pool_layers(net, ["hidden1", "hidden2"], "top") == ("hidden1", "hidden2")
    assert pool_layers(net, ["hidden?.activation"], "top") == ("hidden1.activation", "hidden2.activation")
    assert pool_layers(net, ["hidden2", "input"], "named") == ("input", "hidden2")
    with pytest.raises(InputError, match="a layer's output"):
        pool_layers(net, ["hidden1:in"], "named")


def test_a_pool_above_which_nothing_can_be_trained_is_refused():
    with pytest.raises(ModelError, match="no weights lie above layer 'logits'"):
        check_layers(seeded(chain), ["input", "logits"], images())
    check_layers(seeded(chain), ["input", "logits"], images(), fixed=False)
    with pytest.raises(ModelError, match="no weights lie above layer 'head'"):
        check_layers(seeded(Functional), ["input", "block", "head"], images())


@pytest.mark.parametrize(
    ("make", "layers", "told"),
    [
        (Pair, ["block"], "does not give one tensor of floats"),
        (chain, ["hidden1", "logits"], "dropout would drop classes"),
        (Functional, ["head"], "dropout would drop classes"),
        (Unused, ["block", "unused"], "does not run"),
    ],
)
def test_a_layer_that_cannot_have_dropout_is_refused(make, layers, told):
    with pytest.raises(ModelError, match=told):
        check_dropout(seeded(make), layers, images())


def test_dropout_asks_less_of_a_layer_than_a_pool_does():
    for make in (Skipping, Twice, Functional):
        check_dropout(seeded(make), ["block"], images())
    check_dropout(seeded(chain), dropout_layers(seeded(chain), ["input", "hidden*"]), images())
    assert dropout_layers(seeded(chain), ["input", "hidden1", "hidden2"]) == ("hidden1", "hidden2")


def test_dropout_is_there_inside_and_gone_outside():
    net = seeded(chain)
    before = net(images())
    torch.manual_seed(0)
    with dropping(net, ("hidden1", "hidden2"), (0.0, 0.9)):
        seen = []
        handle = net.logits.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        net(images())
        handle.remove()
    assert float((seen[0] == 0).float().mean()) == pytest.approx(0.9, abs=0.15)
    assert torch.equal(net(images()), before)
