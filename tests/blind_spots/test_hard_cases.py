"""Inputs and networks that break searches, and the faults of other tools as tests of ours."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots.arithmetic.objective import cross_entropy, standing
from intriguing.blind_spots.grades import GRADES
from intriguing.blind_spots.solvers.loop import Layout, run


def relu_net(inputs=16, classes=4, seed=0, width=24):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, classes)).requires_grad_(False)


def images(count, inputs, seed=1):
    return torch.rand(count, inputs, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    inputs=st.integers(2, 24),
    classes=st.integers(2, 7),
    targeted=st.booleans(),
    grade=st.sampled_from(list(GRADES)),
)
def test_whatever_the_network_a_success_is_one_and_a_failure_says_so(seed, inputs, classes, targeted, grade):
    model = relu_net(inputs, classes, seed, width=9)
    x = images(5, inputs, seed).round(decimals=1)
    labels = model(x).argmax(1)
    targets = (labels + 1) % classes if targeted else None
    result = minimal_distortion(model, x, labels, targets, SearchOptions(grade=grade, slots=32))
    predictions = model(result.adversarial).argmax(1)
    for i, status in enumerate(result.status):
        if status == "found":
            assert predictions[i] == targets[i] if targeted else predictions[i] != labels[i]
            assert result.l2[i] == pytest.approx(float((result.adversarial[i] - x[i]).norm()), rel=1e-4, abs=1e-6)
        else:
            assert status == "not_found" and torch.equal(result.adversarial[i], x[i])
    assert bool(((result.adversarial >= 0) & (result.adversarial <= 1)).all())
    assert torch.equal(predictions, torch.where(result.prediction >= 0, result.prediction, predictions))


def test_pixels_at_exactly_0_and_1_move():
    model = relu_net()
    x = images(12, 16).round()
    labels = model(x).argmax(1)
    result = minimal_distortion(model, x, labels)
    found = [s == "found" for s in result.status]
    assert any(found) and bool(((result.adversarial - x).abs() > 1e-4).any(1)[found].all())


def test_an_unreachable_class_is_not_found_and_the_image_comes_back():
    model = nn.Linear(4, 3).requires_grad_(False)
    model.weight.copy_(torch.eye(3, 4))
    model.bias.copy_(torch.tensor([0.0, 0.0, -5.0]))
    x = images(2, 4)
    for exact in ("auto", "off"):
        result = minimal_distortion(model, x, [0, 1], [2, 2], SearchOptions(exact_linear=exact))
        assert result.status == ["not_found"] * 2 or result.status.count("misclassified") == 0
        assert torch.equal(result.adversarial, x)


class Wall(nn.Module):
    """The margin's linearisation at the image cannot be met inside the box, yet the class can be reached."""

    def forward(self, x):
        rise = 0.05 * x.sum(1) + 20 * (x.sum(1) - 2.0).relu()
        return torch.stack([torch.ones_like(rise), rise], 1)


@pytest.mark.parametrize("grade", ["best", "fast"])
def test_a_class_beyond_the_linearisation_is_found(grade):
    x = torch.full((3, 4), 0.1)
    result = minimal_distortion(Wall(), x, [0, 0, 0], [1, 1, 1], SearchOptions(grade=grade, slots=32))
    assert result.status == ["found"] * 3
    nearest = (2.0 + 0.9 / 20.05 - 0.4) / 2.0
    assert bool((result.l2 <= nearest * 1.02).all())


@pytest.mark.parametrize("inputs", [3, 24])
def test_dead_gradients_at_the_image_do_not_raise(inputs):
    """Class 1 wins where the sum of the values exceeds a bit over two thirds of their number: below is no gradient."""
    model = nn.Sequential(nn.Linear(inputs, 4), nn.ReLU(), nn.Linear(4, 2)).requires_grad_(False)
    model[0].weight.fill_(1.0)
    model[0].bias.fill_(-2.0 * inputs / 3)
    model[2].weight.copy_(torch.tensor([[0.0] * 4, [4.0] * 4]))
    model[2].bias.copy_(torch.tensor([1.0, 0.0]))
    result = minimal_distortion(model, torch.full((2, inputs), 0.2), [0, 0])
    if inputs == 24:
        assert result.status == ["no_gradient"] * 2
    else:
        nearest = (2 + 1 / 16 - 0.6) / 3**0.5
        assert result.status == ["found"] * 2 and torch.allclose(result.l2, torch.full((2,), nearest), rtol=1e-3)


def test_an_image_on_a_kink_is_searched():
    class Kink(nn.Module):
        def forward(self, x):
            return torch.stack([0.3 - (x[:, 0] - 0.5).abs(), torch.zeros_like(x[:, 0])], 1)

    result = minimal_distortion(Kink(), torch.tensor([[0.5, 0.5], [0.51, 0.2]]), [0, 0])
    assert result.status[1] == "found"
    assert float(result.l2[1]) == pytest.approx(0.29, rel=0.01)


def test_a_thousand_classes_cost_a_handful_of_gradients():
    torch.manual_seed(0)
    model = nn.Linear(20, 1000).requires_grad_(False)
    x = images(3, 20)
    labels = model(x).argmax(1)
    result = minimal_distortion(model, x, labels, options=SearchOptions(exact_linear="off"))
    assert result.status == ["found"] * 3
    assert int(result.backward_passes.max()) < 400


def test_one_hard_row_does_not_change_another():
    model = relu_net()
    x = images(9, 16)
    labels = model(x).argmax(1)
    whole = minimal_distortion(model, x, labels)
    part = minimal_distortion(model, x[3:5], labels[3:5])
    assert torch.equal(whole.adversarial[3:5], part.adversarial)


def test_more_rows_than_slots_give_the_same_as_fewer():
    model = relu_net()
    x = images(50, 16)
    labels = model(x).argmax(1)
    many = minimal_distortion(model, x, labels, options=SearchOptions(slots=256))
    for slots in (128, 8):
        few = minimal_distortion(model, x, labels, options=SearchOptions(slots=slots))
        assert few.status == many.status
        assert torch.allclose(few.l2, many.l2, rtol=1e-5, equal_nan=True)


def test_a_target_is_heeded_in_the_test_of_success():
    model = relu_net(classes=6)
    x = images(20, 16)
    labels = model(x).argmax(1)
    targets = model(x).topk(3, dim=1).indices[:, 2]
    result = minimal_distortion(model, x, labels, targets)
    found = torch.tensor([s == "found" for s in result.status])
    assert torch.equal(model(result.adversarial).argmax(1)[found], targets[found])


def test_success_holds_for_each_image_alone():
    model = relu_net()
    x = images(30, 16)
    labels = model(x).argmax(1)
    result = minimal_distortion(model, x, labels)
    for i in range(30):
        if result.status[i] == "found":
            assert model(result.adversarial[i : i + 1]).argmax(1) != labels[i]


def test_the_box_may_be_any():
    model = relu_net()
    x = images(10, 16)
    labels = model(x).argmax(1)
    shifted = nn.Sequential(nn.Linear(16, 16), *model).requires_grad_(False)
    shifted[0].weight.copy_(torch.eye(16) / 4)
    shifted[0].bias.fill_(0.5)
    wide = minimal_distortion(shifted, 4 * (x - 0.5), labels, options=SearchOptions(lower=-2.0, upper=2.0))
    plain = minimal_distortion(model, x, labels)
    assert wide.status == plain.status
    found = [s == "found" for s in plain.status]
    assert torch.allclose(wide.l2[found], 4 * plain.l2[found], rtol=5e-3)


def test_scaling_the_logits_changes_nothing_but_the_penalty():
    model = relu_net()
    x = images(16, 16)
    labels = model(x).argmax(1)
    cold = nn.Sequential(model, nn.Linear(4, 4, bias=False)).requires_grad_(False)
    cold[1].weight.copy_(torch.eye(4) / 16)
    a, b = minimal_distortion(model, x, labels), minimal_distortion(cold, x, labels)
    found = [s == t == "found" for s, t in zip(a.status, b.status, strict=True)]
    assert sum(found) > 8
    assert float((b.l2[found] / a.l2[found]).median()) == pytest.approx(1, abs=2e-3)


def test_the_loss_has_the_gradient_that_differences_give():
    z = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    wanted = torch.zeros(5, 6, dtype=torch.bool)
    wanted[:, 2:4] = True
    value, gradient = cross_entropy(z.detach(), wanted, ~wanted)
    expected = -(z.log_softmax(1).masked_fill(~wanted, -torch.inf).logsumexp(1))
    (slope,) = torch.autograd.grad(expected.sum(), z)
    assert torch.allclose(value, expected.detach()) and torch.allclose(gradient, slope)
    stands = standing(z.detach(), wanted, ~wanted)
    assert torch.equal(stands.gap > 0, wanted.gather(1, z.argmax(1, keepdim=True)).squeeze(1))
    assert stands.winner.tolist() == (2 + z[:, 2:4].argmax(1)).tolist()
    assert stands.rival.tolist() == z.detach().masked_fill(wanted, -torch.inf).argmax(1).tolist()


def test_slots_are_refilled_and_every_row_runs_its_own_length():
    class Countdown:
        poll = 1
        outputs = ("steps",)

        def load(self, given):
            left = given["left"]
            return {"left": left, "steps": torch.zeros_like(left), "done": torch.zeros_like(left, dtype=torch.bool)}

        def step(self, state):
            active = ~state["done"]
            left = state["left"] - active.long()
            return {"left": left, "steps": state["steps"] + active.long(), "done": state["done"] | (left <= 0)}

    lengths = torch.tensor([5, 1, 9, 2, 2, 7, 1, 1, 3, 4, 11])
    for slots in (2, 4, 64):
        assert torch.equal(run(Countdown(), {"left": lengths}, Layout(slots))["steps"], lengths)


def layers(inputs, hidden, classes, act=nn.ReLU, bias=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(inputs, hidden, bias=bias), act(), nn.Linear(hidden, classes, bias=bias)
    ).requires_grad_(False)


def uniform(count, inputs):
    return torch.rand(count, inputs, generator=torch.Generator().manual_seed(1))


def test_the_exact_path_solves_more_constraints_than_variables():
    torch.manual_seed(0)
    model = nn.Linear(17, 100).requires_grad_(False)
    x = uniform(6, 17)
    targets = model(x).topk(40, 1).indices[:, 20]
    exact = minimal_distortion(model, x, model(x).argmax(1), targets)
    searched = minimal_distortion(model, x, model(x).argmax(1), targets, SearchOptions(exact_linear="off"))
    assert exact.status == ["found"] * 6
    found = torch.tensor([s == "found" for s in searched.status])
    assert bool((exact.lower_bound <= exact.l2 + 1e-5).all())
    assert bool((exact.l2[found] <= searched.l2[found] * 1.001 + 1e-5).all())


@pytest.mark.parametrize("grade", ["best", "fast"])
def test_a_class_that_the_cross_entropy_does_not_lead_to_is_found(grade):
    model = layers(17, 40, 100)
    x = uniform(16, 17)
    targets = model(x).topk(30, 1).indices[:, 19]
    result = minimal_distortion(model, x, model(x).argmax(1), targets, SearchOptions(grade=grade))
    assert result.status == ["found"] * 16


def test_a_large_box_does_not_lengthen_the_steps():
    model = layers(17, 40, 6)
    x = uniform(24, 17)
    y = model(x).argmax(1)
    near, far = (
        minimal_distortion(model, x, y, options=SearchOptions(lower=-reach, upper=reach)) for reach in (10.0, 1e4)
    )
    assert far.status == ["found"] * 24
    assert float((far.l2 / near.l2).mean()) < 1.02


@pytest.mark.parametrize("grade", GRADES)
def test_logits_that_are_all_zero_at_the_image_are_no_fault(grade):
    model = layers(12, 24, 4, nn.Tanh, bias=False)
    options = SearchOptions(grade=grade, lower=-1.0, upper=1.0)
    result = minimal_distortion(model, torch.zeros(2, 12), [0, 0], options=options)
    assert result.status == ["found"] * 2
    plane = nn.Linear(2, 2, bias=False).requires_grad_(False)
    plane.weight.copy_(torch.eye(2))
    assert minimal_distortion(plane, torch.zeros(1, 2), [0], options=options).status == ["found"]


@pytest.mark.parametrize("grade", ["best", "faithful"])
def test_a_model_may_answer_in_another_precision(grade):
    inner = layers(12, 24, 4)

    class Double(nn.Module):
        def forward(self, x):
            return inner(x).double()

    x = uniform(5, 12)
    options = SearchOptions(grade=grade)
    result = minimal_distortion(Double(), x, inner(x).argmax(1), options=options)
    assert torch.equal(
        result.adversarial, minimal_distortion(inner, x, inner(x).argmax(1), options=options).adversarial
    )
