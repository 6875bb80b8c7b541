"""The parts of the search alone: small programmes, quasi-Newton directions, pruning by bounds."""

import itertools
from itertools import pairwise, starmap

import pytest
import torch
from torch import nn

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots.arithmetic.lbfgs import direction
from intriguing.blind_spots.arithmetic.objective import cross_entropy
from intriguing.blind_spots.arithmetic.qp import _ascent, _enumerated, eliminated, project
from intriguing.blind_spots.grades import GRADES
from intriguing.blind_spots.network.evaluate import Evaluator, frozen
from intriguing.blind_spots.solvers.boundary import BoundaryFinish
from intriguing.blind_spots.solvers.loop import Layout, run
from intriguing.blind_spots.solvers.primal_dual import PrimalDual
from intriguing.models.feeding.rows import PADDED


def definite(rows, size, seed, spread=1.0):
    """Gram matrices of unit vectors around a common one: the smaller `spread`, the more alike."""
    random = torch.Generator().manual_seed(seed)
    a = torch.randn(rows, 1, 30, generator=random) + spread * torch.randn(rows, size, 30, generator=random)
    a = a / a.norm(dim=2, keepdim=True)
    return a @ a.transpose(1, 2) + 1e-6 * torch.eye(size)


def best_by_faces(gram, target):
    """The v >= 0 that maximises target.v - v.gram.v / 2, by trying every set of positive variables."""
    best = 0.0
    for size in range(1, len(target) + 1):
        for face in itertools.combinations(range(len(target)), size):
            part = gram[face, :][:, face]
            v = torch.linalg.solve(part, target[list(face)])
            if bool((v >= 0).all()):
                best = max(best, float(target[list(face)] @ v - 0.5 * v @ part @ v))
    return best


def pivoted(gram, rise, u):
    return _ascent(gram, rise, u, 20)


@pytest.mark.parametrize("solve", [pivoted, _enumerated])
@pytest.mark.parametrize("spread", [1.0, 0.1, 0.01])
def test_the_best_face_is_found_however_alike_the_constraints_are(spread, solve):
    gram = definite(12, 5, 3, spread).double()
    target = 1 + 0.05 * torch.randn(12, 5, generator=torch.Generator().manual_seed(4)).double()
    start = torch.rand(12, 5, generator=torch.Generator().manual_seed(5)).double()
    v = solve(gram, target - (start[:, None] @ gram).squeeze(1), start)
    assert bool((v >= 0).all())
    value = (target * v).sum(1) - 0.5 * (v[:, None] @ gram @ v[:, :, None]).flatten()
    for i in range(12):
        assert float(value[i]) == pytest.approx(best_by_faces(gram[i], target[i]), rel=1e-6)


def test_elimination_solves_what_cholesky_solves():
    gram = definite(7, 6, 5).double()
    right = torch.randn(7, 6, generator=torch.Generator().manual_seed(6)).double()
    assert torch.allclose(eliminated(gram, right), torch.linalg.solve(gram, right), rtol=1e-8)


def test_a_warm_start_ends_where_a_cold_one_does():
    random = torch.Generator().manual_seed(7)
    x0 = torch.rand(5, 25, generator=random)
    a = torch.randn(5, 1, 25, generator=random) + 0.02 * torch.randn(5, 6, 25, generator=random)
    b = 0.5 + 0.02 * torch.rand(5, 6, generator=random)
    cold, u, value = project(-x0, 1 - x0, a, b, rounds=20)
    warm, _, again = project(-x0, 1 - x0, a, b, u + 0.1, rounds=20)
    assert torch.allclose(cold, warm, atol=1e-4) and torch.allclose(value, again, rtol=1e-4)
    assert bool(((a * cold[:, None]).sum(2) >= b - 1e-3).all())


@pytest.mark.parametrize(("rounds", "n"), [(1, 400), (4, 400), (20, 400), (4, 8000)])
def test_a_programme_ends_alike_whatever_rows_are_solved_beside_it(rounds, n):
    """To the last bit: solved rows leave, those without a constraint do at once, and long rows go in pieces."""
    random = torch.Generator().manual_seed(8)
    x0 = torch.rand(40, n, generator=random)
    a = torch.randn(40, 1, n, generator=random) + 0.3 * torch.randn(40, 6, n, generator=random)
    a = a / a.norm(dim=2, keepdim=True)
    b = 2.0 + 4 * torch.rand(40, 1, generator=random) + 0.2 * torch.rand(40, 6, generator=random)
    b[::3] = -torch.inf
    b[1::7] += 4.0
    start = torch.rand(40, 6, generator=random)
    whole = project(-x0, 1 - x0, a, b, start, unit=True, rounds=rounds)
    for i in range(0, 40, 2):
        few = slice(i, i + 2)
        pair = project(-x0[few], 1 - x0[few], a[few], b[few], start[few], unit=True, rounds=rounds)
        assert all(torch.equal(one[few], other) for one, other in zip(whole, pair, strict=True))
    b[2:] = -torch.inf
    b[0] = -torch.inf
    alone = project(-x0, 1 - x0, a, b, start, unit=True, rounds=rounds)
    assert all(torch.equal(one[1], other[1]) for one, other in zip(alone, whole, strict=True))


@pytest.mark.parametrize("kinds", [2, 3])
def test_the_direction_is_that_of_the_textbook_loops(kinds):
    random = torch.Generator().manual_seed(kinds)
    rows, memory, n = 4, 3, 10
    hessian = torch.randn(rows, n, n, generator=random)
    hessian = hessian @ hessian.transpose(1, 2) + torch.eye(n)
    free = torch.rand(rows, n, generator=random) < 0.7
    share = 0.5 + torch.rand(rows, generator=random)
    s = torch.randn(rows, memory, n, generator=random)
    whole = (hessian[:, None] @ s[:, :, :, None]).squeeze(3)
    bend = s if kinds == 2 else torch.randn(rows, memory, n, generator=random)
    y = whole - share[:, None, None] * bend
    order = torch.stack([torch.randperm(memory, generator=random) for _ in range(rows)])
    gradient = torch.randn(rows, n, generator=random)
    pairs = torch.stack([s, y] if kinds == 2 else [s, y, bend], 1)
    way, has = direction(gradient, free, pairs, order, share)
    for row in range(rows):
        f = free[row].double()
        q = -gradient[row].double() * f
        used = [(s[row, k].double() * f, whole[row, k].double() * f) for k in order[row].tolist()]
        used = [(a, b) for a, b in used if float(a @ b) > 1e-6 * float(a.norm() * b.norm())]
        alphas = []
        for a, b in used:
            alphas.append(float(a @ q) / float(a @ b))
            q = q - alphas[-1] * b
        q = q * (float(used[0][0] @ used[0][1]) / float(used[0][1] @ used[0][1]) if used else 1.0)
        for (a, b), alpha in zip(reversed(used), reversed(alphas), strict=True):
            q = q + (alpha - float(b @ q) / float(a @ b)) * a
        assert bool(has[row]) == bool(used)
        assert torch.allclose(way[row].double(), q, rtol=1e-3, atol=1e-3)


def curved(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 3)).requires_grad_(False)
    x = torch.rand(40, 20, generator=torch.Generator().manual_seed(1))
    return model, x, model(x).argmax(1)


def test_a_row_that_cannot_come_below_its_bar_leaves_early():
    model, x, y = curved()
    far = minimal_distortion(model, x, y, options=SearchOptions(grade="fast"))
    found = torch.tensor([s == "found" for s in far.status])
    x0, best, target = x[found], far.adversarial[found], far.target[found]
    start = x0 + 1.3 * (best - x0)
    rows = {"x0": x0, "best": start, "target": target, "rivals": torch.arange(3) != target[:, None]}
    with frozen(model), torch.no_grad():
        stage = BoundaryFinish(Evaluator(model, (20,), PADDED), -5.0, 5.0, steps=20)
        free = run(stage, rows, Layout(64))
        barred = run(stage, rows | {"bar": 0.5 * free["best_l2"]}, Layout(64))
        open_ = run(stage, rows | {"bar": 2.0 * free["best_l2"]}, Layout(64))
    assert float(barred["backward"].double().mean()) < float(free["backward"].double().mean())
    assert torch.equal(open_["best_l2"], free["best_l2"])


@pytest.mark.parametrize("grade", ["best", "fast"])
@pytest.mark.parametrize("form", ["squared_l2", "l2"])
def test_the_penalty_makes_the_result_stationary_along_its_change(grade, form):
    model, x, y = curved(2)
    result = minimal_distortion(model, x, y, options=SearchOptions(grade=grade, penalty_form=form))
    found = torch.tensor([s == "found" for s in result.status])
    best = result.adversarial[found].clone().requires_grad_()
    wanted = torch.arange(3) != y[found][:, None]
    loss = -(model(best).log_softmax(1).masked_fill(~wanted, -torch.inf)).logsumexp(1)
    (slope,) = torch.autograd.grad(loss.sum(), best)
    r = (best - x[found]).detach()
    pull = 2 * (r * r).sum(1) if form == "squared_l2" else r.norm(dim=1)
    assert torch.allclose((slope * r).sum(1) + result.penalty[found] * pull, torch.zeros(len(r)), atol=1e-4)
    value, _ = cross_entropy(model(best).detach(), wanted, ~wanted)
    assert torch.allclose(value, loss.detach(), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [12, 13, 784])
@pytest.mark.parametrize("grade", GRADES)
def test_results_are_the_same_to_the_last_bit_in_any_company(inputs, grade):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(inputs, 24), nn.ReLU(), nn.Linear(24, 5)).requires_grad_(False)
    # thorough searches an image from many starts: fewer of them fill as many rows.
    edges = (0, 1, 8, 17) if grade == "thorough" else (0, 1, 8, 29, 41)
    x = torch.rand(edges[-1], inputs, generator=torch.Generator().manual_seed(4))
    y = model(x).argmax(1)
    options = SearchOptions(grade=grade)
    whole = minimal_distortion(model, x, y, options=options)
    for part in starmap(slice, pairwise(edges)):
        piece = minimal_distortion(model, x[part], y[part], options=options.with_(slots=64))
        assert piece.status == whole.status[part]
        assert torch.equal(piece.adversarial, whole.adversarial[part])


def test_a_start_whose_margin_comes_nearer_to_zero_takes_no_longer_steps():
    """The margin rises by a fixed amount per step, so that ten steps are needed: longer ones would overshoot."""
    model = nn.Sequential(nn.Linear(64, 2)).requires_grad_(False)
    model[0].weight.copy_(torch.stack([-torch.ones(64), torch.ones(64)]) / 8)
    model[0].bias.copy_(torch.tensor([8.0, 0.0]))
    x = torch.full((1, 64), 0.25)
    evaluator = Evaluator(model, (64,), PADDED)
    rows = {
        "x0": x,
        "target": torch.tensor([1]),
        "goals": torch.tensor([[False, True]]),
        "rivals": torch.tensor([[True, False]]),
    }
    solver = PrimalDual(evaluator, -5.0, 5.0, ticks=12, first=0.1, last=0.1)
    state, scales = solver.load(rows), []
    for _ in range(9):
        state = state | solver.step(state)
        scales.append(float(state["scale"]))
    assert len(set(scales)) == 1
    clean = state["clean_gap"]
    for share, grows in ((0.3, True), (0.2, False)):
        flat = solver.load(rows)
        for _ in range(6):
            flat = flat | solver.step(flat) | {"highest": share * clean}
        assert (float(flat["scale"]) > 1.1 * scales[0]) is grows, "a stalled row, far from the boundary or near it"


def bent(slope):
    """A margin that rises fast up to a distance of 2 along one direction and `slope` times as fast beyond."""
    model = nn.Sequential(nn.Linear(64, 2), nn.ReLU(), nn.Linear(2, 2)).requires_grad_(False)
    model[0].weight.fill_(1 / 8)
    model[0].bias.copy_(torch.tensor([0.1, -2.0]))
    model[2].weight.copy_(torch.tensor([[0.0, 0.0], [1.0, slope - 1.0]]))
    model[2].bias.copy_(torch.tensor([2.2, 0.0]))
    rows = {
        "x0": torch.zeros(1, 64),
        "target": torch.tensor([1]),
        "goals": torch.tensor([[False, True]]),
        "rivals": torch.tensor([[True, False]]),
    }
    return Evaluator(model, (64,), PADDED), rows


def test_a_first_success_that_comes_late_is_not_left_far_behind():
    """What drove the row outwards ends with the success: the next trial point is nearer to the image."""
    evaluator, rows = bent(1.0)
    solver = PrimalDual(evaluator, -50.0, 50.0, ticks=20)
    state = solver.load(rows)
    state = state | solver.step(state)
    trial = torch.full((1, 64), 3.0 / 8)
    driven = {"trial": trial, "mean": -10 * trial, "dual": torch.tensor([2.0]), "weight": torch.tensor([0.88])}
    for tick, nearer in ((10, True), (2, False)):
        after = solver.step(state | driven | {"tick": torch.tensor([tick])})
        assert float(after["best_l2"]) == pytest.approx(3.0)
        assert (float(after["trial"].norm()) < 3.0) is nearer


def test_a_row_that_still_comes_nearer_goes_on_and_one_that_does_not_ends():
    evaluator, rows = bent(1.0)
    short, longer = (run(PrimalDual(evaluator, -50.0, 50.0, 10, most), rows, Layout(8)) for most in (None, 30))
    assert int(short["forward"]) == 10 < int(longer["forward"]) < 30
    assert float(longer["best_l2"]) < 0.6 * float(short["best_l2"])
    never = run(PrimalDual(evaluator, -0.2, 0.2, 10, 30), rows, Layout(8))
    assert int(never["forward"]) == 10 and never["best_l2"].isinf().all()


def test_a_finish_goes_on_only_where_its_last_step_gained():
    evaluator, rows = bent(1.0)
    start = {name: rows[name].repeat(8, *([1] * (rows[name].ndim - 1))) for name in ("x0", "target", "rivals")}
    random = torch.Generator().manual_seed(0)
    start["best"] = 2 * torch.rand(8, 64, generator=random) + 0.3
    counts = []
    for gain in (0.01, 1.0):
        outcome = run(BoundaryFinish(evaluator, -50.0, 50.0, 1, 30, gain), start, Layout(8))
        counts.append(outcome["backward"])
    assert bool((counts[1] == 1).all()) and bool((counts[0] > 1).all()) and bool((counts[0] < 30).all())
