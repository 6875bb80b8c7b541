"""Solvers against closed forms and float64 oracles."""

import copy

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots.arithmetic.qp import project

SEARCHED = SearchOptions(exact_linear="off")


def linear(inputs, classes, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes)).requires_grad_(False)
    model[1].weight.mul_(3)
    return model


def optimum(model, x, target, rivals):
    """The exact L2 distance inside [0, 1] by SciPy's SLSQP in float64."""
    weight, bias = model[1].weight.double().numpy(), model[1].bias.double().numpy()
    rows = weight[target] - weight[rivals]
    gaps = bias[target] - bias[rivals]
    x = x.double().numpy()
    result = scipy.optimize.minimize(
        lambda v: ((v - x) ** 2).sum(),
        np.full_like(x, 0.5),
        jac=lambda v: 2 * (v - x),
        bounds=[(0, 1)] * x.size,
        constraints={"type": "ineq", "fun": lambda v: rows @ v + gaps, "jac": lambda v: rows},
        options={"maxiter": 500, "ftol": 1e-14},
        method="SLSQP",
    )
    return np.sqrt(result.fun) if result.success else np.inf


@pytest.mark.parametrize("count", [1, 7, 256])
@pytest.mark.parametrize("inputs", [3, 40])
def test_two_classes_without_an_active_box_have_the_textbook_distance(count, inputs):
    model = linear(inputs, 2)
    x = 0.5 + 0.02 * torch.rand(count, inputs, generator=torch.Generator().manual_seed(1))
    z = model(x)
    normal = model[1].weight[0] - model[1].weight[1]
    expected = (z[:, 0] - z[:, 1]).abs() / normal.norm()
    # A wide box, so that it is never active.
    for exact in ("off", "auto"):
        options = SearchOptions(lower=-50.0, upper=50.0, exact_linear=exact)
        result = minimal_distortion(model, x, z.argmax(1), options=options)
        assert result.status == ["found"] * count
        assert bool((result.l2 <= expected * 1.001 + 2e-6).all())
        assert bool((result.l2 >= expected * 0.9999 - 2e-6).all())


@pytest.mark.parametrize("exact", ["auto", "off"])
def test_a_targeted_linear_search_reaches_the_optimum_with_an_active_box(exact):
    model = linear(15, 5)
    x = torch.rand(24, 15, generator=torch.Generator().manual_seed(2)).round(decimals=1)
    labels = model(x).argmax(1)
    targets = (labels + 1) % 5
    result = minimal_distortion(model, x, labels, targets, SearchOptions(exact_linear=exact))
    oracle = [
        optimum(model, image, int(t), [c for c in range(5) if c != t]) for image, t in zip(x, targets, strict=True)
    ]
    for status, l2, expected in zip(result.status, result.l2.tolist(), oracle, strict=True):
        assert (status == "found") == np.isfinite(expected)
        if status == "found":
            assert l2 <= expected * 1.002 + 1e-5


def test_the_exact_path_carries_a_certificate_that_nothing_undercuts():
    model = linear(30, 6)
    x = torch.rand(40, 30, generator=torch.Generator().manual_seed(3))
    labels = model(x).argmax(1)
    exact = minimal_distortion(model, x, labels)
    searched = minimal_distortion(model, x, labels, options=SEARCHED)
    assert bool((exact.l2 >= exact.lower_bound).all())
    assert bool((exact.l2 <= exact.lower_bound * 1.001 + 1e-4).all())
    assert bool((searched.l2 >= exact.lower_bound).all())
    assert bool((searched.l2 <= exact.l2 * 1.01 + 1e-4).all())
    assert bool(searched.lower_bound.isnan().all())


class Own(nn.Module):
    """A user's own linear network: a normalisation in front, a view, a residual sum, a function in place of a layer."""

    def __init__(self):
        super().__init__()
        self.mixed, self.logits = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(36, 3)
        self.function = lambda z: z

    def forward(self, x):
        x = (x - 0.3) / 0.4
        x = x + self.mixed(x)
        return self.logits(self.function(x).view(len(x), -1))


def proven(model, x):
    result = minimal_distortion(model, x, model(x).argmax(1))
    assert all(status == "found" for status in result.status)
    return result


def test_a_linear_network_is_solved_exactly_however_it_is_written():
    torch.manual_seed(0)
    x, own = torch.rand(8, 1, 6, 6), Own().eval()
    exact = proven(own, x)
    assert bool((exact.lower_bound <= exact.l2).all()) and float((exact.lower_bound / exact.l2).median()) > 0.995
    bent = Own().eval()
    bent.load_state_dict(own.state_dict())
    # On all images this is the same function; its structure says that it need not be.
    bent.function = lambda z: torch.relu(z + 100) - 100
    assert bool(proven(bent, x).lower_bound.isnan().all())
    assert torch.allclose(proven(bent, x).l2, exact.l2, rtol=1e-2)
    hooked = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()
    handle = hooked[1].register_forward_hook(lambda m, i, o: 2 * o)
    doubled = proven(hooked, x)
    handle.remove()
    assert torch.allclose(doubled.l2, proven(hooked, x).l2, rtol=1e-4)
    assert not bool(doubled.lower_bound.isnan().any())
    hooked[1].register_forward_hook(lambda m, i, o: o**3 + o)
    assert bool(proven(hooked, x).lower_bound.isnan().all())


def test_the_bound_of_a_linear_model_counts_the_rounding_of_a_long_sum():
    """A sum of so many terms of one sign errs by more than a few units in its last place."""
    torch.manual_seed(0)
    model, x = nn.Linear(20_000, 3).eval().requires_grad_(False), torch.rand(4, 20_000)
    model.weight.abs_()
    labels = model(x).argmax(1)
    single, double = (
        minimal_distortion(m, z, labels, options=SearchOptions("fast"))
        for m, z in ((copy.deepcopy(model), x), (copy.deepcopy(model).double(), x.double()))
    )
    assert bool((single.lower_bound <= double.lower_bound).all())
    assert bool((double.lower_bound >= 0.99999 * double.l2).all())
    with torch.no_grad():
        exact = x.double() @ model.weight.double().T + model.bias.double()
        wrong = (model(x).double() - exact).abs().amax()
        normals = (model.weight[labels][:, None] - model.weight).double().norm(dim=2)
    taken = (double.l2 - single.lower_bound) * normals.where(normals > 0, torch.inf).amin(1)
    assert bool((taken >= wrong).all())


@pytest.mark.parametrize("cuts", [1, 4])
def test_the_small_qp_matches_scipy(cuts):
    random = torch.Generator().manual_seed(cuts)
    x0 = torch.rand(6, 20, generator=random)
    a = torch.randn(6, cuts, 20, generator=random)
    b = 0.5 + torch.rand(6, cuts, generator=random)
    r, u, value = project(-x0, 1 - x0, a, b, rounds=20, turns=10)
    for i in range(6):
        oracle = scipy.optimize.minimize(
            lambda v: 0.5 * v @ v,
            np.zeros(20),
            jac=lambda v: v,
            bounds=list(zip((-x0[i]).tolist(), (1 - x0[i]).tolist(), strict=True)),
            constraints={"type": "ineq", "fun": lambda v, i=i: a[i].numpy() @ v - b[i].numpy()},
            method="SLSQP",
        )
        assert float(value[i]) == pytest.approx(oracle.fun, rel=2e-3)
        assert np.allclose(r[i].numpy(), oracle.x, atol=5e-3)
    assert bool((u >= 0).all())


def test_the_qp_ignores_cuts_without_a_bound():
    x0 = torch.full((2, 5), 0.5)
    a = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    r, _, value = project(-x0, 1 - x0, a, torch.full((2, 3), -torch.inf))
    assert bool((r == 0).all()) and bool((value == 0).all())


class Ball(nn.Module):
    """Class 1 outside a ball around the middle of the box: the nearest point is known for any image inside."""

    def __init__(self, centre, radius):
        super().__init__()
        self.centre, self.radius = centre, radius

    def forward(self, x):
        square = ((x - self.centre) ** 2).sum(1)
        return torch.stack([torch.zeros_like(square), square - self.radius**2], 1)


@pytest.mark.parametrize("grade", ["best", "fast"])
@pytest.mark.parametrize("inputs", [2, 30])
def test_a_quadratic_boundary_is_reached_along_the_radius(grade, inputs):
    centre = torch.full((inputs,), 0.5)
    model = Ball(centre, 0.4)
    away = torch.randn(16, inputs, generator=torch.Generator().manual_seed(5))
    x = centre + 0.2 * away / away.norm(dim=1, keepdim=True)
    result = minimal_distortion(model, x, [0] * 16, options=SearchOptions(grade=grade, slots=32))
    assert result.status == ["found"] * 16
    assert bool((result.l2 <= 0.2 * 1.01).all()) and bool((result.l2 >= 0.2 * 0.999).all())


def paper_by_scipy(model, image, wanted):
    """Cross-entropy + c |r|^2 by SciPy's L-BFGS-B in float64, c doubled or halved, then bisected."""
    model = model.double()
    start = image.double().numpy()

    def solve(c):
        def objective(v):
            x = torch.from_numpy(v)[None].requires_grad_()
            loss = -model(x).log_softmax(1)[0][wanted].logsumexp(0)
            (gradient,) = torch.autograd.grad(loss, x)
            return float(loss.detach()) + c * ((v - start) ** 2).sum(), gradient[0].numpy() + 2 * c * (v - start)

        v = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * start.size).x
        logits = model(torch.from_numpy(v)[None])[0]
        return np.linalg.norm(v - start), bool(logits[wanted].max() > logits[~wanted].max())

    low, high, c, best = 0.0, np.inf, 1.0, np.inf
    for _ in range(40):
        c = np.sqrt(low * high) if low and np.isfinite(high) else 2 * low if low else c / 2
        norm, success = solve(c)
        low, high = (c, high) if success else (low, c)
        best = min(best, norm) if success else best
        if low and high < low * 1.001:
            break
    return best


@pytest.mark.parametrize("targeted", [True, False])
def test_the_faithful_grade_is_the_papers_procedure(targeted):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 12), nn.Sigmoid(), nn.Linear(12, 4)).requires_grad_(False)
    model[2].weight.mul_(6)
    x = torch.rand(6, 10, generator=torch.Generator().manual_seed(1))
    labels = model(x).argmax(1)
    targets = model(x).topk(2, dim=1).indices[:, 1]
    result = minimal_distortion(
        model, x, labels, targets if targeted else None, SearchOptions(grade="faithful", slots=32)
    )
    classes = torch.arange(4)
    for i in range(6):
        wanted = classes == targets[i] if targeted else classes != labels[i]
        expected = paper_by_scipy(model, x[i], wanted)
        model.float()
        assert (result.status[i] == "found") == np.isfinite(expected)
        if result.status[i] == "found":
            assert float(result.l2[i]) <= expected * 1.02
            assert float(result.penalty[i]) > 0


def test_best_is_never_farther_than_faithful_or_fast_by_more_than_a_hair():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 6)).requires_grad_(False)
    x = torch.rand(32, 20, generator=torch.Generator().manual_seed(1))
    labels = model(x).argmax(1)
    best = minimal_distortion(model, x, labels, options=SearchOptions(slots=32)).l2.mean()
    for grade in ("fast", "faithful"):
        other = minimal_distortion(model, x, labels, options=SearchOptions(grade=grade, slots=32)).l2
        assert best <= other.nanmean() * 1.001


def test_the_plain_norm_is_a_penalty_too():
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(8, 10), nn.Tanh(), nn.Linear(10, 3)).requires_grad_(False)
    x = torch.rand(8, 8, generator=torch.Generator().manual_seed(1))
    labels = model(x).argmax(1)
    squared = minimal_distortion(model, x, labels, options=SearchOptions(grade="faithful", slots=32))
    plain = minimal_distortion(model, x, labels, options=SearchOptions(grade="faithful", penalty_form="l2", slots=32))
    found = [a == b == "found" for a, b in zip(squared.status, plain.status, strict=True)]
    assert sum(found) >= 4
    assert bool((plain.l2[found] <= squared.l2[found] * 1.25).all())
