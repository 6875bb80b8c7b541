"""Points around images of few values, against a dense grid."""

import pytest
import torch
from torch import nn

from intriguing import minimal_distortion
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.starts.probing import PROBES, _pattern, nearest_probes, slopes
from intriguing.models.feeding.rows import PADDED

GRID = torch.stack(torch.meshgrid(*[torch.linspace(0, 1, 301)] * 2, indexing="ij"), -1).reshape(-1, 2)


def steep(act, seed, hidden=8):
    """A network of two values with large weights, whose three classes have about the same share of the box."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, hidden), act(), nn.Linear(hidden, hidden), act(), nn.Linear(hidden, 3))
    for layer in model[::2]:
        layer.weight.data *= 3
        layer.bias.data *= 3
    model[4].bias.data -= model(GRID).detach().median(0).values
    return model.requires_grad_(False)


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6])
def test_a_search_in_the_plane_is_about_as_near_as_a_dense_grid(act):
    ratios = []
    for seed in range(3):
        model = steep(act, seed)
        x = torch.rand(12, 2, generator=torch.Generator().manual_seed(seed))
        labels, classes = model(x).argmax(1), model(GRID).argmax(1)
        nearest = torch.cdist(x, GRID).masked_fill(classes == labels[:, None], torch.inf).amin(1)
        result = minimal_distortion(model, x, labels)
        there = nearest.isfinite()
        assert all(status == "found" for status, t in zip(result.status, there.tolist(), strict=True) if t)
        ratios.append((result.l2 / nearest)[there])
    # Without probes one is 1.26 times as far.
    ratios = torch.cat(ratios)
    assert float(ratios.amax()) < 1.06 and int((ratios > 1.02).sum()) <= 1


class Corner(nn.Module):
    """Class 1 in a small square near the image; a ramp leads the other way, to where class 1 is far."""

    def forward(self, x):
        ramp = 1 - 4 * x[:, 0]
        square = (0.05 - (x - torch.tensor([0.6, 0.5])).abs().amax(1)).relu() * 100
        return torch.stack([torch.full_like(ramp, 0.5), ramp + square], 1)


def test_what_no_gradient_leads_to_is_found():
    x = torch.tensor([[0.5, 0.5], [0.52, 0.5]])
    result = minimal_distortion(Corner(), x, [0, 0])
    assert result.status == ["found"] * 2
    assert bool((result.l2 < 0.07).all())


@pytest.mark.parametrize("size", [1, 2, 16])
def test_probes_have_all_directions_and_distances(size):
    pattern = _pattern(size)
    norms = pattern.norm(dim=1)
    assert pattern.shape == (PROBES, size) and float(norms.amax()) <= 1 + 1e-12 and float(norms.amin()) > 1 / 33
    assert bool(((pattern > 0).float().mean(0) - 0.5).abs().amax() < 0.02)


def test_the_nearest_probe_that_is_a_success_is_taken_and_a_row_does_not_depend_on_others():
    evaluator = Evaluator(Corner(), (2,), PADDED)
    x0 = torch.zeros(40, 16)
    x0[:, :2] = 0.3 + 0.4 * torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    x0[:, 0] += 0.2
    rivals = torch.tensor([[True, False]]).expand(40, 2)
    reach = torch.full((40,), 0.2)
    there, found = nearest_probes(evaluator, x0, rivals, reach, 0.0, 1.0)
    assert int(found.sum()) > 10 and bool((Corner()(there[found, :2]).argmax(1) == 1).all())
    assert float((there - x0)[found].norm(dim=1).amax()) < 0.2 and bool((there[:, 2:] == 0).all())
    alone, _ = nearest_probes(evaluator, x0[7:8], rivals[7:8], reach[7:8], 0.0, 1.0)
    assert torch.equal(alone, there[7:8])
    assert bool(slopes(evaluator, there[found], rivals[found]).all())
