"""A step recorded once as a CUDA graph and replayed, so that no tick waits for Python to launch its kernels."""

from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[[dict[str, Tensor]], dict[str, Tensor]]
_WARM = 3
"""Steps before the recording: libraries set themselves up in their first calls, which a graph must not hold."""


def is_graphed(device: torch.device) -> bool:
    """Whether steps on this device are recorded; then they may ask the host nothing and every shape is fixed."""
    return device.type == "cuda"


def advance(step: Step, state: dict[str, Tensor]) -> None:
    """One step of the `state`, in place."""
    for name, value in step(state).items():
        state[name].copy_(value)


def record(step: Step, state: dict[str, Tensor]) -> Callable[[], None]:
    """Advance the `state` by a few steps, and return what advances it by one more.

    A model that cannot be recorded (it asks the host, or allocates by data) is called anew in every step.
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
