"""The line search over c alone, on minimisers that are written down: which c it tries, and from where."""

import math

import pytest
import torch

from intriguing.blind_spots.penalty_schedule import Bracketing, Step

IMAGE, LAST, BEST = "the image", "the last minimiser", "the nearest success"


def searched(minimiser, first=1.0, tolerance=1e-3, kink=False):
    """The values of c that are tried, and from where; the largest c with a success; the nearest success.

    minimiser: a function of c and where it starts, which gives the margin and the L2 norm.
    """
    schedule = Bracketing(tolerance, longest=1, kink=kink)
    yes, clean_gap, loss = torch.ones(1, dtype=torch.bool), -torch.ones(1), torch.full((1,), 0.6)
    state = schedule.load(torch.zeros(1)) | {"best_l2": torch.full((1,), math.inf)}
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
    assert len(tried) <= 12  # bisection needs 13 to 17, without the one that starts at the image
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


@pytest.mark.parametrize("margin", [0.05, -0.05])
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
