"""CUDA graphs: a step is recorded once and replayed, so that Python need not launch its kernels one by one."""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[dict[str, Tensor]], dict[str, Tensor]]
_WARM = 3
"""Number of ordinary steps before the recording. Libraries initialise themselves in their first calls, which must not
be recorded."""


def is_graphed(device: torch.device) -> bool:
    """Whether steps on this device are recorded, which needs fixed shapes and no reading of values on the host."""
    return device.type == "cuda"


def advance(step: Step, state: dict[str, Tensor]) -> None:
    """Make one step and write its results into the tensors of `state`."""
    for name, value in step(state).items():
        state[name].copy_(value)


def record(step: Step, state: dict[str, Tensor]) -> Callable[[], None]:
    """Make a few steps of `state` and record one more; the function returned makes one step in place.

    If the model cannot be recorded, because it reads values on the host or its shapes depend on data, the function
    returned calls `step` instead.
    """
    here, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(here)
    with torch.cuda.stream(side):
        for _ in range(_WARM):
            advance(step, state)
    here.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    try:
        with torch.cuda.graph(graph):
            advance(step, state)
    except RuntimeError:
        torch.cuda.synchronize()
        return lambda: advance(step, state)
    return graph.replay
