"""A network's operations, recorded and replayed: the same logits and gradients, and what is left to torch."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots import search
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.network.evaluate import Evaluator, frozen
from intriguing.blind_spots.network.recording import record
from intriguing.blind_spots.network.replay import replayed
from intriguing.models.examination import Conduct, as_module
from intriguing.models.feeding.rows import PADDED, SMALL


def strided():
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 8, 5, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 20),
        nn.ReLU(), nn.Linear(20, 7),
    )  # fmt: skip


def pooled():
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, bias=False),
        nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(3, 1, 1), nn.Dropout(), nn.Flatten(), nn.Linear(80, 7),
    )  # fmt: skip


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 30), nn.Sigmoid(), nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 7))


class Residual(nn.Module):
    """What people write: functions, views, a shortcut, a scaled input, batch norm before and after its convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.Conv2d(8, 8, 3, 1, 1, groups=4)
        self.smaller = nn.Conv2d(8, 12, 3, 2, 1)
        self.norm, self.before = nn.BatchNorm2d(8), nn.BatchNorm2d(8, affine=False)
        self.head = nn.Linear(12, 7)
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).reshape(3, 1, 1))

    def forward(self, x):
        x = (x - self.mean) / 0.3
        x = F.relu(self.norm(self.first(x)))
        x = x + F.silu(self.second(self.before(x)))
        x = F.relu_(F.pad(x[:, :, ::1, ::1], (0, 0, 0, 0)) + x)
        x = F.avg_pool2d(F.leaky_relu(self.smaller(x)), 2)
        return self.head(F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1))


class Gated(nn.Module):
    """A convolution per channel, and a gate per channel from the means: a block of MobileNet and EfficientNet."""

    def __init__(self):
        super().__init__()
        self.wide, self.deep = nn.Conv2d(3, 12, 1, bias=False), nn.Conv2d(12, 12, 3, 2, 1, groups=12)
        self.norm, self.bounded = nn.BatchNorm2d(12), nn.ReLU6(inplace=True)
        self.gate, self.narrow, self.head = nn.Conv2d(12, 12, 1), nn.Conv2d(12, 5, 1), nn.Linear(5, 7)

    def forward(self, x):
        x = F.hardswish(self.deep(self.bounded(self.norm(self.wide(x)))), inplace=True)
        x = x * F.hardsigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)), inplace=True)
        return self.head(self.narrow(x).mean((2, 3)))


class Joining(nn.Module):
    """What came before is joined with what is new, once with itself: blocks of DenseNet and Inception."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.norm = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 4, 3, 1, 1), nn.BatchNorm2d(10)
        self.last, self.head = nn.Conv2d(20, 8, 3), nn.Linear(16, 7)

    def forward(self, x):
        x = self.one(x)
        x = F.relu(self.norm(torch.cat([x, self.two(F.relu(x))], 1)), inplace=True)
        x = self.last(torch.cat([x, x], -3)).mean((2, 3))
        return self.head(torch.cat([x, x * torch.sigmoid(x[:, :1])], dim=1))


NETS = {
    "strided": (strided, (1, 14, 14), ["Convolution", "Convolution", "Reshaped", "Linear", "Linear"]),
    "pooled": (pooled, (2, 12, 12), ["Convolution", "Pooled", "Convolution", "Pooled", "Reshaped", "Linear"]),
    "dense": (dense, (1, 14, 14), ["Reshaped", "Linear", "ByOutput", "Linear", "ByOutput", "Linear"]),
    "residual": (Residual, (3, 10, 10), None),
    "gated": (Gated, (3, 10, 10), None),
    "joining": (Joining, (3, 10, 10), None),
}


def made(build):
    torch.manual_seed(3)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                module.weight.data.uniform_(-1, 2)
                module.bias.data.uniform_(-1, 1)
    return model.eval().requires_grad_(False)


def usual(model, x, slope):
    leaf = x.clone().requires_grad_()
    z = model(leaf * 1)
    return z.detach(), torch.autograd.grad(z, leaf, slope)[0]


def evaluator_of(model, shape, blocks=PADDED):
    return Evaluator(model, shape, blocks, Conduct(torch.float32, 7))


def replaying(model, shape, blocks=PADDED):
    size = torch.Size(shape).numel()
    with torch.no_grad(), frozen(model):
        return replayed(evaluator_of(model, shape, blocks), Box(0.0, 1.0), torch.rand(3, size))


@pytest.mark.parametrize("name", NETS)
def test_logits_and_gradients_are_those_of_the_network(name):
    build, shape, steps = NETS[name]
    model, x, slope = made(build), torch.rand(32, *shape), torch.randn(32, 7)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    z, gradient = usual(model, x, slope)
    recording = record(model, x[:1])
    assert steps is None or [type(step).__name__ for step in recording.steps] == steps
    kept = x.clone()
    with torch.no_grad():
        logits, pull = recording.both(x)
        assert torch.equal(recording.forward(x), logits)
        pulled = pull(slope)
    assert torch.equal(x, kept)
    assert torch.allclose(logits, z, rtol=1e-5, atol=1e-5)
    assert pulled.shape == x.shape
    assert torch.allclose(pulled, gradient, rtol=1e-4, atol=1e-5) and bool(gradient.any())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", NETS)
def test_a_recording_stands_in_for_the_network_and_keeps_the_bits_of_a_row(name):
    build, shape, _ = NETS[name]
    for blocks in (PADDED, SMALL)[: 1 if name == "dense" else 2]:
        evaluator = replaying(made(build), shape, blocks)
        assert evaluator.recording is not None
        assert evaluator.in_blocks(blocks).recording is evaluator.recording
        x, slopes = torch.rand(128, evaluator.size), torch.randn(128, 7)
        with torch.no_grad():
            whole = evaluator.gradient(x, lambda z, s, slopes=slopes: (z[:, 0], slopes[s]))
            part = evaluator.gradient(x[32:64], lambda z, s, slopes=slopes: (z[:, 0], slopes[32:64][s]))
        assert all(torch.equal(one[32:64], two) for one, two in zip(whole, part, strict=True))


OVERWRITING = {
    "relu": lambda x: F.relu_(x),
    "relu6": lambda x: F.relu6(x, inplace=True),
    "hardtanh": lambda x: F.hardtanh_(x, -0.2, 0.3),
    "hardtanh as it is": lambda x: F.hardtanh_(x),
    "leaky_relu": lambda x: F.leaky_relu_(x, 0.3),
    "elu": lambda x: F.elu_(x, 0.5),
    "silu": lambda x: F.silu(x, inplace=True),
    "mish": lambda x: F.mish(x, inplace=True),
    "hardswish": lambda x: F.hardswish(x, inplace=True),
    "hardsigmoid": lambda x: F.hardsigmoid(x, inplace=True),
    "sigmoid": lambda x: x.sigmoid_(),
    "tanh": lambda x: x.tanh_(),
    "clamp": lambda x: x.clamp_(-0.1, 0.4),
    "with numbers": lambda x: x.add_(0.3, alpha=2).mul_(2).sub_(0.1).div_(3),
    "with values": lambda x: x.mul_(x.sigmoid()).add_(x.tanh()),
}


@pytest.mark.parametrize("name", OVERWRITING)
def test_what_overwrites_its_input_is_recorded_too(name):
    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 9), nn.Linear(9, 7)

        def forward(self, x):
            return self.two(OVERWRITING[name](self.one(x)))

    model, x, slope = made(Overwriting), 4 * torch.randn(32, 6), torch.randn(32, 7)
    z, gradient = usual(model, x, slope)
    with torch.no_grad():
        logits, pull = record(model, x[:1]).both(x)
        pulled = pull(slope)
    assert torch.allclose(logits, z, rtol=1e-5, atol=1e-5)
    assert torch.allclose(pulled, gradient, rtol=1e-4, atol=1e-5) and bool(gradient.any())


def overwritten_before_a_view_is_read(x):
    view = x[:, 1:]
    return x.clamp_(-1e6, 1e6), view


def overwritten_through_a_view(x):
    x[:, 1:].clamp_(-1e6, 1e6)
    return x, x


def overwritten_and_a_view_forgotten(x):
    x[:, 1:]
    return F.relu_(x), x


@pytest.mark.parametrize(
    "how, recorded",
    [
        (overwritten_before_a_view_is_read, False),
        (overwritten_through_a_view, False),
        (overwritten_and_a_view_forgotten, True),
    ],
)
def test_what_another_tensor_overwrote_is_not_taken_for_what_it_was(how, recorded):
    """Values that random images do not reach would hide the difference."""

    class Sharing(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 9), nn.LazyLinear(7)

        def forward(self, x):
            return self.two(torch.cat(how(self.one(x)), 1))

    model = Sharing().eval()
    model(torch.rand(1, 6))
    assert (record(model.requires_grad_(False), torch.rand(1, 6)) is not None) == recorded


def test_a_constant_that_is_joined_or_another_shape_that_is_multiplied_is_left_to_torch():
    class Constant(nn.Module):
        def __init__(self, how):
            super().__init__()
            self.how, self.head = how, nn.Linear(12, 7)

        def forward(self, x):
            return self.head(self.how(x))

    for how in (lambda x: torch.cat([x, torch.ones_like(x)], 1), lambda x: (x[:, None, :] * x[:2]).flatten(1)):
        assert record(Constant(how).eval().requires_grad_(False), torch.rand(1, 6)) is None
    assert record(Constant(lambda x: torch.cat([x, x], 1)).eval().requires_grad_(False), torch.rand(1, 6)) is not None


def test_a_weight_that_changes_puts_the_network_back():
    model = made(strided)
    evaluator = replaying(model, (1, 14, 14))
    x = torch.rand(32, 196)
    with torch.no_grad():
        model[0].weight.mul_(-2)
        assert not evaluator.recording.current
        assert torch.equal(evaluator.forward(x), model(x.reshape(32, 1, 14, 14)))
        model[0].weight.div_(-2)
        z, _, gradient = evaluator.gradient(x, lambda z, s: (z[:, 0], torch.ones_like(z)))
    logits, expected = usual(model, x.reshape(32, 1, 14, 14), torch.ones(32, 7))
    assert torch.equal(z, logits) and torch.equal(gradient, expected.flatten(1))


class Around(nn.Module):
    """A network, and a function of its input and of its output."""

    def __init__(self, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.model, self.before, self.after, self.calls = made(strided), before, after, 0

    def forward(self, x):
        return self.after(self.model(self.before(x)))


class Counting(Around):
    def forward(self, x):
        self.calls += 1
        return super().forward(x)


COUNTED = []


class CountingElsewhere(Around):
    """Counts in a list of its own, in one of the module that it stands in, or by what a hook of a tensor sees."""

    def __init__(self, where):
        super().__init__()
        self.where, self.counts, self.held = where, {"rows": 0}, SimpleNamespace(rows=0)
        self.register_buffer("seen", torch.zeros(1))
        self.array = np.zeros(2)

    def forward(self, x):
        if self.where == "attribute":
            self.counts["rows"] += len(x)
        elif self.where == "object":
            self.held.rows += len(x)
        elif self.where == "buffer":
            self.seen += len(x)
        elif self.where == "array":
            self.array[0] += len(x)
        elif self.where == "global":
            COUNTED.append(len(x))
        elif x.requires_grad:
            x.register_hook(lambda slope: COUNTED.append(len(slope)))
        return super().forward(x)


def counting_in_a_closure():
    rows = [0]

    class Counting(Around):
        def forward(self, x):
            rows[0] += len(x)
            return self.after(self.model(x))

    return Counting()


class Same(torch.autograd.Function):
    """Nothing, with a gradient that is right and counted."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, slope):
        COUNTED.append(len(slope))
        return slope


class Straight(torch.autograd.Function):
    """Another gradient than that of its operation."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, slope):
        return slope


def hooked():
    model = Around()
    model.model[2].register_forward_hook(lambda *_: None)
    return model


def replaced():
    model = Around()
    model.model[0].forward = lambda x: F.conv2d(x, model.model[0].weight, stride=2)
    return model


OWN = {
    "reads its input": lambda: Around(lambda x: x / 2 if float(x.max()) > 0.5 else x),
    "reads it as an array": lambda: Around(lambda x: x * 2 if x.detach().numpy().max() > 2 else x),
    "reads it by NumPy": lambda: Around(lambda x: x * 2 if np.asarray(x.detach()).max() > 2 else x),
    "reads it as a list": lambda: Around(lambda x: x * 2 if x.tolist()[0][0] == 2 else x),
    "takes a value without its gradient": lambda: Around(lambda x: x * (1 + F.relu(x.detach() - 9))),
    "takes data": lambda: Around(lambda x: x * (1 + F.relu(x.data - 9))),
    "computes without gradients": lambda: Around(lambda x: x * (1 + torch.no_grad()(lambda: F.relu(x - 9))())),
    "counts its calls": Counting,
    "counts in a dictionary": lambda: CountingElsewhere("attribute"),
    "counts in an object": lambda: CountingElsewhere("object"),
    "counts in a buffer": lambda: CountingElsewhere("buffer"),
    "counts in an array": lambda: CountingElsewhere("array"),
    "counts in a variable of its module": lambda: CountingElsewhere("global"),
    "counts in a variable around it": counting_in_a_closure,
    "counts gradients by a hook": lambda: CountingElsewhere("hook"),
    "counts gradients by a function": lambda: Around(Same.apply),
    "has a gradient of its own": lambda: Around(Straight.apply),
    "cuts the gradient": lambda: Around(lambda x: x.detach() + 0 * x),
    "lets rows meet": lambda: Around(lambda x: x - x.mean(0, keepdim=True)),
    "draws numbers": lambda: Around(lambda x: x + torch.rand(1)),
    "unknown operations": lambda: Around(lambda x: x.cumsum(3)),
    "a function": lambda: as_module(made(strided).forward),
    "hooks": hooked,
    "another forward": replaced,
    "float64": lambda: made(strided).double(),
    "an exported program": lambda: torch.export.export(made(strided), (torch.rand(2, 1, 14, 14),)).module(),
    "depends on the number of rows": lambda: Around(lambda x: x * (1.5 if len(x) == 2 else 1.0)),
}


@pytest.mark.parametrize("name", OWN)
def test_what_is_more_than_its_operations_is_left_to_torch(name):
    model = OWN[name]()
    attributes = {key: dict(module.__dict__) for key, module in model.named_modules()}
    evaluator = replaying(model, (1, 14, 14))
    assert evaluator.recording is None
    if not name.startswith("counts"):
        assert {key: dict(module.__dict__) for key, module in model.named_modules()} == attributes


def test_autocast_and_other_types_are_left_to_torch():
    model, x = made(strided), torch.rand(1, 1, 14, 14)
    assert record(model, x) is not None
    assert record(model, x.double()) is None
    with torch.autocast("cpu"):
        assert record(model, x) is None


def test_a_search_finds_the_same_with_a_recording_and_leaves_the_model_as_it_was(monkeypatch):
    model = made(strided).requires_grad_(True).train()
    x = torch.rand(6, 1, 14, 14, generator=torch.Generator().manual_seed(1))
    y = copy.deepcopy(model).eval()(x).argmax(1)
    before = {key: dict(module.__dict__) for key, module in model.named_modules()}
    made_of = []

    def noted(*args):
        made_of.append(replayed(*args))
        return made_of[-1]

    monkeypatch.setattr(search, "replayed", noted)
    found = minimal_distortion(model, x, y, (y + 1) % 7, SearchOptions(grade="fast"))
    assert {key: dict(module.__dict__) for key, module in model.named_modules()} == before
    assert all(p.requires_grad for p in model.parameters()) and model.training
    monkeypatch.setattr(search, "replayed", lambda evaluator, *_: evaluator)
    expected = minimal_distortion(model, x, y, (y + 1) % 7, SearchOptions(grade="fast"))
    assert [evaluator.recording is not None for evaluator in made_of] == [True]
    assert found.status == expected.status == ["found"] * 6
    assert torch.allclose(found.l2, expected.l2, rtol=1e-4)
