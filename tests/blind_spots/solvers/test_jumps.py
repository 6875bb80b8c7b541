"""Networks whose margin jumps, as where activations or values of the input are rounded or the largest ones are kept."""

import pytest
import torch
from torch import nn

from intriguing import minimal_distortion
from intriguing.blind_spots import row_search
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.solvers.boundary import BoundaryFinish
from intriguing.blind_spots.solvers.loop import Layout, run
from intriguing.models.examination import Conduct
from intriguing.models.feeding.rows import PADDED


class Step(nn.Module):
    """The margin x - 1, which jumps up by `height` at x = 0.5: the boundary of height 0.6 lies there, and its linear
    continuation reaches zero at 0.4.
    """

    def __init__(self, height):
        super().__init__()
        self.height = height

    def forward(self, x):
        margin = x[:, 0] - 1 + self.height * (x[:, 0] >= 0.5)
        return torch.stack([torch.zeros_like(margin), margin], 1)


@pytest.mark.parametrize(("height", "expected"), [(0.6, 0.2), (0.0, 0.0)])
def test_a_finish_tells_how_far_its_point_is_beyond_the_boundary(height, expected):
    evaluator = Evaluator(Step(height), (16,), PADDED, Conduct(torch.float32, 2))
    x0 = torch.zeros(1, 16)
    best = torch.full_like(x0, 0.3)
    best[:, 0] = 1.2
    solver = BoundaryFinish(evaluator, 0.0, 2.0, steps=20)
    inputs = {"x0": x0, "best": best, "rivals": torch.tensor([[True, False]]), "target": torch.tensor([1])}
    end = run(solver, inputs, Layout.of(8, PADDED, 16))
    assert float(end["best_l2"]) == pytest.approx(0.5 if height else 1.0, rel=2e-2)
    assert float(end["beyond"]) == pytest.approx(expected, abs=2e-2)


class Largest(nn.Module):
    """Keeps the largest sixth of the values."""

    def forward(self, x):
        return x * (x >= x.topk(x.shape[1] // 6).values[:, -1:])


def network(jumps):
    torch.manual_seed(0)
    middle = Largest() if jumps else nn.ReLU()
    model = nn.Sequential(nn.Linear(120, 48), middle, nn.Linear(48, 48), middle, nn.Linear(48, 6))
    return model.requires_grad_(False), torch.rand(32, 120)


def test_starts_that_agree_at_a_jump_are_followed_by_others(monkeypatch):
    found = {}
    for jumps in (True, False):
        model, x = network(jumps)
        y = model(x).argmax(1)
        found[jumps] = minimal_distortion(model, x, y)
        with monkeypatch.context() as patch:
            patch.setattr(
                row_search._RowSearch, "_jumps", lambda self: torch.zeros(self.groups.count, dtype=torch.bool)
            )
            before = minimal_distortion(model, x, y)
        assert before.status == found[jumps].status == ["found"] * len(x)
        more = found[jumps].forward_passes > before.forward_passes
        for name in ("adversarial", "l2", "forward_passes", "backward_passes"):
            assert torch.equal(getattr(found[jumps], name)[~more], getattr(before, name)[~more])
        if not jumps:
            assert not bool(more.any())
            continue
        assert bool(more.any())
        assert bool((found[True].l2 <= before.l2 * (1 + 1e-6)).all())
        assert float((found[True].l2 / before.l2).min()) < 0.97
        for row in range(len(x)):
            assert int(model(found[True].adversarial[row : row + 1]).argmax(1)) != int(y[row])
