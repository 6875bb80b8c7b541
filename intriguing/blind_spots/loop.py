"""The loop of a search: some rows are in work at a time, and a waiting row takes the place of a finished one.

A `Solver` describes the search of one row, written for a batch of rows. `load` makes the first state of new rows and
does not call the model. `step` advances every row by a fixed number of evaluations and leaves finished rows as they
are. The loop reads the mask of finished rows only once in `poll` steps, because each reading waits for the device. On a
CUDA device a step is recorded once and replayed (`cuda_graph`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from intriguing.blind_spots import cuda_graph
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.models.rows import Passes

State = dict[str, Tensor]
_CACHED = 256
"""The largest number of rows in work at once on a CPU. With more, the state no longer fits in the CPU's cache."""
GRAIN, FINE = 8, 2
"""On a CPU the number of rows is a multiple of the first. A row's length is a multiple of `row_search.ALIGNED`;
together they keep rounding the same for every row: elementwise kernels may round the last few values of a tensor
differently, and matrix products round a single row differently. Where each row is fed to the model alone, a multiple of
the second: rows are long there, so that even work on rows that are not in use is dear."""


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


def run(solver: Solver, inputs: State, slots: int, grain: int = GRAIN) -> State:
    """Solve all rows of `inputs`, at most `slots` at a time; the outputs are in the order of the rows.

    A row's result does not depend on the other rows, provided that its logits do not. The number of rows of the state
    is a multiple of `grain`: the last row is repeated where rows are missing. On a CPU the state gets smaller as rows
    finish. On a CUDA device it does not: a graph has fixed shapes.
    """
    count = len(next(iter(inputs.values())))
    device = next(iter(inputs.values())).device
    fixed = cuda_graph.is_graphed(device)
    width = width_of(count, slots, fixed, grain)
    grain = width if fixed else grain
    rows = torch.arange(width, device=device)
    live = rows < count
    rows = rows.clamp(max=count - 1)
    waiting = min(width, count)
    state = solver.load(_take(inputs, rows))
    state["done"] = state["done"] | ~live
    results: State = {}
    advance = _stepper(solver, device)
    while True:
        for _ in range(solver.poll):
            state = advance(state)
            if not fixed and bool(state["done"].all()):
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
            state, rows, live = _take(state, keep), rows[keep], live[keep]
            advance = _stepper(solver, device)


def width_of(count: int, slots: int, fixed: bool, grain: int = GRAIN) -> int:
    """Number of rows of the state when `count` rows are to be solved, padding included. fixed: on a CUDA device."""
    return min(_ceil(count, grain), slots if fixed else _ceil(min(slots, _CACHED), grain))


def _ceil(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def _take(state: State, index: Tensor) -> State:
    return {name: value[index] for name, value in state.items()}


def _compact(live: Tensor, width: int) -> Tensor:
    """Indices (width,) of slots: those in work first, in their order."""
    return torch.argsort((~live).to(torch.int8), stable=True)[:width]


def _store(results: State, solver: Solver, state: State, leaving: Tensor, rows: Tensor, count: int) -> None:
    for name in solver.outputs:
        value = state[name]
        if name not in results:
            results[name] = value.new_zeros((count, *value.shape[1:]))
        results[name][rows[leaving]] = value[leaving]


class _Eager:
    """Calls the solver's step."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver

    def __call__(self, state: State) -> State:
        return state | self._solver.step(state)


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
        seen = self._solver.evaluator.seen
        if self._advance is None:
            self._state = {name: value.clone() for name, value in state.items()}
            self._advance = cuda_graph.record(self._step, self._state)
            seen.add(self._passes, -1)  # the step that was recorded was not made
            return self._state
        for name, value in state.items():
            if value is not self._state[name]:
                self._state[name].copy_(value)
        before = replace(seen)
        self._advance()
        if seen == before:
            seen.add(self._passes)
        return self._state


def _stepper(solver: Solver, device: torch.device) -> _Eager | _Graphed:
    return _Graphed(solver) if cuda_graph.is_graphed(device) else _Eager(solver)
