"""Certified bounds: tight where they should be, null where nothing is proven, and clear about what cannot be."""

import math

import pytest
import torch
from torch import nn

import intriguing as ig
from intriguing.errors import InputError, UnknownNameError
from intriguing.stability import excluded_classes, local, lower_bounds, trace
from intriguing.stability.cost import operations
from intriguing.stability.lines import coupled, linear_bounds, relaxations
from intriguing.stability.lines.linear_bounds import LinearBounds
from intriguing.stability.problem import Network, Problem
from intriguing.stability.region import Region
from intriguing.stability.rounding import Rounding
from intriguing.stability.tracing.ops import Elementwise

from . import hunt


def test_a_linear_network_is_bounded_by_its_optimum():
    torch.manual_seed(0)
    model = nn.Sequential(hunt.Normalise(), nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.AvgPool2d(2),
                          nn.Flatten(), nn.Linear(27, 4), nn.Softmax(1)).eval()  # fmt: skip
    x = hunt.images(0, 24, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        labels = model(x).argmax(1)
    certificates = lower_bounds(model, x, labels)
    assert certificates.method == "exact"
    result = ig.minimal_distortion(nn.Sequential(*model[:-1]), x, labels)
    ok = torch.tensor([s == "found" for s in result.status])
    assert int(ok.sum()) > 5
    ratio = (certificates.bound / result.l2)[ok]
    assert bool((ratio <= 1).all())
    assert float(ratio.median()) > 0.995


def test_the_slow_effort_proves_more_and_each_class_has_a_bound():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 20), nn.Sigmoid(), nn.Linear(20, 20), nn.Sigmoid(), nn.Linear(20, 4)
    ).eval()
    for p in model.parameters():
        p.data.mul_(4.0)
    x = hunt.images(3, 24, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        labels = model(x).argmax(1)
    fast, slow = (lower_bounds(model, x, labels, effort=e) for e in ("fast", "slow"))
    assert (fast.method, slow.method) == ("lines", "coupled")
    assert bool((slow.per_class >= fast.per_class).all())
    assert float((slow.bound / fast.bound).median()) > 1.05
    rows = torch.arange(24)
    assert bool(slow.per_class[rows, labels].isinf().all())
    targets = (labels + 1) % 4
    aimed = lower_bounds(model, x, labels, targets).bound
    assert bool((aimed >= fast.per_class[rows, targets]).all())
    assert float((aimed / fast.per_class[rows, targets]).median()) > 1.2


class Square(nn.Module):
    def forward(self, x):
        return x * x


class InHalf(nn.Module):
    def forward(self, x):
        return x.half().float()


def _deep(depth, act):
    """A dense network of so many layers, each of which stretches a change by about 2.4."""
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(36, 16)]
    for _ in range(depth):
        layers += [act(), nn.Linear(16, 16)]
    model = nn.Sequential(*layers, act(), nn.Linear(16, 4)).eval()
    for p in model.parameters():
        if p.ndim == 2:
            nn.init.normal_(p, std=1.4 / p.shape[1] ** 0.5)
    return model


@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh])
def test_deep_networks_are_bounded_although_the_product_of_their_norms_is_of_no_use(act):
    model, x = _deep(12, act), hunt.images(3, 4, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        labels = model(x).argmax(1)
        problem = Problem.of(Network.of(trace(model, (1, 6, 6)), x), x, labels, (0.0, 1.0), None)
        assert bool((problem.slack(torch.zeros(4).double()) > problem.margins).any(1).all())
    found = ig.minimal_distortion(model, x, labels, options=ig.SearchOptions(grade="fast"))
    proven = lower_bounds(model, x, labels, found=found.l2)
    assert proven.method == "lines"
    ok = torch.tensor([status == "found" for status in found.status])
    assert bool((proven.bound > 0).all())
    assert bool((proven.bound <= found.l2)[ok].all())


def test_errors_counted_step_by_step_hold_the_values_that_float32_gives():
    for seed in range(6):
        model, shape, box = hunt.network(seed) if seed else (_deep(14, nn.Tanh), (1, 6, 6), (0.0, 1.0))
        graph = trace(model, shape)
        x = hunt.images(seed, 16, shape, box)
        network = Network.of(graph, x)
        if not linear_bounds.can_bound(network.graph):
            continue
        values = network.graph.values(x.double())
        bounds, still = LinearBounds(network.graph, x.double().flatten(1)[:0]), torch.zeros(16).double()
        region = Region.of(x.double().flatten(1), *box)
        float32 = network.graph.to(x[:0]).values(x)
        rows = torch.eye(values[-1].shape[1], dtype=torch.float64)[None]
        escaped = 0
        for counted in (None, network.rounding):
            bounds.rounding = counted
            intervals = bounds.intervals(values, region, still)
            form = bounds.form(len(values) - 1, torch.cat([rows, -rows], 1), values, intervals)
            real = torch.cat([float32[-1], -float32[-1]], 1).double()
            outside = [(float32[i] < low) | (float32[i] > high) for i, (low, high) in intervals.items()]
            outside.append(real < form.constant)
            escaped = sum(int(o.sum()) for o in outside)
            if counted is None and seed == 0:
                # Without errors the intervals are the exact values with room for the rounding of float64 alone.
                assert escaped > 100
        assert escaped == 0, seed
        if seed == 0:
            assert float((real - form.constant).amax()) < 1e-2


class Halved(nn.Module):
    """A network that goes over to half precision by itself."""

    def __init__(self, inner, dtype):
        super().__init__()
        self.inner, self.dtype = inner, dtype

    def forward(self, x):
        with torch.autocast("cpu", self.dtype):
            return self.inner(x).float()


@pytest.mark.parametrize(
    "norm", [nn.LayerNorm(16), nn.RMSNorm(16), nn.GroupNorm(2, 16), nn.Sequential(nn.Unflatten(1, (2, 8)),
             nn.InstanceNorm1d(2), nn.Flatten()), nn.LocalResponseNorm(3)], ids=lambda m: type(m).__name__
)  # fmt: skip
def test_a_network_without_lines_is_bounded_near_the_image(norm):
    torch.manual_seed(0)
    dense = not isinstance(norm, nn.LocalResponseNorm)
    middle = [norm, nn.ReLU()] if dense else [nn.Unflatten(1, (4, 4)), norm, nn.Flatten(), nn.Sigmoid()]
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), *middle, nn.Linear(16, 4)).eval()
    x = hunt.images(3, 24, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        labels = model(x).argmax(1)
    found = ig.minimal_distortion(model, x, labels)
    with torch.no_grad():
        problem = Problem.of(Network.of(trace(model, (1, 6, 6)), x), x, labels, (0.0, 1.0), found.l2.double())
        near, product = local.bounds(problem), problem._product()
    assert float((near / product).nan_to_num(posinf=0).amax()) > (10 if dense else 0.999)
    proven = lower_bounds(model, x, labels, found=found.l2)
    assert proven.method == ("local" if dense else "product")
    assert "no lines are known for" in proven.reason
    assert not bool((proven.bound > found.l2).any())


def test_reaches_near_an_image_hold_what_the_network_does_there():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 12),
                          nn.Sigmoid(), nn.RMSNorm(12), nn.Linear(12, 4)).eval()  # fmt: skip
    graph = trace(model, (1, 6, 6))
    x = torch.rand(4, 1, 6, 6, dtype=torch.float64)
    values, gains = graph.values(x), Network.of(graph, x).rounding.gains
    for size in (0.05, 0.4, 2.0):
        reach = local.reaches(graph, values, torch.full((4,), size, dtype=torch.float64), gains)
        for _ in range(200):
            r = torch.randn(x.shape, dtype=torch.float64)
            r = r / r.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) * size
            for node, (there, here) in enumerate(zip(graph.values(x + r), values, strict=True)):
                moved = (there - here).flatten(1).norm(dim=1)
                assert bool((moved <= reach[node] * (1 + 1e-9)).all()), (size, graph.nodes[node].name)


def test_an_unknown_operation_leaves_nothing_proven_and_is_named():
    x = hunt.images(3, 4, (1, 6, 6), (0.0, 1.0))
    for layer, name in ((Square(), "product of two inputs"), (InHalf(), "float16")):
        nothing = lower_bounds(nn.Sequential(nn.Flatten(), layer, nn.Linear(36, 3)).eval(), x, [0, 1, 2, 0])
        assert nothing.method == "none"
        assert bool(nothing.bound.isnan().all())
        assert name in nothing.reason
    half = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval().to(torch.bfloat16)
    assert "bfloat16" in lower_bounds(half, x, [0, 1, 2, 0]).reason


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nothing_is_proven_of_a_network_that_computes_in_half_precision_inside(dtype):
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x = hunt.images(3, 4, (1, 6, 6), (0.0, 1.0))
    # Its last layer is so large that half precision differs from the exact network by less than a thousandth.
    inner[3].bias.data.fill_(30.0)
    for model in (Halved(inner, dtype), inner):
        with torch.autocast("cpu", dtype, enabled=model is inner):
            nothing = lower_bounds(model, x, [0, 1, 2, 0])
        assert nothing.method == "none"
        assert str(dtype) in nothing.reason
    graph = trace(inner, (1, 6, 6))
    with torch.no_grad():
        labels = inner(x).argmax(1)
    plain = lower_bounds(graph, x, labels)
    with torch.autocast("cpu", dtype):
        assert torch.equal(lower_bounds(graph, x, labels).bound, plain.bound)


def test_parts_and_maxima_of_channels_are_bounded_by_lines():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), hunt.Swapped(nn.ReLU()), nn.RReLU(), hunt.Highest(), nn.ChannelShuffle(2),
                          nn.Flatten(), nn.Threshold(0.1, 0.1), nn.Linear(16, 3)).eval()  # fmt: skip
    x = hunt.images(3, 8, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        labels = model(x).argmax(1)
    proven = lower_bounds(model, x, labels)
    assert (proven.method, proven.reason) == ("lines", "")
    found = ig.minimal_distortion(model, x, labels)
    ok = torch.tensor([status == "found" for status in found.status])
    assert bool((proven.bound <= found.l2)[ok].all())
    assert float((proven.bound / found.l2)[ok].median()) > 0.3


def test_branches_that_meet_again_do_not_make_linear_bounds_dearer_than_they_are():
    inner = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    deep, plain = (
        nn.Sequential(*[hunt.Residual(inner, nn.Identity()) if branched else inner for _ in range(n)])
        for branched, n in ((True, 30), (False, 30))
    )
    branched, chain = (operations(trace(model, (6,))) for model in (deep, plain))
    assert chain < branched < 3 * chain


def test_a_hopeless_proof_of_a_dear_network_ends_before_its_norms_are_computed(monkeypatch):
    torch.manual_seed(0)
    layers = [layer for _ in range(12) for layer in (nn.Linear(36, 36), nn.Sigmoid())]
    model = nn.Sequential(nn.Flatten(), *layers, nn.Linear(36, 3)).eval()
    with torch.no_grad():
        for layer in layers[::2]:
            layer.weight.mul_(20)
        x = hunt.images(3, 4, (1, 6, 6), (0.0, 1.0))
        labels = model(x).argmax(1)
    network = Network.of(trace(model, (1, 6, 6)), x)
    values, still = network.graph.values(x.double()), torch.zeros(4).double()
    few, all_of_them = (r.pair_error(values, still, labels) for r in (network.least_rounding, network.rounding))
    assert bool((few <= all_of_them).all()) and bool((few > 0.01 * all_of_them).all())
    monkeypatch.setattr(Network, "rounding", property(lambda network: pytest.fail("norms were computed")))
    nothing = lower_bounds(model, x, labels, gigaflops=1e-9)
    assert nothing.method == "none"
    assert "gigaflops" in nothing.reason and "rounding" in nothing.reason


def test_a_network_that_is_too_dear_is_bounded_by_norms_with_the_reason():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Sigmoid(), nn.Linear(8, 3)).eval()
    x = hunt.images(3, 8, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        model[1].weight.mul_(4)
        labels = model(x).argmax(1)
    dear, cheap = (lower_bounds(model, x, labels, gigaflops=g) for g in (1e-9, 10.0))
    assert (dear.method, cheap.method) == ("local", "lines")
    assert "gigaflops" in dear.reason
    assert cheap.reason == ""
    assert bool((dear.bound > 0).all()) and bool((dear.bound < cheap.bound).all())


def test_bounds_are_for_the_box_that_is_given_value_by_value():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Sigmoid(), nn.Linear(8, 3)).eval()
    x = hunt.images(3, 8, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        labels = model(x).argmax(1)
    low, high = torch.zeros(1, 6, 6), torch.ones(1, 1, 1)
    plain, tensors = lower_bounds(model, x, labels), lower_bounds(model, x, labels, lower=low, upper=high)
    assert torch.equal(plain.bound, tensors.bound)
    wider = lower_bounds(model, x, labels, lower=low - 1, upper=high)
    assert bool((wider.bound <= plain.bound).all()) and float(wider.bound.sum()) < float(plain.bound.sum())
    with pytest.raises(InputError, match="gives 3 classes"):
        lower_bounds(model, x, [3] * 8)


def test_an_image_that_is_wrong_already_is_at_no_distance():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()
    x = hunt.images(3, 6, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        labels = (model(x).argmax(1) + 1) % 3
    assert bool((lower_bounds(model, x, labels).bound == 0).all())


@pytest.mark.parametrize("wrong", [1, 3])
def test_an_image_that_is_wrong_already_takes_no_proof_from_the_others(wrong):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x = hunt.images(3, 4, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        order = model(x).argsort(1)
    labels = torch.where(torch.arange(4) < wrong, order[:, 0], order[:, 2])
    bound = lower_bounds(model, x, labels, effort="slow").bound
    assert bool((bound[:wrong] == 0).all())
    alone = lower_bounds(model, x[wrong:], labels[wrong:], effort="slow").bound
    assert torch.allclose(bound[wrong:], alone, rtol=1e-3)
    assert bool((bound[wrong:] > 0).all())


@pytest.mark.parametrize("effort", ["fast", "slow"])
def test_a_target_that_the_model_gives_already_is_at_no_distance(effort):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    x = hunt.images(3, 6, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        given = model(x).argmax(1)
    targets = torch.where(torch.arange(6) < 3, given, (given + 1) % 3)
    mixed = lower_bounds(model, x, (given + 2) % 3, targets, effort=effort)
    usual = lower_bounds(model, x[3:], given[3:], targets[3:], effort=effort)
    assert mixed.bound[:3].tolist() == [0.0] * 3
    assert mixed.per_class.gather(1, targets[:, None]).squeeze(1).equal(mixed.bound)
    assert torch.allclose(mixed.bound[3:], usual.bound, rtol=1e-4) and bool((usual.bound > 0).all())


@pytest.mark.parametrize("effort", ["fast", "slow"])
def test_with_a_target_no_other_class_is_said_to_be_farther_than_it_is(effort):
    torch.manual_seed(46)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4)).eval()
    for p in model.parameters():
        p.data.mul_(4.0)
    x = torch.rand(8, 2)
    side = torch.linspace(0, 1, 201)
    points = torch.cartesian_prod(side, side)
    with torch.no_grad():
        given, reached = model(x).argmax(1), model(points).argmax(1)
    away = torch.cdist(x.double(), points.double())
    nearest = torch.stack([away.masked_fill(reached != k, torch.inf).amin(1) for k in range(4)], 1)
    proven = lower_bounds(model, x, given, (given + 1) % 4, effort=effort)
    own = torch.arange(4) == given[:, None]
    assert not bool((proven.per_class > nearest)[~own].any())
    assert int(((nearest < torch.inf) & ~own).sum()) == 24 and bool((proven.bound > 0).any())


@pytest.mark.parametrize("gigaflops", [10.0, 0.0])
def test_classes_are_excluded_as_far_as_their_distance_is_proven(gigaflops):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(25, 16), nn.ReLU(), nn.Linear(16, 6)).eval()
    x = torch.rand(8, 1, 5, 5)
    labels = model(x).argmax(1)
    network = Network.of(trace(model, (1, 5, 5)), x)
    own = torch.arange(6) == labels[:, None]
    options = ig.SearchOptions(exact_linear="off")
    nearest = torch.full((8, 6), torch.inf)
    for k in range(1, 6):
        targets = (labels + k) % 6
        nearest[torch.arange(8), targets] = ig.minimal_distortion(model, x, labels, targets, options).l2.nan_to_num(
            torch.inf
        )
    counts = []
    for radius in (0.001, 0.3, 0.6, 1.0, 2.0, 4.0):
        mask = excluded_classes(network, x, labels, torch.full((8,), radius), gigaflops=gigaflops)
        assert not bool((mask & (own | (nearest < radius))).any())
        counts.append(int(mask.sum()))
    assert counts[0] == 40 and counts == sorted(counts, reverse=True)
    # Each class has its own radius: at that of the nearest, farther ones are excluded.
    mask = excluded_classes(model, x, labels, 0.6 * nearest.amin(1), gigaflops=gigaflops)
    assert int(mask.sum()) > 8
    linear = nn.Sequential(nn.Flatten(), nn.Linear(25, 6)).eval()
    labels = linear(x).argmax(1)
    exact = lower_bounds(linear, x, labels).per_class.masked_fill(torch.arange(6) == labels[:, None], -1.0)
    distance = exact.where(exact.isfinite(), 0.0).median(1).values
    assert torch.equal(excluded_classes(linear, x, labels, distance), exact >= distance[:, None])


def test_nothing_is_excluded_of_a_network_that_cannot_be_read():
    def branches(x):
        return x.flatten(1) if float(x.sum()) > 0 else -x.flatten(1)

    model = nn.Module()
    model.forward = branches
    assert not bool(excluded_classes(model, torch.rand(2, 1, 2, 2), [0, 1], torch.ones(2)).any())
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    for radius in (torch.tensor([1.0, -1.0]), torch.tensor([1.0, torch.inf]), torch.ones(3)):
        with pytest.raises(InputError, match="radius must be"):
            excluded_classes(net, torch.rand(2, 1, 2, 2), [0, 1], radius)


def test_bad_arguments_are_refused():
    model, x = nn.Linear(4, 3), torch.rand(2, 4)
    with pytest.raises(InputError, match="outside of the box"):
        lower_bounds(model, x + 1, [0, 1])
    with pytest.raises(InputError, match="labels"):
        lower_bounds(model, x, [0])
    with pytest.raises(UnknownNameError, match="fast"):
        lower_bounds(model, x, [0, 1], effort="quick")


def test_the_float32_slack_covers_what_float32_does():
    torch.manual_seed(0)
    for seed in range(8):
        model, shape, box = hunt.network(seed)
        graph = trace(model, shape)
        x = hunt.images(seed, 64, shape, box)
        if graph.nodes[-1].op.kind in ("softmax", "log_softmax"):
            continue
        values = graph.values(x.double())
        with torch.no_grad():
            wrong = (model(x).double() - values[-1]).norm(dim=1)
        error = Rounding.of(graph).error(values, torch.zeros(64).double())
        assert bool((wrong <= error).all())
        assert bool((error < math.inf).all())


def test_elementwise_operations_that_cannot_be_relaxed_are_named():
    assert not relaxations.can_relax(Elementwise("softshrink", (0.5,)))


def test_an_image_without_a_factor_does_not_stop_the_others():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    graph, x = trace(model, (1, 6, 6)), torch.rand(2, 1, 6, 6).double()
    bounds = LinearBounds(graph, x.flatten(1)[:0])
    chain = coupled.Chain.of(bounds)
    rows = torch.eye(3, dtype=torch.float64)[None].expand(2, -1, -1)
    problem = coupled.Coupled(chain, bounds.graph, bounds.graph.values(x), Region.of(x.flatten(1), 0.0, 1.0), rows)
    least, most = torch.zeros(2, 6, dtype=torch.float64), torch.ones(2, 6, dtype=torch.float64)
    multipliers = torch.stack([torch.full((6,), 1e-3), torch.full((6,), 1e9)]).double()
    box = torch.zeros(2, 3, 36, dtype=torch.float64)
    square, _ = problem._boxed(multipliers, coupled.Sectors(least, most, *problem._ends()), box, steps=3)
    assert bool(square[0].isfinite().all())
    assert bool(square[1].isinf().all())


@pytest.mark.parametrize("effort", ["fast", "slow"])
def test_a_default_device_of_the_caller_changes_nothing(effort):
    """Under torch.set_default_device labels given as a list, and what the proof makes, came to lie on that device."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4)).eval()
    x = hunt.images(0, 4, (1, 6, 6), (0.0, 1.0))
    with torch.no_grad():
        labels = model(x).argmax(1).tolist()
    wanted = lower_bounds(model, x, labels, effort=effort).bound
    excluded = excluded_classes(model, x, labels, wanted / 2)
    assert bool((wanted > 0).all())
    with torch.device("meta"):
        assert torch.equal(lower_bounds(model, x, labels, effort=effort).bound, wanted)
        assert torch.equal(excluded_classes(model, x, labels, wanted / 2), excluded)
