"""Operations beside layers: the norm is that of brute force, no slope and no pair of points is above the bound."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import intriguing as ig
from intriguing.stability import layer_norms, lower_bounds, trace
from intriguing.stability.rounding import Rounding

from .hunt import Does


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).double()


class With(nn.Module):
    """A function of the input and of constants."""

    def __init__(self, function, *constants):
        super().__init__()
        self.function, self.constants = function, constants

    def forward(self, x):
        return self.function(x, *(c.to(x) if c.is_floating_point() else c for c in self.constants))


def einsum(equation, shape, *constants):
    return With(lambda x, *c: torch.einsum(equation, x, *c), *(drawn(*s) for s in constants)), shape


LINEAR = [
    einsum("bij,jk->bik", (3, 4), (4, 5)),
    einsum("bij,ijk->bik", (3, 4), (3, 4, 5)),
    einsum("bij,ijk->bk", (3, 4), (3, 4, 5)),
    einsum("bij,jk->bk", (3, 4), (4, 5)),
    einsum("bij,jk->bij", (3, 4), (4, 5)),
    einsum("bij,k->bkij", (3, 4), (6,)),
    einsum("bij,ij->bji", (3, 4), (3, 4)),
    einsum("bij,jk,kl->bil", (3, 4), (4, 5), (5, 2)),
    einsum("bij->bi", (3, 4)),
    einsum("...j,jk->...k", (3, 4), (4, 5)),
    einsum("bij,jk", (3, 4), (4, 5)),
    (With(lambda x, w: x.view(-1, 3, 1, 4) @ w, drawn(3, 4, 5)), (12,)),
    (With(lambda x, w: x @ w, drawn(7, 4, 5)), (1, 3, 4)),
    (With(lambda x, w: x @ w, drawn(2, 7, 4, 5)), (1, 1, 3, 4)),
    (With(lambda x, w: x @ w, drawn(1, 4, 5)), (3, 4)),
    (With(lambda x, w: w @ x, drawn(6, 5, 3)), (6, 3, 4)),
    (With(lambda x, w: w @ x, drawn(3)), (3, 4)),
    (With(lambda x, w: x @ w, drawn(4)), (3, 4)),
    (With(lambda x, w: x.mv(w)[:, None], drawn(4)), (4,)),
    (With(lambda x, w: torch.bmm(x, w.expand(len(x), 4, 5)), drawn(4, 5)), (3, 4)),
    (With(lambda x, w: torch.tensordot(x, w, ([2, 1], [0, 1])), drawn(4, 3, 2)), (3, 4)),
    (Does(lambda x: x.cumsum(-1)), (3, 5)),
    (Does(lambda x: torch.stack([x, x, x], 2)), (3, 4)),
    (Does(lambda x: torch.stack([x, 2 * x, x], 1)), (3, 4)),
    (Does(lambda x: torch.cat([x, -2 * x, x], -1)), (3, 4)),
    (With(lambda x, c: torch.cat([c.expand(len(x), -1, -1), x], 1), drawn(1, 1, 4)), (3, 4)),
    (Does(lambda x: x + x.mean(2, keepdim=True)), (3, 4)),
    (Does(lambda x: torch.lerp(x, x.flip(1), 3.0)), (3, 4)),
    (With(lambda x, m: x.masked_fill(m, 2.0), torch.tensor([True, False, False, True])), (3, 4)),
    (Does(lambda x: F.interpolate(x, size=(7, 5), mode="bilinear", antialias=True)), (2, 4, 3)),
    (Does(lambda x: F.interpolate(x, size=(3, 4), mode="bicubic", antialias=True)), (1, 6, 5)),
    (Does(lambda x: F.interpolate(x, size=(7, 2), mode="nearest-exact")), (2, 4, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape"), LINEAR, ids=[str(n) for n in range(len(LINEAR))])
def test_a_linear_operation_has_the_norm_of_its_matrix(layer, shape):
    n = math.prod(shape)
    eye = torch.eye(n, dtype=torch.float64).reshape(n, *shape)
    true = float(torch.linalg.matrix_norm((layer(eye) - layer(0 * eye[:1])).flatten(1), 2))
    result = ig.operator_norm(layer, shape)
    assert result.norm == pytest.approx(true, rel=1e-5)
    assert true * (1 - 1e-12) <= result.upper_bound <= true * (1 + 1e-5)


def channels():
    layer = nn.PReLU(3)
    layer.weight.data = torch.tensor([-2.0, 0.3, 1.5])
    return layer


BENT = [
    (Does(lambda x: torch.maximum(x[:, :2], x[:, 2:])), (4,), math.sqrt(2)),
    (Does(lambda x: torch.minimum(x[:, :2], x[:, 2:])), (4,), math.sqrt(2)),
    (Does(lambda x: torch.min(x, x.mean(1, keepdim=True))), (4, 3), math.sqrt(2)),
    (With(torch.maximum, drawn(4)), (3, 4), 1.0),
    (With(lambda x, c: torch.minimum(c, x), drawn(3, 4)), (3, 4), 1.0),
    (With(lambda x, c: torch.clamp(x, c, c + 1), drawn(4)), (3, 4), 1.0),
    (With(torch.clamp, drawn(4), drawn(1)), (3, 4), 1.0),
    (Does(lambda x: x.amax(1, keepdim=True)), (3, 4), 1.0),
    (Does(lambda x: x.amin((1, 3))), (3, 4, 2), 1.0),
    (Does(lambda x: x.min(2).values), (3, 4), 1.0),
    (channels(), (3, 4), 2.0),
    (nn.Softsign(), (3,), 1.0),
    (Does(lambda x: x.logsumexp((1, 2))), (4, 3), 1.0),
    (Does(lambda x: x.norm(dim=1)), (4, 3), 1.0),
    (Does(lambda x: torch.linalg.vector_norm(x, 1, dim=(1, 2))), (4, 3), math.sqrt(12)),
    (Does(lambda x: torch.linalg.vector_norm(x, 1.5, dim=1)), (4, 3), 4 ** (1 / 1.5 - 0.5)),
    (Does(lambda x: torch.linalg.vector_norm(x, math.inf, dim=1)), (4, 3), 1.0),
    (With(torch.cdist, drawn(5, 4)), (4,), math.sqrt(5)),
    (Does(lambda x: x.sort(1, descending=True)[0]), (5, 2), 1.0),
    (Does(lambda x: x.topk(2, 1)[0]), (5,), 1.0),
    (Does(torch.sin), (4,), 1.0),
    (Does(torch.erf), (4,), 2 / math.sqrt(math.pi)),
    (nn.Softmax(1), (1, 4), 0.0),
    (nn.LogSoftmax(1), (1, 4), 0.0),
    (nn.LogSoftmax(1), (3, 4), math.sqrt(3)),
    (nn.LPPool2d(2, 2, 1), (2, 4, 4), 2.0),
    (nn.LPPool2d(2, 3, 2, ceil_mode=True), (1, 6, 6), 2.5),
    (nn.LPPool1d(4, 3, 2, ceil_mode=True), (2, 6), (1 + 1.5**0.5) ** 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape", "constant"), BENT, ids=[str(n) for n in range(len(BENT))])
def test_no_slope_and_no_pair_of_points_is_above_the_bound(layer, shape, constant):
    bound = ig.operator_norm(layer, shape).upper_bound
    assert bound == pytest.approx(constant, rel=1e-6)
    layer = layer.double()
    g = torch.Generator().manual_seed(0)
    for scale in (1e-3, 0.1, 1.0, 3.0, 30.0):
        x, y = (scale * torch.randn(40, *shape, generator=g, dtype=torch.float64) for _ in range(2))
        y = torch.cat([y, x + 1e-4 * y])
        x = torch.cat([x, x])
        moved = (layer(x) - layer(y)).detach().reshape(len(x), -1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
        assert float(moved.amax()) <= bound * (1 + 1e-9) + 1e-15
        for one in x[:8]:
            slope = torch.autograd.functional.jacobian(lambda v: layer(v[None]).flatten(), one)
            assert float(torch.linalg.matrix_norm(slope.reshape(-1, one.numel()), 2)) <= bound * (1 + 1e-9) + 1e-15


@pytest.mark.parametrize(
    ("layer", "shape", "reason"),
    [
        (Does(lambda x: F.scaled_dot_product_attention(x, x, x)), (3, 4), "attention has no global Lipschitz constant"),
        (nn.GLU(), (4,), "no global Lipschitz constant"),
        (nn.GRUCell(4, 4), (4,), "gates"),
        (Does(lambda x: x @ x.mT), (3, 4), "slope grows with the inputs"),
        (Does(lambda x: x**2), (3,), "slope grows"),
        (Does(torch.sign), (3,), "jumps"),
        (Does(lambda x: x / x.sum(1, keepdim=True)), (3,), "quotient"),
        (Does(lambda x: x / (x.relu() + x.abs() + 1)), (3,), "quotient"),
        (Does(lambda x: x / (x.abs() + x.cos())), (3,), "quotient"),
        (Does(lambda x: x + torch.eye(3)), (3,), "a constant for every row"),
        (Does(lambda x: torch.einsum("bi,bj->bij", x, torch.ones(len(x), 2))), (4,), "across the batch"),
        (Does(lambda x: torch.maximum(x, x.mean(0, keepdim=True))), (4,), "across the batch"),
        (Does(lambda x: x.sort(0)[0]), (4,), "across the batch"),
        (Does(lambda x: x.cumsum(0)), (4,), "across the batch"),
        (Does(lambda x: x.topk(2, 1, sorted=False)[0]), (4,), "in any order"),
        (Does(lambda x: F.pad(x, (0, 0, 1, -1))), (4,), "do not give what the model gives"),
        (nn.Conv2d(3, 3, 3, padding=1), (9, 9), "channels included"),
    ],
)  # fmt: skip
def test_what_has_no_bound_says_why(layer, shape, reason):
    result = ig.operator_norm(layer, shape)
    assert result.upper_bound == math.inf
    assert reason in result.kind


class Mixed(nn.Module):
    """Several of these operations between dense layers."""

    def __init__(self, middle, width):
        super().__init__()
        self.first, self.second, self.middle = nn.Linear(9, 8), nn.Linear(9, 8), middle
        self.last = nn.Linear(width, 3)

    def forward(self, x):
        x = x.flatten(1)
        return self.last(self.middle(self.first(x), self.second(x)).flatten(1))


MIDDLES = [
    (lambda a, b: torch.maximum(a, b), 8, "lines"),
    (lambda a, b: torch.minimum(a, 0.5 * b), 8, "lines"),
    (lambda a, b: torch.stack([a, b], 1).amax(1), 8, "lines"),
    (lambda a, b: torch.stack([a.relu(), b, a.relu()], 2).relu().cumsum(1), 24, "lines"),
    (lambda a, b: torch.einsum("bi,ij->bj", a.relu(), LEFT) + b.mean(1, keepdim=True), 4, "lines"),
    (lambda a, b: (a.view(-1, 4, 1, 2).relu() @ STACK).clamp(LOW, LOW + 0.3), 12, "lines"),
    (lambda a, b: F.prelu(a.view(-1, 4, 2), SLOPES), 8, "lines"),
    (lambda a, b: F.softsign(a) + b.sort(1)[0], 8, "local"),
    (lambda a, b: F.softsign(a - b), 8, "lines"),
    (lambda a, b: torch.logsumexp(a.view(-1, 4, 2), 2), 4, "local"),
    (lambda a, b: torch.cat([a.norm(dim=1, keepdim=True), b.topk(3)[0]], 1), 4, "local"),
    (lambda a, b: F.lp_pool1d(a[:, None], 2, 3, 2), 3, "local"),
    (lambda a, b: torch.cat([a.relu(), LOW.expand(len(a), -1)], 1), 11, "lines"),
    (lambda a, b: torch.cat([a, LOW.expand(len(a), -1), b], 1).relu(), 19, "lines"),
    (lambda a, b: torch.stack([a.amax(1), b.relu().sum(1), a[:, 0].relu(), b.min(1).values], 1), 4, "lines"),
    (lambda a, b: torch.stack([a.norm(dim=1), b.logsumexp(1)], 1), 2, "local"),
]  # fmt: skip
LEFT, STACK, LOW = drawn(8, 4).float(), drawn(4, 2, 3).float(), drawn(3).float()
SLOPES = torch.tensor([-1.5, 0.2, 1.0, 2.0])


@pytest.mark.parametrize(("middle", "width", "method"), MIDDLES, ids=[str(n) for n in range(len(MIDDLES))])
@pytest.mark.parametrize("effort", ["fast", "slow"])
def test_no_search_result_lies_below_the_bound_of_such_a_network(middle, width, method, effort):
    torch.manual_seed(width)
    model = Mixed(middle, width).eval()
    x = 2 * torch.randn(12, 9, generator=torch.Generator().manual_seed(1)).clamp(-3, 3)
    with torch.no_grad():
        labels = model(x).argmax(1)
    options = ig.SearchOptions(grade="fast", lower=-9.0, upper=9.0, exact_linear="off")
    found = ig.minimal_distortion(model, x, labels, options=options).l2.double()
    proven = lower_bounds(model, x, labels, lower=-9.0, upper=9.0, effort=effort)
    assert bool((proven.bound > 0).all()) and method == {"coupled": "lines", "product": "local"}.get(
        proven.method, proven.method
    )
    assert bool(found.isfinite().any())
    assert not bool((proven.bound > found * (1 + 1e-6)).any())
    norms = layer_norms(model, (9,))
    assert math.isfinite(norms.product_bound)


def test_constants_that_cancel_round_as_much_as_what_they_are_multiplied_to():
    # (x u) v: the first output is 0, in float32 as large as the roundings of 1e4 x; the second is 10 x.
    u, v = torch.tensor([[1e4, 1e4 * (1 + 2**-20)]]), torch.tensor([[1.0 + 2**-20, 0.0], [-1.0, 1e-3]])
    one = With(lambda x, u, v: torch.einsum("bi,ij,jk->bk", x, u, v), u, v)
    graph = trace(one, (1,))
    rounding = Rounding.of(graph)
    x = torch.full((1, 1), 0.7)
    error = float(rounding.error(graph.values(x.double()), torch.zeros(1, dtype=torch.float64)))
    assert error >= 2**-24 * 1e4 * 0.7


@pytest.mark.parametrize(
    "add", [lambda x: torch.add(x[:, :1], x[:, 1:], alpha=100.0), lambda x: torch.lerp(x[:, :1], x[:, 1:], 1e4)]
)
def test_the_roundings_of_a_weighted_sum_count_with_its_weights(add):
    graph = trace(Does(add), (2,))
    x = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    made = (add(x) - add(x.double())).abs()[:, 0]
    rounding = Rounding.of(graph)
    allowed = rounding.error(graph.values(x.double()), torch.zeros(1000, dtype=torch.float64))
    assert bool((made <= allowed).all()) and float(made.amax()) > 1e-6


class Depth(nn.Module):
    """Drops samples while it trains."""

    def forward(self, x):
        return x * torch.bernoulli(torch.full((len(x), 1), 0.5)) if self.training else x


class Twice(nn.Module):
    """The same weights in three places."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(6, 6)

    def forward(self, x):
        return self.one(self.one(x)) + self.one(x)


@pytest.mark.parametrize(
    "wrap", [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal]
)
def test_a_parametrised_weight_has_the_norm_of_what_it_computes(wrap):
    torch.manual_seed(0)
    layer = wrap(nn.Linear(6, 4)).eval()
    true = float(torch.linalg.matrix_norm(layer.weight.detach().double(), 2))
    assert true <= ig.operator_norm(layer, (6,)).upper_bound <= true * (1 + 1e-6)


def test_what_only_trains_and_weights_in_several_places_are_bounded():
    torch.manual_seed(0)
    model = Twice()
    true = float(torch.linalg.matrix_norm((model.one.weight @ model.one.weight + model.one.weight).detach(), 2))
    found = ig.operator_norm(nn.Sequential(model, Depth()), (6,))
    assert found.norm == pytest.approx(true, rel=1e-5)
    assert found.upper_bound >= true * (1 - 1e-6)
