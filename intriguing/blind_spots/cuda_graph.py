"""CUDA graphs: a step is recorded once and replayed, so that Python need not launch its kernels one by one."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

Step = Callable[[dict[str, Tensor]], dict[str, Tensor]]
FIRST, LATER = 3, 1
"""Number of ordinary steps before a recording: the first with a model, and later ones. Libraries initialise themselves,
and compilers compile, in the first calls, which must not be recorded."""


def is_graphed(device: torch.device) -> bool:
    """Whether steps on this device are recorded, which needs fixed shapes and no reading of values on the host."""
    return device.type == "cuda"


def advance(step: Step, state: dict[str, Tensor]) -> None:
    """Make one step and write its results into the tensors of `state`."""
    for name, value in step(state).items():
        state[name].copy_(value)


@cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """The stream of recordings: one for all, because freed memory is reused within a stream only."""
    return torch.cuda.Stream(device)


def record(step: Step, state: dict[str, Tensor], warm: int) -> Callable[[], None]:
    """Record a step of `state`; the function returned makes one step in place.

    Before the recording `warm` ordinary steps are made, so the values of `state` are of no use afterwards: write those
    to start from into its tensors. If the model cannot be recorded, because it reads values on the host or its shapes
    depend on data, the function returned calls `step` instead.
    """
    device = next(iter(state.values())).device
    here, side = torch.cuda.current_stream(device), _side(device)
    side.wait_stream(here)
    with torch.cuda.stream(side):
        for _ in range(warm):
            advance(step, state)
    here.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize(device)
    try:
        with torch.cuda.stream(side):
            _captured(graph, step, state)
    except RuntimeError:
        torch.cuda.synchronize(device)
        return lambda: advance(step, state)
    return graph.replay


def _captured(graph: torch.cuda.CUDAGraph, step: Step, state: dict[str, Tensor]) -> None:
    """Record one step, on the current stream.

    As `torch.cuda.graph` does, which also gives all unused memory back to the driver each time: that takes longer than
    the recording.
    """
    graph.capture_begin()
    try:
        advance(step, state)
    finally:
        graph.capture_end()
