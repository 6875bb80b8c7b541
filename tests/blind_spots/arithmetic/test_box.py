"""Boxes of any size and shape, and results on the grid of 8-bit images."""

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.grades import GRADES
from intriguing.errors import InputError

SHAPE = (3, 4, 4)
MEAN = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
STD = torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1)


def net(seed=0):
    torch.manual_seed(seed)
    layers = nn.Flatten(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 4)
    return nn.Sequential(*layers).requires_grad_(False)


class Scaled(nn.Module):
    """The network on (x - shift) / width."""

    def __init__(self, shift, width):
        super().__init__()
        self.net, self.shift, self.width = net(), shift, width

    def forward(self, x):
        return self.net((x - self.shift) / self.width)


def images(count=8):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)).mul(255).round() / 255


def test_rounding_of_a_large_box_is_clipped_and_no_fault():
    x = images(100)
    restored = x * 255
    restored[:48, 0, 0, 0] = -7.6e-6
    restored[48:, 0, 0, 0] = 255.00003
    result = minimal_distortion(
        Scaled(0.0, 255.0), restored, net()(x).argmax(1), options=SearchOptions("fast", upper=255.0)
    )
    assert "bad_input" not in result.status
    assert float(result.adversarial.min()) >= 0 and float(result.adversarial.max()) <= 255
    beyond = restored.clone()
    beyond[0, 0, 0, 0] = -1e-2
    assert minimal_distortion(net(), beyond[:1], [0], options=SearchOptions(upper=255.0)).status == ["bad_input"]


@pytest.mark.parametrize("grade", GRADES)
def test_a_box_per_channel_is_that_of_normalised_inputs(grade):
    """The widths of the channels are equal here, so the problem is the plain one, shifted channel by channel."""
    x, shift = images(), torch.tensor([-1.0, 0.25, 2.0]).view(3, 1, 1)
    y = net()(x).argmax(1)
    plain = minimal_distortion(net(), x, y, options=SearchOptions(grade))
    options = SearchOptions(grade, lower=shift, upper=1.0 + shift)
    moved = minimal_distortion(Scaled(shift, 1.0), x + shift, y, options=options)
    assert moved.status == plain.status == ["found"] * 8
    # Shifted values are rounded otherwise, and the paper's procedure may then end in another basin.
    assert float((moved.l2 / plain.l2).median()) == pytest.approx(1, abs=1e-3)
    assert bool((moved.adversarial >= shift).all()) and bool((moved.adversarial <= shift + 1).all())


@pytest.mark.parametrize("exact", ["auto", "off"])
def test_channels_of_unequal_widths_have_the_optimum_of_their_own_box(exact):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).requires_grad_(False)
    lower, upper = (0 - MEAN) / STD, (1 - MEAN) / STD
    x = (images() - MEAN) / STD
    x = torch.minimum(torch.maximum(x, lower), upper)
    z = model(x)
    options = SearchOptions(lower=lower, upper=upper, exact_linear=exact)
    result = minimal_distortion(model, x, z.argmax(1), options=options)
    normal = model[1].weight[0] - model[1].weight[1]
    for i in range(8):
        if result.status[i] != "found":
            continue
        # The change is the normal, clipped to the box: find its length by bisection in float64.
        sign = -1.0 if int(z[i].argmax()) == 0 else 1.0
        way = sign * normal.double().view(SHAPE)
        low, high = 0.0, 100.0
        for _ in range(80):
            middle = (low + high) / 2
            moved = torch.minimum(torch.maximum(x[i].double() + middle * way, lower.double()), upper.double())
            gap = (moved.flatten() @ normal.double()) + float(model[1].bias[0] - model[1].bias[1])
            low, high = (middle, high) if float(gap) * sign < 0 else (low, middle)
        assert float(result.l2[i]) == pytest.approx(float((moved - x[i]).norm()), rel=2e-3)
    assert result.status.count("found") == 8
    assert result.lower_bound.isnan().all() == (exact == "off")


def test_a_tensor_of_equal_bounds_is_the_plain_box():
    x = images()
    y = net()(x).argmax(1)
    plain = minimal_distortion(net(), x, y)
    box = SearchOptions(lower=torch.zeros(3, 1, 1), upper=torch.ones(()))
    assert torch.equal(minimal_distortion(net(), x, y, options=box).adversarial, plain.adversarial)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lower": torch.zeros(5)}, r"does not broadcast to an image of shape \(3, 4, 4\).*\(C, 1, 1\)"),
        ({"lower": torch.ones(3, 1, 1)}, "lower < upper for every value"),
        ({"upper": torch.tensor([1.0, float("nan"), 1.0])}, "finite"),
        ({"lower": torch.zeros(2), "upper": torch.ones(3)}, "do not broadcast to each other"),
        ({"lower": "zero"}, "must be a number"),
        ({"quantised_levels": 1}, "at least 2"),
        ({"quantised_levels": 25.5}, "whole number"),
    ],
)
def test_a_box_that_is_none_is_refused(options, told):
    with pytest.raises(InputError, match=told):
        minimal_distortion(net(), images(), [0] * 8, options=SearchOptions(**options))


def test_options_with_tensors_compare_and_hash():
    one, other = (SearchOptions(lower=torch.zeros(3, 1, 1) - k, upper=2.0) for k in (0, 0))
    assert one == other and hash(one) == hash(other) and len({one, other}) == 1
    assert one != SearchOptions(lower=torch.zeros(3, 1, 1) - 1) != SearchOptions()
    assert torch.equal(one.with_(slots=8).lower, one.lower)


def test_values_at_a_tolerance_are_inside():
    box = Box(-3.0, 1000.0)
    x = torch.tensor([[-3.0005, 1000.0005], [-3.01, 5.0], [torch.nan, 0.0]])
    assert box.outside(x).tolist() == [False, True, True]
    assert box.inside(x).tolist() == [[-3.0, 1000.0], [-3.0, 5.0], [-3.0, 0.0]]


BOXES = {
    "unit": (0.0, 1.0, lambda x: x),
    "byte": (0.0, 255.0, lambda x: (x * 255).round()),
    "symmetric": (-1.0, 1.0, lambda x: (x - 0.5) / 0.5),
    "normalised": ((0 - MEAN) / STD, (1 - MEAN) / STD, lambda x: (x - MEAN) / STD),
}


@pytest.mark.parametrize(("name", "targeted"), [*((name, False) for name in BOXES), ("unit", True)])
def test_results_on_the_8_bit_grid_are_found_there(name, targeted):
    lower, upper, scaled = BOXES[name]
    width = torch.as_tensor(upper) - torch.as_tensor(lower)
    model = Scaled(torch.as_tensor(lower), width)
    x = scaled(images(16))
    y = model(x).argmax(1)
    t = (y + 1) % 4 if targeted else None
    free = minimal_distortion(model, x, y, t, SearchOptions(lower=lower, upper=upper))
    result = minimal_distortion(model, x, y, t, SearchOptions(lower=lower, upper=upper, quantised_levels=256))
    assert result.status == free.status == ["found"] * 16
    levels = (result.adversarial.double() - torch.as_tensor(lower)) / width * 255
    assert float((levels - levels.round()).abs().max()) < 1e-4
    # What a file of 8 bits gives back is adversarial.
    again = torch.as_tensor(lower) + levels.round().to(torch.uint8).double() * (width / 255)
    for i in range(16):
        guess = int(model(again[i : i + 1].float()).argmax())
        assert guess == int(t[i]) if targeted else guess != int(y[i])
    assert torch.allclose(result.l2, (result.adversarial - x).flatten(1).norm(dim=1), rtol=1e-5)
    ratio = result.l2 / free.l2
    assert float(ratio.min()) > 1 - 1e-4
    assert float(ratio.median()) < 1.01 and float(ratio.max()) < 1.2
    if name in ("unit", "byte"):
        # Bit by bit what reading the file gives.
        whole = levels.round().to(torch.uint8).float()
        assert torch.equal(result.adversarial, whole / 255 if name == "unit" else whole)


def test_a_grid_of_few_levels_has_the_nearest_of_all_its_points():
    """Three values on eight levels: every point of the grid can be tried."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).requires_grad_(False)
    model[2].weight.mul_(8)
    x = torch.rand(40, 3, generator=torch.Generator().manual_seed(5)).mul(7).round() / 7
    axis = torch.arange(8) / 7
    grid = torch.cartesian_prod(axis, axis, axis)
    logits = model(grid)
    model[2].bias[1] += (logits[:, 0] - logits[:, 1]).median()
    y = model(x).argmax(1)
    guesses = model(grid).argmax(1)
    result = minimal_distortion(model, x, y, options=SearchOptions(quantised_levels=8))
    ratios = []
    for i in range(40):
        others = grid[guesses != y[i]]
        if not len(others) or result.status[i] != "found":
            continue
        ratios.append(float(result.l2[i]) / float((others - x[i]).norm(dim=1).min()))
    assert len(ratios) > 30 and min(ratios) > 1 - 1e-6
    assert sum(r < 1.001 for r in ratios) >= 0.6 * len(ratios)
    assert sorted(ratios)[len(ratios) // 2] < 1.05


def test_quantised_results_do_not_depend_on_company():
    x = images(24)
    y = net()(x).argmax(1)
    options = SearchOptions("fast", quantised_levels=256)
    whole = minimal_distortion(net(), x, y, options=options)
    part = minimal_distortion(net(), x[5:9], y[5:9], options=options.with_(slots=32))
    assert torch.equal(part.adversarial, whole.adversarial[5:9])
