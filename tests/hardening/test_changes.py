"""New changes of activations: as small as can be, in the layer's own box, and noise of the same size."""

import numpy as np
import pytest
import torch
from torch import nn

from intriguing.blind_spots import SearchOptions, minimal_distortion
from intriguing.blind_spots.warm import from_starts
from intriguing.hardening import Cut, HardeningOptions
from intriguing.hardening.changes import Drawn, new_changes, noise_of, norms, shortened
from tests.hardening.nets import chain, images, seeded

POOLS = HardeningOptions("pools", ("hidden1", "hidden2"))


def drawn(cut, count=32, warm=None):
    x = images(count)
    return Drawn(x, cut.model(x).argmax(1), torch.arange(count), warm)


def test_changes_of_the_last_hidden_layer_are_the_distances_to_the_nearest_boundary():
    net = seeded(chain)
    with torch.no_grad():
        net.logits.weight *= 6  # boundaries inside the box
    cut = Cut(net, "hidden2", images())
    given = drawn(cut)
    found = new_changes(cut, given, POOLS, 0)
    h = cut.activations(images(32)).double()[found.positions]
    weight, bias = net.logits.weight.detach().double(), net.logits.bias.detach().double()
    z = h @ weight.T + bias
    labels = given.labels[found.positions]
    rivals = [[c for c in range(3) if c != label] for label in labels.tolist()]
    distances = [
        min(float((z[i, y] - z[i, c]) / (weight[y] - weight[c]).norm()) for c in rivals[i])
        for i, y in enumerate(labels.tolist())
    ]
    inside = (h + found.changes.double() > 1e-3).all(1) & (h + found.changes.double() < 1 - 1e-3).all(1)
    assert int(inside.sum()) > 10
    lengths = norms(found.changes.double())[inside].numpy()
    assert lengths == pytest.approx(np.array(distances)[inside.numpy()], rel=0.01)


def test_changed_activations_stay_in_the_box_and_make_the_upper_half_err():
    for activation, layer in ((nn.Sigmoid, "hidden1"), (nn.ReLU, "hidden1")):
        cut = Cut(seeded(chain, activation), layer, images())
        given = drawn(cut)
        found = new_changes(cut, given, POOLS, 0)
        assert len(found) > 5
        moved = cut.activations(given.images)[found.positions] + found.changes.float()
        low, high = cut.box
        assert float(moved.min()) >= low - 1e-3
        assert float(moved.max()) <= high + 1e-3
        further = cut.activations(given.images)[found.positions] + 1.02 * found.changes.float()
        wrong = cut.upper(further).argmax(1) != given.labels[found.positions]
        assert float(wrong.float().mean()) > 0.9


def test_an_image_that_the_network_gets_wrong_enters_no_pool():
    cut = Cut(seeded(chain), "hidden1", images())
    given = drawn(cut)
    warm = torch.full_like(cut.activations(given.images), 0.1)
    for known in (None, warm):
        wrong = Drawn(given.images, (given.labels + 1) % 3, given.positions, known)
        assert len(new_changes(cut, wrong, POOLS, 0)) == 0


def test_noise_is_as_long_as_asked_after_clipping_and_keyed():
    start = torch.rand(20, 30, generator=torch.Generator().manual_seed(1)).round()  # every value at a bound
    lengths = torch.linspace(0.1, 2.0, 20)
    noise = noise_of(start, lengths, (0.0, 1.0), 7, "input", 3)
    assert torch.allclose(norms(noise), lengths, rtol=1e-3)
    assert float((start + noise).min()) >= 0
    assert float((start + noise).max()) <= 1
    assert torch.equal(noise, noise_of(start, lengths, (0.0, 1.0), 7, "input", 3))
    assert not torch.equal(noise, noise_of(start, lengths, (0.0, 1.0), 7, "input", 4))


def test_the_noise_variant_has_the_lengths_of_the_searches():
    cut = Cut(seeded(chain), "hidden1", images())
    given = drawn(cut)
    found = new_changes(cut, given, POOLS, 0, 1)
    noise = new_changes(cut, given, HardeningOptions("noise", ("hidden1",)), 0, 1)
    assert torch.equal(noise.positions, found.positions)
    assert torch.allclose(norms(noise.changes.float()), norms(found.changes.float()), rtol=0.01)
    cosines = (noise.changes.float() * found.changes.float()).sum(1) / norms(found.changes.float()) ** 2
    assert float(cosines.abs().mean()) < 0.6


def test_a_cap_shortens_the_long_changes_alone():
    changes = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    assert torch.allclose(shortened(changes, 1.0), torch.tensor([[0.6, 0.8], [0.3, 0.4]]))
    cut = Cut(seeded(chain), "hidden1", images())
    free = norms(new_changes(cut, drawn(cut), POOLS, 0).changes.float())
    capped = HardeningOptions("pools", ("hidden1",), cap=1.0)
    assert torch.allclose(
        norms(new_changes(cut, drawn(cut), capped, 0).changes.float()), free.clamp(max=float(free.median())), rtol=0.01
    )


def test_a_warm_start_finds_nearly_what_a_whole_search_finds():
    cut = Cut(seeded(chain), "hidden1", images())
    given = drawn(cut, 64)
    cold = new_changes(cut, given, POOLS, 0)
    with torch.no_grad():
        for weight in cut.model.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    again = Drawn(given.images[cold.positions], given.labels[cold.positions], cold.positions)
    fresh = new_changes(cut, again, POOLS, 0)
    warm = new_changes(cut, Drawn(again.images, again.labels, again.positions, cold.changes.float()), POOLS, 0)
    assert torch.equal(warm.positions, fresh.positions)
    assert float(norms(warm.changes.float()).mean() / norms(fresh.changes.float()).mean()) < 1.03


def test_a_start_that_does_not_err_finds_nothing_and_costs_no_search():
    net = seeded(chain)
    x = images(16)
    labels = net(x).argmax(1)
    options = SearchOptions(grade="fast", slots=32)
    found, reached = from_starts(net, x, labels, x.clone(), options)
    assert not found.any()
    assert torch.equal(reached, x)
    result = minimal_distortion(net, x, labels, None, options)
    ours, theirs = from_starts(net, x, labels, (x + 2 * (result.adversarial - x)).clamp(0, 1), options)
    assert bool(ours[[s == "found" for s in result.status]].all())
    assert bool((net(theirs).argmax(1) != labels)[ours].all())
