"""The line search over c alone, on minimisers that are written down: which c it tries, and from where."""

import math

import pytest
import torch

from intriguing.blind_spots.solvers.penalty_schedule import Bracketing, Step

IMAGE, LAST, BEST = "the image", "the last minimiser", "the nearest success"


def searched(minimiser, first=1.0, tolerance=1e-3, kink=False):
    """The values of c that are tried, and from where; the largest c with a success; the nearest success.

    minimiser: a function of c and where it starts, which gives the margin and the L2 norm.
    """
    schedule = Bracketing(tolerance, longest=1, kink=kink)
    yes, clean_gap, loss = torch.ones(1, dtype=torch.bool), -torch.ones(1), torch.full((1,), 0.6)
    state = schedule.load(torch.zeros(1)) | {"best_l2": torch.full((1,), math.inf), "blind": ~yes}
    c, start, tried = torch.tensor([first]), IMAGE, []
    while True:
        gap, l2 = (torch.tensor([float(value)]) for value in minimiser(float(c), start))
        won = gap > 0
        step = Step(c, yes, ~yes, won, won, gap * 0, gap * 0 + 1, loss, gap, clean_gap, l2, squared=False)
        plan = schedule.move(state, step)
        tried.append((float(c), start))
        state |= {name: value for name, value in plan.items() if name in state}
        state["best_l2"] = torch.where(plan["record"], torch.minimum(state["best_l2"], l2), state["best_l2"])
        if bool(plan["done"]):
            return tried, float(state["low"]), float(state["best_l2"])
        c, start = plan["penalty"], IMAGE if plan["home"] else BEST if plan["resume"] else LAST


def smooth(root):
    return lambda c, start: (math.tanh(math.log(root / c)) / 2, 2 / (1 + c))


@pytest.mark.parametrize("first", [0.3, 2.7, 40.0])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-1])
def test_a_smooth_margin_needs_few_values_of_c(first, tolerance):
    tried, low, _ = searched(smooth(math.e), first, tolerance)
    assert low < math.e <= low * (1 + tolerance) * (1 + 1e-5)
    assert len(tried) <= 11  # bisection needs 13 to 17, without the one that starts at the image
    assert [start for _, start in tried].count(IMAGE) == 2 and tried[-1] == (pytest.approx(low), IMAGE)


def test_a_margin_that_jumps_everywhere_is_bracketed_too():
    tried, low, _ = searched(lambda c, start: (0.001 if c < 5 else -0.9, 1.0))
    assert low < 5 <= low * 1.0011 and len(tried) < 30


def test_beyond_a_jump_larger_c_are_tried_from_the_success():
    """Near the image lies a basin without a success; who comes from the other basin stays there until c = 2.1."""
    inside = [True]

    def minimiser(c, start):
        inside[0] = (inside[0] or start == BEST or c < 2) and start != IMAGE and c < 2.1
        return (0.4, 3 - c / 10) if inside[0] or c < 1 else (-0.3, 1.0)

    tried, low, l2 = searched(minimiser, 0.5)
    assert low > 2.05 and l2 < 2.795
    assert BEST in {start for _, start in tried} and len(tried) < 30


@pytest.mark.parametrize("margin", [0.05, -0.05, -0.18])
def test_a_nearer_basin_that_is_met_from_the_image_is_searched(margin):
    """A minimiser in it, a success or near the boundary, makes the search of c begin anew."""
    near = [False]

    def minimiser(c, start):
        near[0] = near[0] or (start == IMAGE and c > 1.5)
        root = 2 * math.exp(2 * margin) if near[0] else 2
        return smooth(root)(c, start)[0], (0.5 if near[0] else 1) * (1 + 0.1 / c)

    tried, low, l2 = searched(minimiser)
    assert l2 < 0.6 and low == pytest.approx(2 * math.exp(2 * margin), rel=2e-3)
    assert [start for _, start in tried].count(IMAGE) == 2


def test_with_a_kink_the_last_start_at_the_image_has_a_c_that_leaves_it():
    """For c >= 1 the image is a minimiser. The first step goes far, where successes last until c = 2."""
    basins, begun = ["image", "image"], []

    def minimiser(c, start):
        begun.append(start)
        begins = ("near" if IMAGE in begun[:-1] else "far") if start == IMAGE else basins[start == BEST]
        basins[0] = begins if c < {"far": 2, "near": 1, "image": 0}[begins] else "image"
        gap, l2 = {
            "far": (0.4, 3 - c / 10), "near": (math.tanh(math.log(0.95 / c)), 0.45 + 0.05 / c), "image": (-0.999, 0.0)
        }[basins[0]]  # fmt: skip
        if gap > 0:
            basins[1] = basins[0]
        return gap, l2

    tried, low, l2 = searched(minimiser, 0.9, kink=True)
    assert [c for c, start in tried if start == IMAGE] == [pytest.approx(0.9)] * 2
    assert l2 < 0.51 and low < 0.95 <= low * 1.0011 and len(tried) < 40


def test_c_does_not_fall_for_ever():
    tried, low, l2 = searched(lambda c, start: (-0.5, 1.0), 3.0)
    assert low == 0 and l2 == math.inf
    assert 3e-12 <= tried[-1][0] < 1e-9 and len(tried) < 40


@pytest.mark.parametrize(("way", "root"), [(IMAGE, 1e-3), (LAST, 1e-6)])
def test_without_a_success_all_c_are_tried_from_the_image_and_then_each_from_the_minimiser_before(way, root):
    begun, met = [], [False]

    def minimiser(c, start):
        begun.append(start)
        met[0] = met[0] or (c < root and start == way and len(begun) > 3)
        return (smooth(root)(c, start)[0] if met[0] else -0.5), 1.0

    tried, low, _ = searched(minimiser)
    assert low == pytest.approx(root, rel=2e-3)
    assert begun[:4] == [IMAGE, LAST, LAST, IMAGE]
    if way == LAST:
        again = [c for c, _ in tried[1:]].index(1.0) + 1
        assert set(begun[3 : again + 1]) == {IMAGE} and begun[again + 1] == LAST


def moved(schedule, state, c, gap, l2, drop=0.0, apart=None):
    """The plan after a step to a minimiser of this c, margin and norm, from an image of margin -1."""
    yes = torch.ones(1, dtype=torch.bool)
    values = (torch.tensor([float(value)]) for value in (drop, 1, 0.6, gap, -1, l2))
    apart = apart if apart is None else torch.tensor([apart])
    won = torch.tensor([gap > 0])
    return schedule.move(
        state | {"blind": ~yes}, Step(torch.tensor([c]), yes, ~yes, won, won, *values, squared=True, apart=apart)
    )


def test_a_minimisation_ends_earlier_while_the_bracket_is_wide():
    schedule = Bracketing(longest=1)
    state = schedule.load(torch.zeros(1)) | {"best_l2": torch.ones(1)}
    shares = [float(state["share"])]
    for c, gap in ((1.0, 0.3), (2.0, -0.3), (1.9, 0.02), (1.97, -0.05), (1.967, -0.01), (1.95, 0.01)):
        plan = moved(schedule, state, c, gap, 1.0)
        state |= {name: value for name, value in plan.items() if name in state}
        shares.append(float(state["share"]))
    widths = [math.log(high / low) for low, high in ((1.9, 2.0), (1.9, 1.97), (1.9, 1.967), (1.95, 1.967))]
    assert shares[:3] == pytest.approx([3e-6, 1e-3, 1e-3])
    assert shares[3:] == pytest.approx([max(3e-6, 0.03 * width**2) for width in widths], rel=1e-3)


def test_a_success_that_nearly_lies_on_the_boundary_closes_the_bracket_alone():
    def ends(gap):
        state = Bracketing(longest=1).load(torch.zeros(1)) | {"best_l2": torch.full((1,), 1.0)}
        known = {"low": 1.0, "high": 1.1, "low_gap": 0.1, "high_gap": -0.1, "moved": 4.0}
        state |= {name: torch.tensor([value]) for name, value in known.items()}
        return bool(moved(Bracketing(longest=1), state, 1.04, gap, 0.99)["home"])

    assert ends(1e-4) and not ends(2e-3) and not ends(-1e-4)


@pytest.mark.parametrize("kink", [False, True])
def test_a_minimisation_from_the_image_that_comes_to_the_best_point_ends_there(kink):
    schedule = Bracketing(kink=kink)
    state = schedule.load(torch.zeros(1)) | {"best_l2": torch.tensor([2.0]), "low": torch.tensor([1.0])}
    state |= {"returns": torch.ones(1, dtype=torch.bool), "returned": torch.ones(1, dtype=torch.bool)}
    for apart, over in ((0.1, False), (0.03, not kink)):
        plan = moved(schedule, state, 1.0, 0.1, 1.99, drop=0.5, apart=apart)
        assert bool(plan["done"]) == over and not bool(plan["record"])
