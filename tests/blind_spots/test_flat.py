"""The paper's procedure on networks that are flat around a confident image, as robust networks are."""

import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion


class Thresholds(nn.Module):
    """Maps values near 0 and 1 to 0 and 1, so that the gradient at a black and white image nearly vanishes."""

    def forward(self, x):
        return torch.sigmoid(30 * (x - 0.5))


def flat(count=12):
    torch.manual_seed(0)
    model = nn.Sequential(Thresholds(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5)).requires_grad_(False)
    model[3].weight.mul_(6)
    x = (torch.rand(count, 64, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    return model, x, model(x).argmax(1)


def test_the_first_step_from_a_flat_image_stays_near_the_box():
    model, x, y = flat()
    for targets in (None, (y + 1) % 5):
        result = minimal_distortion(model, x, y, targets, SearchOptions(grade="faithful", penalty_tolerance=0.1))
        assert result.status == ["found"] * len(x)
        assert float(result.l2.max()) < 0.5 * 8


def test_the_form_l2_ends_near_where_a_network_is_nearly_linear():
    """There every c above a certain one leaves the image where it is, and every smaller one leads far away."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 5)).requires_grad_(False)
    model[2].weight.mul_(0.1)
    model[2].bias.mul_(0.1)
    x = torch.rand(12, 64, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    nearest = minimal_distortion(model, x, y)
    result = minimal_distortion(model, x, y, options=SearchOptions(grade="faithful", penalty_form="l2"))
    assert result.status == ["found"] * len(x)
    assert float((result.l2 / nearest.l2).mean()) < 5  # 11 where the last start at the image could not leave it


def test_a_network_that_clamps_its_input_gives_what_a_loop_finds():
    """A SciPy loop, each minimisation from the image, finds 17 of 24; a chain of minimisers stays at a kink."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)
    net[2].weight.mul_(3)
    model = nn.Sequential(nn.Hardtanh(0.2, 0.8), net)
    x = torch.rand(24, 16, generator=torch.Generator().manual_seed(1)).round(decimals=2)
    y = model(x).argmax(1)
    result = minimal_distortion(model, x, y, (y + 1) % 4, SearchOptions(grade="faithful"))
    assert result.status.count("found") == 17 and result.status.count("not_found") == 7
    said = {reason for reason in result.reasons if reason}
    assert all(
        reason.startswith("No minimiser of loss plus penalty has the wanted class, down to c = ") for reason in said
    )


class Stubborn(nn.Module):
    """Class 0 always wins, though class 1 comes nearer."""

    def forward(self, x):
        other = x.sum(1).tanh() - 1.5
        return torch.stack([torch.ones_like(other), other], 1)


def test_an_image_that_is_not_found_says_why():
    x = torch.full((2, 8), 0.05)
    said = {}
    for grade in ("best", "faithful"):
        result = minimal_distortion(Stubborn(), x, [0, 0], options=SearchOptions(grade=grade))
        assert result.status == ["not_found"] * 2
        said[grade] = result.reasons[0]
    assert said["best"].startswith("No start came to the wanted class, in ")
    assert said["faithful"].startswith("No minimiser of loss plus penalty has the wanted class, down to c = ")
    model, images, y = flat(2)
    assert minimal_distortion(model, images, y).reasons == [""] * len(images)
