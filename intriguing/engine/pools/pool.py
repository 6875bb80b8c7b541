"""What the driver needs of a pool of workers, and the events that a pool reports.

`inline.py` and `on_ray/` are pools: so the same driver runs in one process under a debugger and on a cluster.
"""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from intriguing.engine.progress.progress import Snapshot
from intriguing.engine.storage.store import Record, Store
from intriguing.engine.worker import Call, Damage, Resources, damaged_input, error_text, run_call


@dataclass(frozen=True)
class Finished:
    """A task finished and its outputs are stored."""

    worker: str
    task: str
    record: Record


@dataclass(frozen=True)
class Raised:
    """A task raised an error; `damaged` are the stored inputs that it could not read."""

    worker: str
    task: str
    error_type: str
    message: str
    trace: str = ""
    damaged: tuple[Damage, ...] = ()


@dataclass(frozen=True)
class Died:
    """A worker is gone, with the tasks that it held: told of every worker that had joined, whyever it ended.

    `cause` is "lost"; "memory" where its machine ran out of memory; or "freed" where it was ended for no fault of its
    task, whose attempt is not counted then.
    """

    worker: str
    reason: str
    cause: Literal["lost", "memory", "freed"] = "lost"


@dataclass(frozen=True)
class Returned:
    """A call that was queued was taken back (see `Pool.recall`): it never began."""

    worker: str
    task: str


@dataclass(frozen=True)
class Joined:
    """A worker can be given calls from now on."""

    worker: str


@dataclass(frozen=True)
class Left:
    """A worker finishes what it holds, and is given nothing more; its `Died` follows."""

    worker: str


Event = Finished | Raised | Died | Returned | Joined | Left


class Pool(Protocol):
    """Workers that run calls."""

    depth: int
    """How many calls a worker may hold at once."""
    silent: bool
    """Whether `events` runs a call to its end, however long that takes."""

    @property
    def workers(self) -> Sequence[str]:
        """The names of the workers that can be given a call now."""
        ...

    def node_of(self, worker: str) -> str:
        """The machine that `worker` runs on; "" where all run on one."""
        ...

    def node_name(self, worker: str) -> str:
        """What people call the machine of `worker`."""
        ...

    def submit(self, worker: str, call: Call) -> None:
        """Hand `call` to `worker`; where that is gone already, the `Died` that follows tells of this call too."""
        ...

    def events(self, timeout: float) -> Sequence[Event]:
        """What happened: all of it at once, after at most `timeout` seconds of waiting for the first."""
        ...

    def recall(self, worker: str, task: str) -> None:
        """Take a queued call back: `Returned` follows at once. Had it begun at that moment, it runs twice."""
        ...

    def want(self, tasks: int) -> None:
        """Say how many tasks could run at present: the pool grows up to that, and lets go of what stays idle."""
        ...

    def beat(self, worker: str) -> str:
        """The last sign of life of what `worker` runs: another text whenever there was a new one."""
        ...

    def exclude(self, worker: str, reason: str) -> bool:
        """Give up the machine of `worker`: `Died` follows for all workers there. False if no other machine is left."""
        ...

    def report(self, snapshot: Snapshot) -> None:
        """Show where the run stands to whoever watches the pool."""
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
    *,
    stops_by_interrupt: bool = True,
) -> Finished | Raised:
    """Run `call` on this worker, and return how it ended; the same in every pool.

    Whatever the task's code raises is an answer, `asyncio.CancelledError` and others that are no `Exception` too.

    debug: is called with the error of a task that raises. stops_by_interrupt: whether `KeyboardInterrupt` means that
    somebody stops the run, and is raised here; elsewhere the task's own code raised it.
    """
    try:
        return Finished(worker, call.task, run_call(call, store, resources, worker))
    except SystemExit as error:
        if hasattr(error, "ray_terminate_msg"):  # Ray ends the worker so: the task's code did not
            raise
        said = f"its code ended the process (exit code {error.code})"
        return Raised(worker, call.task, "SystemExit", said, traceback.format_exc())
    except BaseException as error:
        if stops_by_interrupt and isinstance(error, KeyboardInterrupt):
            raise
        trace = traceback.format_exc()
        if debug is not None:
            debug(error)
        return Raised(worker, call.task, type(error).__name__, error_text(error), trace, damaged_input(error))
