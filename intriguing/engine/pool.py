"""What the driver needs of a pool of workers, and the events that a pool reports.

`inline.py` and `on_ray.py` are pools: so the same driver runs in one process under a debugger and on a cluster.
"""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from intriguing.engine.store import Record, Store
from intriguing.engine.worker import Call, Resources, damaged_input, error_text, run_call


@dataclass(frozen=True)
class Finished:
    """A task finished and its outputs are stored."""

    worker: str
    task: str
    record: Record


@dataclass(frozen=True)
class Raised:
    """A task raised an error; `damaged` are the fingerprints of stored inputs that it could not read."""

    worker: str
    task: str
    error_type: str
    message: str
    trace: str = ""
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Died:
    """A worker is gone, with the tasks that it held; a new one of the same name takes its place."""

    worker: str
    reason: str


Event = Finished | Raised | Died


class Pool(Protocol):
    """Workers that run calls."""

    depth: int
    """How many calls a worker may hold at once."""

    @property
    def workers(self) -> Sequence[str]:
        """The names of the workers that can be given a call now."""
        ...

    def submit(self, worker: str, call: Call) -> None:
        """Hand `call` to `worker`."""
        ...

    def next_event(self, timeout: float) -> Event | None:
        """The next event, or None when `timeout` seconds passed without one."""
        ...

    def kill(self, worker: str, reason: str) -> None:
        """End `worker` at once; a `Died` event follows."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


def answer(
    call: Call,
    store: Store,
    resources: Resources,
    worker: str,
    debug: Callable[[BaseException], None] | None = None,
) -> Finished | Raised:
    """Run `call` on this worker, and return how it ended; the same in every pool.

    `debug` is called with the error of a task that raises.
    """
    try:
        return Finished(worker, call.task, run_call(call, store, resources, worker))
    except Exception as error:
        trace = traceback.format_exc()
        if debug is not None:
            debug(error)
        return Raised(worker, call.task, type(error).__name__, error_text(error), trace, damaged_input(error))
