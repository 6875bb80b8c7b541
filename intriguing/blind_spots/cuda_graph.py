"""CUDA graphs: a step is recorded once and replayed, so that Python need not launch its kernels one by one."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from intriguing.basics.precision import Precision
from intriguing.models.feeding.rows import Passes

Step = Callable[[dict[str, Tensor]], dict[str, Tensor]]
FIRST, LATER = 3, 1
"""Number of ordinary steps before a recording: the first with a model, and later ones. Libraries initialise themselves,
and compilers compile, in the first calls, which must not be recorded."""
_SMALL = 8
"""The largest batch whose outputs are recorded: launching kernels takes longer than a larger one saves, and a recording
keeps the memory that it needs."""


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


class Repeated:
    """The outputs of a network. On a CUDA device small batches, which are fed many times, are recorded and replayed.

    A recording holds for one shape, one type and one precision. `seen` counts the rows of the steps before it.
    """

    def __init__(self, model: nn.Module, seen: Passes) -> None:
        self._model = model
        self._seen = seen
        self._calls: Counter[tuple[Any, ...]] = Counter()
        self._replays: dict[tuple[Any, ...], Callable[[Tensor], Tensor]] = {}

    def __call__(self, images: Tensor) -> Any:
        """What the model returns for images (B, *shape), which it may change."""
        if not is_graphed(images.device) or len(images) > _SMALL:
            return self._model(images)
        key = images.shape, images.dtype, Precision.now()
        self._calls[key] += 1
        if self._calls[key] <= FIRST:
            return self._model(images)
        if key not in self._replays:
            self._replays[key] = self._recorded(images)
        return self._replays[key](images)

    def _recorded(self, images: Tensor) -> Callable[[Tensor], Tensor]:
        def step(state: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"outputs": self._model(state["images"].clone())}

        state = {"images": images.clone(), "outputs": self._model(images.clone()).clone()}
        replay = record(step, state, LATER)
        self._seen.forward += (1 + LATER) * len(images)

        def replayed(images: Tensor) -> Tensor:
            state["images"].copy_(images)
            replay()
            return state["outputs"].clone()

        return replayed
