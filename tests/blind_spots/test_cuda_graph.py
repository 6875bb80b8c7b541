"""The tick as a graph: what holds on a CUDA device, shown on a CPU by a recorder of torch's own operations.

As a CUDA graph does, the trace fixes every shape and every branch that Python takes, and repeats the operations on
tensors that stay where they are; and it refuses what would ask the host for a value.
"""

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from intriguing import SearchOptions, minimal_distortion
from intriguing.blind_spots import cuda_graph

RECORDED = []


def traced(step, state):
    """As `cuda_graph.record`, without a GPU."""
    cuda_graph.advance(step, state)
    replay = make_fx(lambda given: step(given), tracing_mode="fake", _allow_non_fake_inputs=True)(dict(state))
    RECORDED.append(len(replay.graph.nodes))
    return lambda: cuda_graph.advance(replay, state)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    RECORDED.clear()
    monkeypatch.setattr(cuda_graph, "record", traced)
    for module in ("cuda_graph", "evaluate", "memory", "penalty", "qp"):
        monkeypatch.setattr(f"intriguing.blind_spots.{module}.is_graphed", lambda device: True)


def model_and_batch(count=40):
    torch.manual_seed(0)
    layers = nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 6)
    model = nn.Sequential(*layers).requires_grad_(False)
    model[-1].weight.mul_(4)
    x = torch.rand(count, 30, generator=torch.Generator().manual_seed(1))
    return model, x, model(x).argmax(1)


@pytest.mark.slow
@pytest.mark.parametrize(("grade", "targeted"), [("best", True), ("fast", False), ("faithful", False)])
def test_a_recorded_tick_finds_what_a_plain_one_finds(grade, targeted, request):
    model, x, y = model_and_batch()
    targets = (y + 1) % 6 if targeted else None
    plain = minimal_distortion(model, x, y, targets, SearchOptions(grade=grade, slots=16))
    request.getfixturevalue("as_on_a_gpu")
    graphed = minimal_distortion(model, x, y, targets, SearchOptions(grade=grade, slots=16))
    assert RECORDED
    assert graphed.status == plain.status
    found = torch.tensor(plain.success)
    assert int(found.sum()) > 30
    ratio = graphed.l2[found] / plain.l2[found]
    assert ratio.median() == pytest.approx(1, abs=1e-5)
    assert ratio.max() < 1.02
    assert ratio.min() > 0.98


def test_a_step_that_asks_the_host_is_refused(as_on_a_gpu):
    class Asks(nn.Module):
        def forward(self, x):
            return x[:, :3] * (2 if bool((x > 0.5).any()) else 1)

    x = torch.rand(3, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(Exception, match="data-dependent"):
        minimal_distortion(Asks(), x, x[:, :3].argmax(1), options=SearchOptions(slots=4))
