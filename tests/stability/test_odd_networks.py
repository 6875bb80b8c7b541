"""Bounds of networks of rarer kinds: never above a change that is known to succeed, and null where nothing holds."""

import math

import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.stability import lower_bounds, trace

from .hunt import Clamped, Does, PartInPlace, Thresholds, undone

MIXED = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))


def nearest(model, x, labels, box, cells=200):
    """The distance (B,) to the nearest point of a grid over the box, of two pixels, with another class."""
    line = torch.linspace(*box, cells)
    points = torch.cartesian_prod(line, line)
    with torch.no_grad():
        wrong = model(points).argmax(1) != labels[:, None]
    return (points - x[:, None]).norm(dim=2).masked_fill(~wrong, math.inf).amin(1)


@pytest.mark.parametrize("seed", (0, 2))
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(Thresholds(2, [0.3, -0.2, 0.1]), nn.ReLU(), nn.Linear(3, 3)),
        lambda: nn.Sequential(nn.Linear(2, 6), nn.CELU(-1.0), nn.Linear(6, 3)),
        lambda: nn.Sequential(nn.Linear(2, 6), PartInPlace(), nn.Linear(6, 3)),
        lambda: nn.Sequential(nn.Linear(2, 6), Clamped(torch.tensor(-0.5), torch.tensor(0.5)), nn.Linear(6, 3)),
        lambda: nn.Sequential(Does(lambda x: x.repeat(1, 3)), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)),
        lambda: nn.Sequential(nn.Linear(2, 6), nn.ReLU(), Does(lambda x: x[:, [0, 0, 0, 3]]), nn.Linear(4, 3)),
        lambda: nn.Sequential(nn.Linear(2, 6), Does(lambda x: MIXED @ x.view(-1, 3, 2)), nn.ReLU(), nn.Flatten(),
                              nn.Linear(8, 3)),
    ],
    ids=["an addition that repeats its input", "a function without a largest slope", "a part changed in place",
         "limits in buffers", "an input that is repeated", "a value that is read three times", "a matrix on the left"],
)  # fmt: skip
@pytest.mark.parametrize("gigaflops", [10.0, 0.0])
def test_no_bound_lies_above_a_change_that_succeeds(make, gigaflops, seed):
    torch.manual_seed(seed)
    model, box = make().eval(), (-10.0, 10.0)
    for p in model.parameters():
        p.data.mul_(3.0)
    x = torch.rand(6, 2) * 20 - 10
    with torch.no_grad():
        labels = model(x).argmax(1)
    bound = lower_bounds(model, x, labels, lower=box[0], upper=box[1], gigaflops=gigaflops).bound
    assert not bool((bound > nearest(model, x, labels, box)).any())


def test_an_addition_that_repeats_its_input_is_no_shift():
    torch.manual_seed(0)
    layer = Thresholds(2, [0.5, 0.2, -0.1, -0.4])
    weight = layer.one.weight.detach().double()
    assert ig.operator_norm(layer, (2,)).norm == pytest.approx(2 * float(weight.norm()), rel=1e-6)
    x = torch.rand(3, 2)
    result = ig.minimal_distortion(layer, x, layer(x).argmax(1))
    assert result.status == ["not_found"] * 3  # the largest threshold wins everywhere


ROWS = (
    lambda x: x[torch.arange(len(x))],
    lambda x: x.index_select(0, torch.arange(len(x))),
    lambda x: torch.cat([x[:3], x[3:]]),
    lambda x: x[:, None][torch.arange(len(x)), 0],
    lambda x: x.repeat(2, 1)[: len(x)],
    lambda x: x.tril(),  # the first row keeps one value, the second two
    lambda x: x.triu(),
    lambda x: x.repeat(1, 9).diagonal()[: len(x), None].repeat(1, 6),
)


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_rows_that_are_named_by_number_are_not_taken_for_those_of_any_batch(number):
    class Rows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(6, 3)

        def forward(self, x):
            return self.last(ROWS[number](x)).relu()

    certificates = lower_bounds(Rows(), torch.rand(5, 6), [0] * 5)
    assert certificates.bound.isnan().all()
    assert "across the batch" in certificates.reason


def test_limits_in_buffers_are_limits():
    torch.manual_seed(0)
    first, last, x = nn.Linear(2, 6), nn.Linear(6, 3), torch.rand(4, 2)
    limits = (-0.5, 0.5), (torch.tensor(-0.5), torch.tensor(0.5))
    one, other = (nn.Sequential(first, Clamped(*ends), last).eval() for ends in limits)
    bounds = [lower_bounds(model, x, one(x).argmax(1)) for model in (one, other)]
    assert bounds[0].method == bounds[1].method == "lines"
    assert torch.equal(bounds[0].bound, bounds[1].bound)


def test_limits_are_those_of_the_networks_own_type():
    """A network cuts off at 0.7 in float32, which is not 0.7."""
    low, high = (float(torch.tensor(end)) for end in (-0.1, 0.7))
    assert trace(nn.Hardtanh(-0.1, 0.7), (2,)).nodes[1].op.parameters == (low, high)
    assert trace(nn.Threshold(0.7, 0.7), (2,)).nodes[1].op.parameters == (high,)
    padded = trace(nn.ConstantPad1d(1, 0.7), (1, 2)).nodes[1].op.offset
    assert padded.flatten().tolist() == [high, 0.0, 0.0, high]


def test_a_function_that_jumps_has_no_bound():
    model = nn.Sequential(nn.Linear(1, 1), nn.Softplus(threshold=1.0), nn.Linear(1, 2))
    for layer, weight, bias in ((model[0], [[4.0]], [0.0]), (model[2], [[1.0], [0.0]], [0.0, 1.15])):
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    x = torch.tensor([[0.24], [0.2501]])
    assert model(x).argmax(1).tolist() == [0, 1]
    certificates = lower_bounds(model, x[:1], [0])
    assert math.isnan(certificates.bound)
    assert "jumps" in certificates.reason


def test_a_change_in_place_that_nothing_else_reads_is_followed():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Dropout(), nn.ReLU(inplace=True), nn.Linear(8, 3)).eval()
    assert lower_bounds(model, torch.rand(2, 1, 4, 4), [0, 1]).method == "lines"
    part = lower_bounds(nn.Sequential(nn.Linear(2, 3), PartInPlace()).eval(), torch.rand(2, 2), [0, 1])
    assert (part.method, "in place" in part.reason) == ("none", True)


def test_the_least_spread_of_an_rms_norm_is_that_of_its_type():
    for kind in (torch.float32, torch.float64):
        bound = ig.operator_norm(nn.RMSNorm(4, dtype=kind), (4,)).upper_bound
        assert bound == pytest.approx(torch.finfo(kind).eps ** -0.5)


@pytest.mark.parametrize(
    ("make", "start", "span", "seed"),
    [
        (lambda: nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 3)), 200.0, 0.01, 0),
        (lambda: nn.Sequential(nn.GroupNorm(4, 16), nn.Linear(16, 3)), 200.0, 0.01, 0),
        (lambda: nn.Sequential(nn.LayerNorm(16, eps=1e-12), nn.Linear(16, 3)), 0.5, 1e-3, 0),
        (lambda: nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 3)), 100.0, 100.0, 0),
        (lambda: nn.Sequential(nn.Linear(16, 8), undone(8), nn.ReLU(), nn.Linear(8, 3)), 0.0, 1.0, 1),
    ],
    ids=["layer norm", "group norm", "layer norm of little contrast", "layer norm of much contrast", "batch norm"],
)
def test_the_roundings_of_a_normalisation_leave_no_bound_beyond_a_flip(make, start, span, seed):
    torch.manual_seed(seed)
    model, limits = make().eval(), {"lower": 0.0, "upper": 255.0}
    proven = 0
    with torch.no_grad():
        x = start + span * torch.rand(200, 16)
        labels = model(x).argmax(1)
        pairs = (labels[0::2] != labels[1::2]).nonzero().squeeze(1)[:8]
        here, there, own = x[2 * pairs], x[2 * pairs + 1], labels[2 * pairs]
        near = here
        for _ in range(40):
            middle = (near + there) / 2
            stays = (model(middle).argmax(1) == own)[:, None]
            near, there = torch.where(stays, middle, near), torch.where(stays, there, middle)
        for away in (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 0.5):
            images = near + away * (here - near)
            labels = model(images).argmax(1)
            bounds = lower_bounds(model, images, labels, **limits).bound.nan_to_num(0.0)
            proven += int((bounds > 0).sum())
            r = torch.randn(1000, *images.shape, dtype=torch.float64)
            r *= bounds[:, None] * torch.rand(1000, len(images), 1) / r.norm(dim=2, keepdim=True)
            changed = (images + r).float().clamp(0.0, 255.0)
            inside = (changed.double() - images).norm(dim=2) < bounds
            assert not bool((inside & (model(changed.flatten(0, 1)).argmax(1).reshape(1000, -1) != labels)).any())
    assert proven > 0 or span <= 1


class Each(nn.Module):
    """Feeds each image by itself, by vmap."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x):
        return torch.vmap(lambda one: self.inner(one[None])[0])(x)


class Sparse(nn.Linear):
    """A linear layer whose weights are made sparse in each pass."""

    def forward(self, x):
        return (self.weight.to_sparse() @ x.T).T


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [Each, lambda: Sparse(4, 3)], ids=["vmap", "sparse weights"])
def test_a_network_that_no_bound_can_read_is_searched(make):
    torch.manual_seed(0)
    model, x = make(), torch.rand(3, 4)
    result = ig.minimal_distortion(model, x, model(x).argmax(1), options=ig.SearchOptions(grade="fast", bounds="fast"))
    assert result.status == ["found"] * 3 and bool(result.lower_bound.isnan().all())
