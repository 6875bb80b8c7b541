"""The tick as a graph: what holds on a CUDA device, shown on a CPU by a recorder of torch's own operations.

As a CUDA graph does, the trace fixes every shape and every branch that Python takes, and repeats the operations on
tensors that stay where they are; and it refuses what would ask the host for a value.
"""

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from intriguing import SearchOptions, minimal_distortion
from intriguing.basics.precision import Precision
from intriguing.blind_spots import cuda_graph
from intriguing.blind_spots.solvers.boundary import BoundaryFinish
from intriguing.blind_spots.solvers.penalty import PenaltySearch
from intriguing.blind_spots.solvers.primal_dual import PrimalDual
from intriguing.blind_spots.starts.further_starts import Segment
from intriguing.models.feeding.rows import Passes

MODULES = (
    "outcome.verifier",
    "cuda_graph",
    "network.evaluate",
    "arithmetic.masks",
    "memory",
    "solvers.penalty",
    "arithmetic.qp",
)
RECORDED = []
"""What was recorded: the class of a solver, or None for a call of the model alone."""


def noted(step):
    RECORDED.append(type(step.__self__._solver) if hasattr(step, "__self__") else None)


def traced(step, state, warm):
    """As `cuda_graph.record`, without a GPU."""
    noted(step)
    for _ in range(warm):
        cuda_graph.advance(step, state)
    replay = make_fx(lambda given: step(given), tracing_mode="fake", _allow_non_fake_inputs=True)(dict(state))
    assert len(replay.graph.nodes) > 3
    return lambda: cuda_graph.advance(replay, state)


def warmed(step, state, warm):
    """As `cuda_graph.record` where nothing can be recorded, with more steps before."""
    noted(step)
    for _ in range(warm + 2):
        cuda_graph.advance(step, state)
    return lambda: cuda_graph.advance(step, state)


def as_on_a_gpu(monkeypatch, record):
    RECORDED.clear()
    monkeypatch.setattr(cuda_graph, "record", record)
    for module in MODULES:
        monkeypatch.setattr(f"intriguing.blind_spots.{module}.is_graphed", lambda device: True)


def model_and_batch(count=40):
    torch.manual_seed(0)
    layers = nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 6)
    model = nn.Sequential(*layers).requires_grad_(False)
    model[-1].weight.mul_(4)
    x = torch.rand(count, 30, generator=torch.Generator().manual_seed(1))
    return model, x, model(x).argmax(1)


SOLVERS = {
    "best untargeted": ({"grade": "best"}, {PrimalDual, BoundaryFinish}),
    "starts": ({"grade": "best", "passes": 400}, {PrimalDual, BoundaryFinish, Segment}),
    "fast": ({"grade": "fast"}, {PrimalDual, BoundaryFinish}),
    "faithful": ({"grade": "faithful", "penalty_tolerance": 0.1}, {PenaltySearch}),
}


def searched(name, count=16):
    settings, solvers = SOLVERS[name]
    model, x, y = model_and_batch(count)
    starts = torch.rand(60, 30, generator=torch.Generator().manual_seed(2)) if name == "starts" else None
    options = SearchOptions(slots=16, **settings)
    return minimal_distortion(model, x, y, None, options, starts=starts), solvers


@pytest.mark.slow
@pytest.mark.parametrize("name", ["best untargeted", "fast", "faithful"])
def test_a_recorded_tick_finds_what_a_plain_one_finds(name, monkeypatch):
    plain, solvers = searched(name)
    as_on_a_gpu(monkeypatch, traced)
    graphed, _ = searched(name)
    assert {kind for kind in RECORDED if kind} >= solvers and None in RECORDED
    assert graphed.status == plain.status
    found = torch.tensor(plain.success)
    assert int(found.sum()) > 12
    ratio = graphed.l2[found] / plain.l2[found]
    assert ratio.median() == pytest.approx(1, abs=1e-5)
    assert ratio.max() < 1.02
    assert ratio.min() > 0.98


@pytest.mark.parametrize("name", ["best untargeted", "starts", "faithful"])
def test_steps_before_a_recording_change_nothing(name, monkeypatch):
    as_on_a_gpu(monkeypatch, lambda step, state, warm: noted(step) or (lambda: cuda_graph.advance(step, state)))
    plain, solvers = searched(name, 12)
    assert {kind for kind in RECORDED if kind} >= solvers
    as_on_a_gpu(monkeypatch, warmed)
    other, _ = searched(name, 12)
    assert torch.equal(other.adversarial, plain.adversarial) and other.status == plain.status
    assert torch.equal(other.forward_passes, plain.forward_passes)
    assert other.forward_rows > plain.forward_rows  # rows that the model sees in those steps are counted


def test_a_step_that_asks_the_host_is_refused(monkeypatch):
    as_on_a_gpu(monkeypatch, traced)

    class Asks(nn.Module):
        def forward(self, x):
            return x[:, :3] * (2 if bool((x > 0.5).any()) else 1)

    x = torch.rand(3, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(Exception, match="data-dependent"):
        minimal_distortion(Asks(), x, x[:, :3].argmax(1), options=SearchOptions(slots=4))


def test_small_batches_are_recorded_once_per_shape_and_precision(monkeypatch):
    as_on_a_gpu(monkeypatch, traced)
    model, x, _ = model_and_batch()
    seen = Passes()
    repeated = cuda_graph.Repeated(model, seen)
    with torch.no_grad():
        for name in ("ieee", "tf32", "ieee"):
            with Precision.all(name).used():
                for size in (1, 8, 16):
                    for part in x.split(size):
                        assert torch.equal(repeated(part.clone()), model(part))
    # 40 images: 40 batches of 1 and 5 of 8 repeat, in two precisions; those of 16 are not small.
    assert len(RECORDED) == 4
    assert seen.forward == 2 * (1 + cuda_graph.LATER) * (1 + 8)


def test_a_search_records_the_outputs_of_each_small_batch_once(monkeypatch):
    """Those of images alone and of eight, however often results are asked for."""
    as_on_a_gpu(monkeypatch, lambda step, state, warm: noted(step) or (lambda: cuda_graph.advance(step, state)))
    searched("fast", 40)
    assert RECORDED.count(None) == 2
