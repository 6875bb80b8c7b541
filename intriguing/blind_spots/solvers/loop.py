"""The loop of a search: some rows are in work at a time, and a waiting row takes the place of a finished one.

A `Solver` describes the search of one row, written for a batch of rows. `load` makes the first state of new rows and
does not call the model. `step` advances every row by a fixed number of evaluations and leaves finished rows as they
are. The loop reads the mask of finished rows only once in `poll` steps, because each reading waits for the device; on a
CPU, where it does not, rows also leave when the state gets smaller without them. On a CUDA device a step is recorded
once and replayed (`cuda_graph`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from intriguing.basics.process.liveness import beat
from intriguing.blind_spots import cuda_graph
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.models.feeding.rows import Blocks, Passes

State = dict[str, Tensor]
_CACHED = 256
"""The largest number of rows in work at once on a CPU. With more, the state no longer fits in the CPU's cache."""
_GRAIN, _FINE = 8, 2
"""On a CPU the number of rows is a multiple of the first. A row's length is a multiple of `row_search.ALIGNED`;
together they keep rounding the same for every row: elementwise kernels may round the last few values of a tensor
differently, and matrix products round a single row differently. Where each row is fed to the model alone, a multiple of
the second: rows are long there, so that even work on rows that are not in use is dear."""
_LONG = 2**15
"""Rows of so many values and more are advanced a few at a time, because a step needs more memory than the state."""


@dataclass(frozen=True)
class Layout:
    """How many rows are in work: at most `slots`, a multiple of `grain`; a step advances `piece` of them at a time."""

    slots: int
    grain: int = _GRAIN
    piece: int = _CACHED

    @classmethod
    def of(cls, slots: int, blocks: Blocks, length: int) -> "Layout":
        """For rows of `length` values, which the model is fed in `blocks`."""
        if blocks.most == 1:
            return cls(slots, _FINE, _FINE)
        return cls(slots, piece=max(_GRAIN, blocks.least, blocks.step) if length >= _LONG else _CACHED)

    def width(self, count: int, fixed: bool) -> int:
        """Rows of the state when `count` rows are to be solved, padding included. fixed: on a CUDA device."""
        return min(_ceil(count, self.grain), self.slots if fixed else _ceil(min(self.slots, _CACHED), self.grain))


class Solver(Protocol):
    """A method that improves rows step by step. A state is a dictionary of tensors (R, ...), one entry per row."""

    @property
    def evaluator(self) -> Evaluator:
        """The model that the steps ask, which counts the rows that it sees."""
        ...

    @property
    def poll(self) -> int:
        """Number of steps between two readings of the mask of finished rows."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the state's tensors that are the result of a row."""
        ...

    def load(self, inputs: State) -> State:
        """The first state of new rows, from their inputs; it contains `done` (R,) bool."""
        ...

    def step(self, state: State) -> State:
        """The tensors of the state that change when all rows make one step."""
        ...


def run(solver: Solver, inputs: State, layout: Layout) -> State:
    """Solve all rows of `inputs`, some at a time; the outputs are in the order of the rows.

    A row's result does not depend on the other rows, provided that its logits do not. The last row is repeated where
    rows are missing in the state. On a CPU the state gets smaller as rows finish. On a CUDA device it does not: a graph
    has fixed shapes.
    """
    count = len(next(iter(inputs.values())))
    device = next(iter(inputs.values())).device
    fixed = cuda_graph.is_graphed(device)
    width = layout.width(count, fixed)
    grain = width if fixed else layout.grain
    rows = torch.arange(width, device=device)
    live = rows < count
    rows = rows.clamp(max=count - 1)
    waiting = min(width, count)
    state = solver.load(_take(inputs, rows))
    state["done"] = state["done"] | ~live
    results: State = {}
    advance = _stepper(solver, device, layout.piece)
    while True:
        beat()
        for _ in range(solver.poll):
            state = advance(state)
            if not fixed and _is_due(state["done"], grain, waiting < count):
                break
        finished = state["done"] & live
        leaving = finished.nonzero().squeeze(1)
        if len(leaving) == 0:
            continue
        _store(results, solver, state, leaving, rows, count)
        live = live & ~finished
        new = min(len(leaving), count - waiting)
        if new:
            # The graph reads the tensors of this dictionary: change another one, from which they are filled.
            state = dict(state)
            slots_free = leaving[:new]
            incoming = torch.arange(waiting, waiting + new, device=device)
            waiting += new
            for name, value in solver.load(_take(inputs, incoming)).items():
                state[name] = state[name].index_copy(0, slots_free, value)
            rows[slots_free] = incoming
            live[slots_free] = True
        remaining = int(live.sum())
        if remaining == 0:
            return results
        if _ceil(remaining, grain) < len(live):
            keep = _compact(live, _ceil(remaining, grain))
            rows, live, state = rows[keep], live[keep], dict(state)
            for name in state:  # one by one, so that never two states are in memory
                state[name] = state[name].index_select(0, keep)
            advance = _stepper(solver, device, layout.piece)


def _ceil(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _take(state: State, index: Tensor) -> State:
    return {name: value.index_select(0, index) for name, value in state.items()}


def _is_due(done: Tensor, grain: int, waits: bool) -> bool:
    """Whether to look after the rows before the next poll: all are done, or a state without them gets smaller.

    While others wait, it does not: new rows would be loaded one by one.
    """
    going = done.tolist().count(False)
    return going == 0 or (not waits and _ceil(going, grain) < len(done))


def _compact(live: Tensor, width: int) -> Tensor:
    """Indices (width,) of slots: those in work first, in their order."""
    return torch.argsort((~live).to(torch.int8), stable=True)[:width]


def _store(results: State, solver: Solver, state: State, leaving: Tensor, rows: Tensor, count: int) -> None:
    for name in solver.outputs:
        value = state[name]
        if name not in results:
            results[name] = value.new_zeros((count, *value.shape[1:]))
        results[name].index_copy_(0, rows.index_select(0, leaving), value.index_select(0, leaving))


class _Eager:
    """Calls the solver's step, on so many rows at a time."""

    def __init__(self, solver: Solver, piece: int) -> None:
        self._solver = solver
        self._piece = piece

    def __call__(self, state: State) -> State:
        count = len(state["done"])
        if count <= self._piece:
            return state | self._solver.step(state)
        for start in range(0, count, self._piece):
            part = {name: value[start : start + self._piece] for name, value in state.items()}
            if not all(part["done"].tolist()):
                for name, value in self._solver.step(part).items():
                    part[name].copy_(value)
        return state


class _Graphed:
    """Records the solver's step at the first call, on tensors at fixed addresses, and replays it from then on."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self._state: State = {}
        self._advance: Callable[[], None] | None = None
        self._passes = Passes()
        """Rows that the model sees in one replay."""

    def _step(self, state: State) -> State:
        before = replace(self._solver.evaluator.seen)
        change = self._solver.step(state)
        self._passes = self._solver.evaluator.seen - before
        return change

    def __call__(self, state: State) -> State:
        evaluator = self._solver.evaluator
        if self._advance is None:
            # The steps before the recording are made on copies, and count as passes that the model saw.
            self._state = {name: value.clone() for name, value in state.items()}
            warm = cuda_graph.LATER if evaluator.is_graph_made else cuda_graph.FIRST
            self._advance = cuda_graph.record(self._step, self._state, warm)
            evaluator.is_graph_made = True
            evaluator.seen.add(self._passes, -1)  # the step that was recorded was not made
        for name, value in state.items():
            if value is not self._state[name]:
                self._state[name].copy_(value)
        before = replace(evaluator.seen)
        self._advance()
        if evaluator.seen == before:
            evaluator.seen.add(self._passes)
        return self._state


def _stepper(solver: Solver, device: torch.device, piece: int) -> _Eager | _Graphed:
    return _Graphed(solver) if cuda_graph.is_graphed(device) else _Eager(solver, piece)
