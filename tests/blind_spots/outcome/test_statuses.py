"""The status and the reason of networks on which a search cannot go as it should."""

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion

PAPER = "No minimiser of loss plus penalty has the wanted class, down to c = "
FLAT = "No step lowered the loss plus penalty: the loss is flat around the image, or its gradient misleads."


class Through(nn.Module):
    """A function of the logits of a small network and of its input."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)
        self.net[2].weight.mul_(3)
        self.function = function

    def forward(self, x):
        return self.function(self.net, x)


def searched(function, grade, targeted=False):
    model = Through(function)
    x = torch.rand(8, 20, generator=torch.Generator().manual_seed(1))
    y = model.net(x).argmax(1)
    options = SearchOptions(grade=grade, exact_linear="off")
    return minimal_distortion(model, x, y, (y + 1) % 4 if targeted else None, options)


@pytest.mark.parametrize("grade", ["best", "faithful"])
@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_saturated_logits_are_searched_as_others_are(grade, scale):
    plain, scaled = (searched(lambda net, x, s=s: s * net(x), grade) for s in (1.0, scale))
    assert scaled.status == ["found"] * 8 and scaled.reasons == [""] * 8
    assert float((scaled.l2 / plain.l2).mean()) < (1.005 if grade == "best" else 1.05)


@pytest.mark.parametrize("grade", ["best", "fast"])
@pytest.mark.parametrize("scale", [1e20, 1e30, 1e-20, 1e-30])
def test_logits_whose_slopes_have_squares_beyond_float32_are_searched_as_others_are(grade, scale):
    """The finish had no cuts: results were up to 2.5 times too far."""
    plain, scaled = (searched(lambda net, x, s=s: s * net(x), grade) for s in (1.0, scale))
    assert scaled.status == ["found"] * 8
    assert float((scaled.l2 / plain.l2).max()) < (1.005 if grade == "best" else 1.05)


@pytest.mark.parametrize("grade", ["best", "faithful"])
@pytest.mark.parametrize(
    "function",
    [
        lambda net, x: net((x > 0.5).float() + 0 * x),
        lambda net, x: net((x - 0.5).sign()),
        lambda net, x: net((x * 8).round() / 8),
        lambda net, x: (10 * net(x)).floor(),
        lambda net, x: 0 * net(x) + nn.functional.one_hot(net(x).argmax(1), 4),
    ],
    ids=["step", "sign", "rounded input", "rounded logits", "labels"],
)
def test_a_network_of_steps_has_no_gradient(function, grade):
    model = Through(function)
    x = torch.rand(8, 20, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    result = minimal_distortion(model, x, y, options=SearchOptions(grade=grade))
    assert result.status == ["no_gradient"] * 8 and result.reasons == [""] * 8
    assert torch.equal(result.adversarial, x)


@pytest.mark.parametrize("grade", ["best", "faithful"])
def test_where_a_gradient_is_there_but_no_class_it_is_not_found(grade):
    """A second class that rises towards the first, and never passes it."""
    labels = torch.zeros(8, dtype=torch.long)
    model = Through(lambda net, x: torch.cat([1 + 0 * x[:, :1], x.mean(1, True).sin()], 1))
    x = torch.rand(8, 20, generator=torch.Generator().manual_seed(1))
    result = minimal_distortion(model, x, labels, options=SearchOptions(grade=grade))
    assert result.status == ["not_found"] * 8
    said = PAPER if grade == "faithful" else "No start came to the wanted class, in "
    assert all(reason.startswith(said) for reason in result.reasons)


def test_a_gradient_that_misleads_is_told():
    """Each step against the gradient raises the loss: the network's backward pass has the wrong sign."""

    class Turned(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return -gradient

    result = searched(lambda net, x: net(Turned.apply(x)), "faithful")
    missed = [reason for status, reason in zip(result.status, result.reasons, strict=True) if status == "not_found"]
    assert missed and set(missed) == {FLAT}


@pytest.mark.parametrize("grade", ["best", "fast", "faithful"])
@pytest.mark.parametrize("targeted", [False, True])
def test_images_whose_logits_are_no_numbers_are_bad_and_the_others_are_found(grade, targeted):
    def function(net, x):
        return net(x).masked_fill(x[:, :1] > 0.7, float("nan"))

    result = searched(function, grade, targeted)
    x = torch.rand(8, 20, generator=torch.Generator().manual_seed(1))
    bad = (x[:, 0] > 0.7).tolist()
    assert any(bad) and not all(bad)
    assert [status == "bad_output" for status in result.status] == bad
    assert {s for s, b in zip(result.status, bad, strict=True) if not b} == {"found"}


@pytest.mark.parametrize("grade", ["best", "faithful"])
def test_a_network_that_has_no_numbers_beyond_its_boundary_is_not_found(grade):
    def function(net, x):
        z = net(x)
        return z.masked_fill(z.argmax(1, keepdim=True) != home, float("nan"))

    model = Through(function)
    x = torch.rand(8, 20, generator=torch.Generator().manual_seed(1))
    home = int(model.net(x).argmax(1).mode().values)
    x = x[model.net(x).argmax(1) == home]
    result = minimal_distortion(model, x, [home] * len(x), options=SearchOptions(grade=grade))
    assert len(x) > 1 and result.status == ["not_found"] * len(x)
    assert all(reason.endswith("not finite.") == (grade == "faithful") for reason in result.reasons)


def infinite(net, x):
    """Plus infinity for class 1 of images that are brighter than 0.5."""
    return net(x).masked_fill((x.mean(1, keepdim=True) > 0.5) & (torch.arange(4) == 1), torch.inf)


def test_a_logit_of_plus_infinity_is_a_bad_output_and_no_fault_of_the_batch():
    """The model was refused as one whose output depends on the number of images: infinity less infinity is no number,
    so that a rounding of the other logits counted."""
    bright = torch.rand(8, 20, generator=torch.Generator().manual_seed(1)).mean(1) > 0.5
    statuses = searched(infinite, "fast").status
    assert 0 < sum(bright.tolist()) < 8
    assert [s == "bad_output" for s in statuses] == bright.tolist()

    def everywhere(net, x):  # an image alone is rounded otherwise than among others
        return net(x).masked_fill(torch.arange(4) == 1, torch.inf) * (1 + 1e-6 * (len(x) == 1))

    assert searched(everywhere, "best").status == ["bad_output"] * 8


def test_a_bad_output_names_the_classes_whose_logits_are_not_finite():
    def function(net, x):
        return torch.cat([net(x), torch.full((len(x), 1), torch.nan), torch.full((len(x), 1), torch.inf)], 1)

    result = searched(function, "best")
    assert result.status == ["bad_output"] * 8
    reason = "At the image the logits of these classes are not finite: 4 (nan), 5 (inf)."
    assert set(result.reasons) == {reason}
    many = searched(lambda net, x: net(x) * torch.nan, "fast")
    assert many.reasons[0].endswith(": 0 (nan), 1 (nan), 2 (nan) and 1 more.")


def test_a_bad_output_with_finite_logits_tells_of_the_gradient():
    result = searched(lambda net, x: net(x) + (0 * x).sum(1, keepdim=True).sqrt(), "best")
    assert result.status == ["bad_output"] * 8
    assert set(result.reasons) == {"At the image each slope of the logits is NaN or zero, and at least one is NaN."}
