"""Confirmation: what is called found holds alone and in batches, however torch is set to round."""

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.basics import precision
from intriguing.basics.precision import FULL, Precision, distinct, full_precision
from intriguing.blind_spots.outcome import confirmation, verifier

CUDA = torch.device("cuda")


class Rounding(nn.Module):
    """A network that takes `reserve` off every class but that of the image where `rounds` says so of a batch."""

    def __init__(self, rounds, reserve=1e-4):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)
        self.rounds, self.reserve, self.home = rounds, reserve, 0

    def forward(self, x):
        z = self.net(x)
        own = nn.functional.one_hot(torch.full((len(x),), self.home), 4)
        return z + self.reserve * own if self.rounds(len(x)) else z


def reduced():
    return torch.backends.cudnn.conv.fp32_precision == "tf32"


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Confirmation as on a CUDA device; the search as on a CPU."""
    monkeypatch.setattr(verifier, "is_graphed", lambda device: True)
    monkeypatch.setattr(verifier, "distinct", lambda device, dtype: distinct(CUDA, dtype))
    monkeypatch.setattr("intriguing.blind_spots.memory.blocks_of", lambda *_: verifier.Blocks(96, 1))


@pytest.mark.parametrize(
    "rounds",
    [
        lambda n: reduced(),
        lambda n: not reduced(),
        lambda n: n == 96,
        lambda n: n == 64,
        lambda n: reduced() and n == 1,
    ],
    ids=["with TF32", "without TF32", "in a full block", "in 64", "alone with TF32"],
)
@pytest.mark.parametrize("setting", ["tf32", "ieee"])
def test_what_is_found_holds_however_torch_is_set(as_on_a_gpu, rounds, setting):
    model = Rounding(rounds)
    x = torch.rand(30, 12, generator=torch.Generator().manual_seed(1))
    y = model.net(x).argmax(1)
    x, model.home = x[y == y[0]], int(y[0])
    with Precision.all(setting).used():
        options = SearchOptions(grade="fast", exact_linear="off")
        result = minimal_distortion(model, x, [model.home] * len(x), options=options)
        plain = minimal_distortion(model.net, x, [model.home] * len(x), options=options)
    assert set(result.status) == {"found"} and len(x) > 5
    for name in ("ieee", "tf32"):
        with Precision.all(name).used():
            for size in (1, 64, 96):
                for image in result.adversarial:
                    assert int(model(image.expand(size, -1))[0].argmax()) != model.home
    assert bool((result.l2 <= plain.l2 + 0.02).all())


def test_a_margin_below_the_doubt_about_its_rounding_is_pushed_on(as_on_a_gpu):
    """Batches of 8 and of 64 differ by 1e-4; other sizes, which nobody tries, may differ as much."""
    model = Rounding(lambda n: False)
    forward = model.forward
    model.forward = lambda x: forward(x) - 1e-4 * (len(x) == 8) * nn.functional.one_hot(torch.tensor([model.home]), 4)
    x = torch.rand(30, 12, generator=torch.Generator().manual_seed(1))
    y = model.net(x).argmax(1)
    x, model.home = x[y == y[0]], int(y[0])
    result = minimal_distortion(model, x, [model.home] * len(x), options=SearchOptions(grade="fast"))
    z = model.net(result.adversarial)
    gap = z.scatter(1, torch.full((len(x), 1), model.home), -torch.inf).amax(1) - z[:, model.home]
    assert set(result.status) == {"found"} and bool((gap > 0.99e-4).all())


def test_a_result_holds_in_a_batch_of_another_size_on_a_cpu_too():
    """Images alone are 1e-4 nearer to another class than in blocks; batches of five are 0.9e-4 farther than those."""
    model = Rounding(lambda n: n != 1 and n % 8 == 0)
    forward = model.forward
    model.forward = lambda x: forward(x) + 1.9e-4 * (len(x) == 5) * nn.functional.one_hot(torch.tensor([model.home]), 4)
    x = torch.rand(30, 12, generator=torch.Generator().manual_seed(1))
    y = model.net(x).argmax(1)
    x, model.home = x[y == y[0]], int(y[0])
    options = SearchOptions(grade="fast", exact_linear="off")
    result = minimal_distortion(model, x, [model.home] * len(x), options=options)
    assert result.status == ["found"] * len(x)
    for image in result.adversarial:
        assert int(model(image.expand(5, -1))[0].argmax()) != model.home


def test_precisions_that_can_differ_are_told_apart():
    caller = Precision.now()
    assert distinct(torch.device("cpu"), torch.float32) == (caller,)
    names = [p.on(CUDA) for p in distinct(CUDA, torch.float32)]
    assert names == [("ieee", "tf32", "tf32"), ("ieee",) * 3, ("tf32",) * 3]
    assert distinct(CUDA, torch.float64) == (caller,)
    with full_precision():
        assert [p.on(CUDA) for p in distinct(CUDA, torch.float32)] == [("ieee",) * 3, ("tf32",) * 3]
        assert Precision.now() == FULL
    assert Precision.now() == caller
    assert caller.product_errors(CUDA) == (0.0, 2.0**-10)
    assert precision.FULL.product_errors(CUDA) == (0.0, 0.0)
    torch.set_float32_matmul_precision("medium")
    try:
        now = Precision.now()
        assert distinct(torch.device("cpu"), torch.float32) == (now, FULL)
        assert now.product_errors(torch.device("cpu")) == (2.0**-7, 0.0)
    finally:
        caller.set()


@pytest.mark.parametrize(("grade", "offset"), [("best", 1e4), ("best", 1e5), ("fast", 1e5), ("faithful", 1e4)])
def test_logits_a_few_roundings_apart_have_the_boundary_of_their_differences(grade, offset):
    """With a common offset the margin is known to 0.001 or 0.008 only; results kept off the boundary by as much."""

    class Offset(nn.Module):
        def forward(self, x):
            return net(x) + offset

    net = nn.Sequential(*[nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 4)])
    x = torch.rand(30, 16, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    for layer in net[::2]:
        layer.reset_parameters()
    net[2].weight.data.mul_(3)
    net.requires_grad_(False)
    y = net(x).argmax(1)
    options = SearchOptions(grade=grade, exact_linear="off")
    ratio = minimal_distortion(Offset(), x, y, options=options).l2 / minimal_distortion(net, x, y, options=options).l2
    assert abs(float(ratio.median()) - 1) < (0.002 if offset == 1e4 else 0.012)  # 1.02 and 1.2 where none is drawn back


class RoundedLogits(nn.Module):
    """A network whose logits are rounded to a multiple of a step, with the gradients of those before."""

    def __init__(self, step):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5)).requires_grad_(False)
        self.net[2].weight.mul_(5)
        self.step = step

    def forward(self, x):
        z = self.net(x)
        return z + ((z / self.step).round() * self.step - z).detach()


@pytest.mark.parametrize("grade", ["best", "fast"])
@pytest.mark.parametrize("targeted", [False, True])
def test_beyond_a_jump_of_the_logits_a_result_is_drawn_back_to_it(grade, targeted):
    """The margin jumps there by a step, so no gradient tells how far beyond a result lies: 10 to 30 % in the median."""
    model = RoundedLogits(0.5)
    x = torch.rand(12, 20, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    t = (y + 1) % 5 if targeted else None
    result = minimal_distortion(model, x, y, t, SearchOptions(grade=grade))
    found = torch.tensor([status == "found" for status in result.status])
    assert int(found.sum()) >= 6
    for share, errs in ((1.0, True), (0.999, False)):
        there = model(x + share * (result.adversarial - x)).argmax(1)
        assert bool((((there == t) if targeted else (there != y))[found] == errs).all())


def test_no_pass_is_spent_on_jumps_where_logits_are_continuous(monkeypatch):
    model = RoundedLogits(1e-6)
    x = torch.rand(12, 20, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    usual = minimal_distortion(model, x, y)
    monkeypatch.setattr(confirmation, "_FAR", torch.inf)
    assert torch.equal(minimal_distortion(model, x, y).forward_passes, usual.forward_passes)
