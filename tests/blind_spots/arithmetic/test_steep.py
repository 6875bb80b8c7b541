"""Networks whose gradient is infinite, unknown or zero where an image lies, and a gradient as others elsewhere."""

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots.arithmetic.steepness import either_way, mended

GRADES = ("best", "fast", "faithful")


def test_infinite_slopes_are_as_steep_as_the_steepest_and_unknown_ones_are_zero():
    inf, nan = torch.inf, torch.nan
    gradient = torch.tensor(
        [[inf, -3, nan, 2], [nan, nan, nan, nan], [-inf, inf, 0, nan], [0, nan, 0, 0], [0, 0, 0, 0]]
    )
    known, sound = mended(gradient)
    assert known.tolist() == [[3, -3, 0, 2], [0, 0, 0, 0], [-1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert sound.tolist() == [True, False, True, False, True]


def test_steps_either_way_have_the_same_signs_in_all_rows_and_each_rows_steepness():
    gradient = torch.tensor([[0.0, -3, 1, 2, 0, 0, 0, 0], [0.0, 0, 0.5, 0, 0, 0, 0, 0]])
    slopes, turned = either_way(gradient, torch.full_like(gradient, 0.5), 0.0, 1.0)
    assert slopes.abs().tolist() == [[3.0] * 8, [0.5] * 8]
    assert torch.equal(slopes[0].sign(), slopes[1].sign()) and 0 < int((slopes[0] > 0).sum()) < 8
    assert not bool(turned.any())
    for bound, inwards in ((0.0, -1.0), (1.0, 1.0)):
        led, turned = either_way(gradient, torch.full_like(gradient, bound), 0.0, 1.0)
        assert torch.equal(led.sign(), torch.full_like(led, inwards))
        assert torch.equal(turned, slopes.sign() != inwards)


class OfTwo(nn.Module):
    """The second logit is `function` of the first two of 20 values, the first one `high`."""

    def __init__(self, function, high):
        super().__init__()
        self.function, self.high = function, high

    def forward(self, x):
        rest = 0 * x.sum(1)
        return torch.stack([self.high + rest, self.function(x[:, 0], x[:, 1]) + rest], 1)


def least(model, x):
    """The distance of the nearest success on a fine grid of the two values."""
    axis = torch.linspace(0, 1, 1001)
    points = torch.zeros(len(axis) ** 2, 20)
    points[:, :2] = torch.cartesian_prod(axis, axis)
    logits = model(points)
    distances = torch.linalg.vector_norm(points[:, :2] - x[:2], dim=1)
    return float(distances[logits[:, 1] > logits[:, 0]].min())


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize(
    ("function", "high", "at"),
    [
        (lambda a, b: a.sqrt() + b, 0.6, (0.0, 0.2)),
        (lambda a, b: a ** (1 / 2.2) + 0.5 * b ** (1 / 2.2), 0.8, (0.0, 0.0)),
        (lambda a, b: 0.3 * b + (1 - a).sqrt(), 0.7, (1.0, 0.1)),
        (lambda a, b: ((a - 0.25) ** 2 + (a - 0.25) ** 2).sqrt() + b, 0.7, (0.25, 0.5)),
        (lambda a, b: (b + 0.1).log() - 0.5 * a.sqrt(), -1.0, (0.0, 0.1)),
    ],
    ids=["root", "power", "from above", "magnitude", "away"],
)
def test_where_the_slope_at_the_image_is_infinite_or_unknown_the_boundary_is_found(function, high, at, grade):
    model = OfTwo(function, high)
    x = torch.zeros(1, 20)
    x[0, :2] = torch.tensor(at)
    result = minimal_distortion(model, x, [0], options=SearchOptions(grade=grade, exact_linear="off"))
    assert result.status == ["found"]
    if grade == "faithful" and at == (0.25, 0.5):
        # From the image, where alone it starts, the paper's procedure sees no slope of the first value.
        assert float(result.l2) == pytest.approx(0.2, rel=1e-3)
    else:
        assert float(result.l2) == pytest.approx(least(model, x[0]), rel=0.02)
    assert bool(result.penalty.isfinite().all())


class Magnitudes(nn.Module):
    """The second logit is the sum of the values' distances from `bound`, as roots of squares, and the first is 1."""

    def __init__(self, bound):
        super().__init__()
        self.bound = bound

    def forward(self, x):
        total = (x - self.bound).square().sqrt().sum(1)
        return torch.stack([torch.ones_like(total), total], 1)


@pytest.mark.parametrize("grade", ["best", "fast"])
@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_values_at_a_bound_whose_slope_is_unknown_there_all_leave_it(bound, grade):
    x = torch.full((1, 20), bound)
    x[0, :4] = abs(bound - 0.1)
    result = minimal_distortion(Magnitudes(bound), x, [0], options=SearchOptions(grade=grade, exact_linear="off"))
    # All twenty values move alike, until their sum has grown from 0.4 to 1.
    assert float(result.l2) == pytest.approx(0.6 / 20**0.5, rel=1e-3)


@pytest.mark.parametrize("grade", ["best", "fast"])
@pytest.mark.parametrize("targets", [None, [1]])
def test_values_that_the_network_clips_at_the_image_are_reached_from_noise(grade, targets):
    """No value has a gradient at the image, and each must pass a quarter of the box before it has one."""
    model = OfTwo(lambda a, b: a.clamp(0.25, 0.75) + b.clamp(0.25, 0.75), 0.8)
    x = torch.zeros(1, 20)
    result = minimal_distortion(model, x, [0], targets, SearchOptions(grade=grade, exact_linear="off"))
    assert result.status == ["found"]
    # One value at 0.55 and the other unchanged.
    assert float(result.l2) == pytest.approx(least(model, x[0]), rel=0.02 if grade == "best" else 0.3)
