"""Slots: rows that are searched side by side, each its own state machine; finished ones make room for waiting ones.

A stage knows one row's state machine, written for a batch: `load` makes the state of new rows without asking the model,
`step` advances every row of the state by a fixed number of evaluations and freezes those that are done. The host looks
at the mask of finished rows every `poll` steps only; in between nothing waits for the device. On a CUDA device steps
are recorded once and replayed (`graph`).
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from intriguing.blind_spots import graph

State = dict[str, Tensor]
_CACHED = 256
"""Rows that are in work at once on a CPU, at most: more make no tick faster, and leave its cache."""
_GRAIN = 8
"""On a CPU the number of rows is a multiple of this, so that with aligned rows (`grades.ALIGNED`) no elementwise kernel
is left with a rest, which it may round otherwise, and no product is of a single row, which another kernel rounds."""


class Stage(Protocol):
    """A state machine over rows."""

    @property
    def poll(self) -> int:
        """Steps between two looks at the mask of finished rows."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The parts of the state that a finished row leaves behind."""
        ...

    def load(self, given: State) -> State:
        """The first state of new rows; it holds `done` (R,) bool."""
        ...

    def step(self, state: State) -> State:
        """The parts of the state that change in one step of all rows."""
        ...


def run(stage: Stage, given: State, slots: int) -> State:
    """Take all rows of `given` through `stage`, at most `slots` at a time, and return its outputs in the rows' order.

    A row's state does not depend on its company, in so far as the model's logits do not. On a CUDA device the state
    always holds all slots, the last row repeated where rows lack, for a graph has fixed shapes; on a CPU it shrinks as
    rows finish.
    """
    count = len(next(iter(given.values())))
    device = next(iter(given.values())).device
    fixed = graph.is_graphed(device)
    grain = slots if fixed else _GRAIN
    width = width_of(count, slots, fixed)
    rows = torch.arange(width, device=device)
    live = rows < count
    rows = rows.clamp(max=count - 1)
    waiting = min(width, count)
    state = stage.load(_take(given, rows))
    state["done"] = state["done"] | ~live
    results: State = {}
    advance = _stepper(stage, device)
    while True:
        for _ in range(stage.poll):
            state = advance(state)
        finished = state["done"] & live
        leaving = finished.nonzero().squeeze(1)
        if len(leaving) == 0:
            continue
        _store(results, stage, state, leaving, rows, count)
        live = live & ~finished
        new = min(len(leaving), count - waiting)
        if new:
            # A graph owns its dictionary of fixed tensors: changes go into another, which the stepper copies in.
            state = dict(state)
            slots_free = leaving[:new]
            incoming = torch.arange(waiting, waiting + new, device=device)
            waiting += new
            for name, value in stage.load(_take(given, incoming)).items():
                state[name] = state[name].index_copy(0, slots_free, value)
            rows[slots_free] = incoming
            live[slots_free] = True
        left = int(live.sum())
        if left == 0:
            return results
        if _ceil(left, grain) < len(live):
            keep = _compact(live, _ceil(left, grain))
            state, rows, live = _take(state, keep), rows[keep], live[keep]
            advance = _stepper(stage, device)


def width_of(count: int, slots: int, fixed: bool) -> int:
    """How many of `count` rows a stage holds at once, those that pad it included."""
    return slots if fixed else min(_ceil(count, _GRAIN), _ceil(min(slots, _CACHED), _GRAIN))


def _ceil(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _take(state: State, index: Tensor) -> State:
    return {name: value[index] for name, value in state.items()}


def _compact(live: Tensor, width: int) -> Tensor:
    """The first `width` slots when live ones come first, in their order."""
    return torch.argsort((~live).to(torch.int8), stable=True)[:width]


def _store(results: State, stage: Stage, state: State, leaving: Tensor, rows: Tensor, count: int) -> None:
    for name in stage.outputs:
        value = state[name]
        if name not in results:
            results[name] = value.new_zeros((count, *value.shape[1:]))
        results[name][rows[leaving]] = value[leaving]


class _Eager:
    """Steps as they come."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(self, state: State) -> State:
        return state | self._stage.step(state)


class _Graphed:
    """Steps on tensors that stay where they are, recorded at the first call and replayed from then on."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._state: State = {}
        self._advance: Callable[[], None] | None = None

    def __call__(self, state: State) -> State:
        if self._advance is None:
            self._state = {name: value.clone() for name, value in state.items()}
            self._advance = graph.record(self._stage.step, self._state)
            return self._state
        for name, value in state.items():
            if value is not self._state[name]:
                self._state[name].copy_(value)
        self._advance()
        return self._state


def _stepper(stage: Stage, device: torch.device) -> _Eager | _Graphed:
    return _Graphed(stage) if graph.is_graphed(device) else _Eager(stage)
