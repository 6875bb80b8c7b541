"""Relaxations and regions are sound: every line, slope and radius holds, and a planted error in one is caught."""

import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.stability import lower_bounds, trace
from intriguing.stability.lines import coupled, linear_bounds, relaxations
from intriguing.stability.lines.linear_bounds import LinearBounds
from intriguing.stability.lines.relu_ball import bending_norms, relu_ball
from intriguing.stability.lipschitz.gains import slope_bound
from intriguing.stability.region import Region
from intriguing.stability.tracing.ops import Elementwise

from . import hunt

FUNCTIONS = [node.op for act in hunt.ACTIVATIONS for node in trace(act(), (2,)).nodes[1:]]


@pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.kind)
def test_lines_hold_on_every_part_of_the_interval(op):
    g = torch.Generator().manual_seed(0)
    low = 5 * torch.randn(150, generator=g, dtype=torch.float64)
    high = low + torch.rand(150, generator=g, dtype=torch.float64) ** 4 * 12
    slopes = tuple(torch.rand(150, generator=g, dtype=torch.float64) * 1.4 - 0.2 for _ in range(2))
    cells = 2000
    z = low + (high - low) * torch.linspace(0, 1, cells + 1, dtype=torch.float64)[:, None]
    for given in (None, slopes):
        k, b, k2, b2 = relaxations.lines(op, low, high, given)
        below, above = op.function(z) - k * z - b, k2 * z + b2 - op.function(z)
        # Between two points a gap falls by at most its Lipschitz constant times half a cell (interval arithmetic).
        steep = slope_bound(op) + torch.maximum(k.abs(), k2.abs())
        room = steep * (high - low) / cells / 2
        assert bool((below.amin(0) >= 0).all())
        assert bool((above.amin(0) >= 0).all())
        assert bool((torch.minimum(below, above).amin(0) + room >= 0).all())
        # No more slack than rounding and the grid ask for: each line touches.
        touch = 1e-3 + (high - low) ** 2 * 1e-4
        assert bool((below.amin(0) <= touch).all())
        assert bool((above.amin(0) <= touch).all())


@pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.kind)
def test_secants_hold_every_slope_through_the_image(op):
    g = torch.Generator().manual_seed(1)
    at = torch.cat([4 * torch.randn(150, generator=g, dtype=torch.float64), torch.tensor([0.0, 1e-9, 3.0]).double()])
    low = at - torch.rand(153, generator=g, dtype=torch.float64) ** 3 * 8
    high = at + torch.rand(153, generator=g, dtype=torch.float64) ** 3 * 8
    least, most = coupled.secants(op, at, low, high)
    z = low + (high - low) * torch.linspace(0, 1, 3001, dtype=torch.float64)[:, None]
    step = z - at
    slope = torch.where(step.abs() < 1e-5, least, (op.function(z) - op.function(at)) / step)
    assert bool((slope >= least - 1e-9).all())
    assert bool((slope <= torch.maximum(most, least) + 1e-9).all())


def test_intervals_hold_what_the_network_does_inside_of_the_region():
    for seed in range(14):
        model, shape, box = hunt.network(seed)
        model = model.double()
        x = hunt.images(seed, 3, shape, box).double()
        graph = trace(model, shape)
        flat = x.flatten(1)
        bounds, region = LinearBounds(graph, flat[:0]), Region.of(flat, *box)
        radius = torch.full((3,), 0.4, dtype=torch.float64)
        values = bounds.graph.values(x)
        kinds = {n.op.kind for n in bounds.graph.nodes[1:]}
        if kinds & {"softmax", "log_softmax"}:
            continue
        intervals = bounds.intervals(values, region, radius)
        rows = torch.randn(1, 4, *bounds.graph.nodes[-1].shape, dtype=torch.float64)
        form = bounds.form(len(values) - 1, rows, values, intervals)
        for _ in range(60):
            r = torch.randn_like(flat) * (torch.rand(3, 1) * 3).exp()
            r = torch.minimum(torch.maximum(r * 0.4 / r.norm(dim=1, keepdim=True), region.low), region.high)
            there = bounds.graph.values((flat + r).reshape(x.shape))
            for i, (low, high) in intervals.items():
                assert bool((there[i] >= low).all() and (there[i] <= high).all()), (seed, graph.nodes[i].name)
            real = there[-1].flatten(1) @ rows[0].flatten(1).T
            line = form.constant + torch.einsum("brn,bn->br", form.slope, r)
            assert bool((real >= line - 1e-9).all()), seed


def test_the_least_of_a_linear_form_over_ball_and_box_is_never_missed():
    g = torch.Generator().manual_seed(0)
    x = torch.rand(6, 9, generator=g, dtype=torch.float64).mul(1.6).sub(0.3).clamp(0, 1)
    region = Region.of(x, 0.0, 1.0)
    a = torch.randn(6, 4, 9, generator=g, dtype=torch.float64)
    r = torch.randn(4000, 6, 9, generator=g, dtype=torch.float64)
    r = torch.minimum(torch.maximum(r, region.low), region.high)
    along = torch.einsum("krn,skn->skr", a, r)
    assert bool((along >= -region.norms(a) * r.norm(dim=2)[:, :, None] - 1e-12).all())
    c = torch.rand(6, 4, generator=g, dtype=torch.float64)
    reached = region.distance(a, c)
    over = along <= -c
    assert bool((r.norm(dim=2)[:, :, None].expand_as(along)[over] >= reached.expand_as(along)[over]).all())


def test_relus_in_a_ball_are_never_below_their_bound():
    g = torch.Generator().manual_seed(0)
    at, c = torch.randn(3, 7, generator=g).double(), torch.randn(3, 5, 7, generator=g).double()
    low, high = at - torch.rand(3, 7, generator=g).double() * 2, at + torch.rand(3, 7, generator=g).double() * 2
    radius = torch.tensor([0.3, 1.0, 2.5]).double()
    k, _, k2, _ = relaxations.lines(Elementwise("relu"), low, high)
    slope = torch.where(c > 0, c * k[:, None], c * k2[:, None])
    bound = relu_ball(c, slope, at, low, high, radius)
    z = torch.randn(20000, 3, 7, generator=g).double()
    z = z / z.norm(dim=2, keepdim=True) * radius[:, None] * torch.rand(20000, 1, 1, generator=g).double() ** 0.1
    z = torch.minimum(torch.maximum(at + z, low), high)
    value = torch.einsum("brn,sbn->sbr", c, z.relu()) - torch.einsum("brn,sbn->sbr", slope, z)
    stable = torch.where(((low < 0) & (high > 0))[:, None], 0.0, c * at[:, None].relu() - slope * at[:, None]).sum(2)
    assert bool((value.amin(0) >= bound + stable - 1e-9).all())
    assert bool((value.amin(0) <= bound + stable + 1.0).all())


def test_values_that_bend_never_move_further_together_than_their_rows_do():
    g = torch.Generator().manual_seed(0)
    weight, at = torch.randn(20, 9, generator=g).double(), torch.randn(6, 20, generator=g).double()
    reach = torch.tensor([0.0, 0.1, 0.3, 1.0, 3.0, 100.0]).double()[:, None]
    low, high = at - reach, at + reach
    norms = bending_norms(weight @ weight.T, low, high)
    for row, norm in enumerate(norms):
        bends = (low[row] < 0) & (high[row] > 0)
        true = torch.linalg.matrix_norm(weight[bends], 2) if bends.any() else torch.tensor(0.0).double()
        assert float(true) <= float(norm) <= float(true) * (1 + 1e-8) + 1e-4
    assert float(norms[5]) > float(norms[3]) > float(norms[1])
    assert torch.equal(bending_norms((weight @ weight.T).float(), low[:1].float(), high[:1].float()), torch.zeros(1))


@pytest.mark.slow
def test_no_search_result_lies_below_its_bound():
    trials, bounded, bad = hunt.hunt(9, seed=100, grades=("fast", "fast", "best"))
    assert bad == []
    assert bounded == trials == 9 * 16
    trials, bounded, bad = hunt.hunt(2, seed=200, count=4, grades=("faithful",))
    assert (bad, bounded, trials) == ([], 8, 8)


def _tilted(*args, **options):
    k, b, k2, b2 = _LINES(*args, **options)
    return k, b + 0.3 * (args[2] - args[1]), k2, b2


def _chord(op, shape, k, low, high, side):
    return _INTERCEPT(op, shape, k, low, high, side if side > 0 else 1)


def _narrow(*args):
    a, b = _SECANTS(*args)
    return a, (a + b) / 2


def _short(*args):
    return bending_norms(*args) / 10


_LINES, _INTERCEPT, _SECANTS = relaxations.lines, relaxations.intercept, coupled.secants


@pytest.mark.parametrize(
    ("module", "name", "wrong", "effort"),
    [
        (relaxations, "lines", _tilted, "fast"),
        (relaxations, "intercept", _chord, "fast"),
        (coupled, "secants", _narrow, "slow"),
        (linear_bounds, "_pool_back", None, "fast"),
        (Region, "_masks", None, "fast"),
        (linear_bounds, "bending_norms", _short, "fast"),
    ],
    ids=["a line that is too high", "the intercept of the other side", "sectors of half the width",
         "a max-pool by its mean", "a pixel that moves one way taken as fixed", "a ball of a tenth of its radius"],
)  # fmt: skip
def test_a_planted_error_is_caught(monkeypatch, module, name, wrong, effort):
    if name == "_pool_back":
        right = linear_bounds._pool_back

        def wrong(a, table, low, high):
            return right(a, table, (low + high) / 2, (low + high) / 2)

    if name == "_masks":
        masks = Region._masks

        def wrong(self, like):
            down, up = masks(self, like)
            return down * up, down * up

    monkeypatch.setattr(module, name, wrong)
    torch.manual_seed(0)
    pool = nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)).eval()
    dense = [nn.Sequential(nn.Flatten(), nn.Linear(36, 12), act(), nn.Linear(12, 3)).eval()
             for act in (nn.ReLU, nn.Sigmoid, nn.ReLU, nn.Tanh)]  # fmt: skip
    caught = 0
    for seed, model in enumerate([pool] if name == "_pool_back" else dense):
        for p in model.parameters():
            p.data.mul_(3.0)
        x = hunt.images(seed, 48, (1, 6, 6), (0.0, 1.0))
        with torch.no_grad():
            labels = model(x).argmax(1)
        found = ig.minimal_distortion(model, x, labels)
        bound = lower_bounds(model, x, labels, effort=effort).bound
        caught += int((found.l2.double() < bound).sum())
    assert caught > 0
