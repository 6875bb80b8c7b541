"""The inline pool: tasks run in this process and thread, where debuggers and profilers see them."""

import pickle
import platform
from collections import deque
from collections.abc import Callable

from intriguing.basics.folders.folder import Place
from intriguing.engine.pools.pool import Event, answer
from intriguing.engine.progress.progress import Snapshot
from intriguing.engine.worker import Call, Resources, store_of


class InlinePool:
    """One worker, which is the caller's own thread.

    `strict` passes every call through pickle and forgets resources between tasks, as if each ran on a worker of its
    own: what holds there holds on Ray. (Inputs are read-only in every pool: they are views of Arrow buffers.)
    `debug` is called with the error of a task that raises, while its frames are there to be looked at.
    """

    depth = 1

    def __init__(self, run: Place, strict: bool = False, debug: Callable[[BaseException], None] | None = None) -> None:
        self._store = store_of(run)
        self._strict = strict
        self._debug = debug
        self.silent = debug is None  # whoever follows a task in the debugger is not talked to
        self._resources = Resources()
        self._calls: deque[Call] = deque()

    @property
    def workers(self) -> list[str]:
        """The one worker."""
        return ["inline"]

    def submit(self, worker: str, call: Call) -> None:
        """Keep `call` for the next `events`."""
        self._calls.append(pickle.loads(pickle.dumps(call)) if self._strict else call)

    def node_of(self, worker: str) -> str:
        """One machine runs all."""
        return ""

    def node_name(self, worker: str) -> str:
        """The name of this machine."""
        return platform.node()

    def events(self, timeout: float) -> list[Event]:
        """Run the oldest call now and report how it ended."""
        if not self._calls:
            return []
        call = self._calls.popleft()
        if self._strict:
            self._resources = Resources()
        return [answer(call, self._store, self._resources, "inline", self._debug)]

    def recall(self, worker: str, task: str) -> None:
        """Do nothing: no call waits behind another."""

    def want(self, tasks: int) -> None:
        """Do nothing: there is one worker."""

    def beat(self, worker: str) -> str:
        """No sign of life is needed of the driver's own thread."""
        return ""

    def exclude(self, worker: str, reason: str) -> bool:
        """There is no other machine."""
        return False

    def report(self, snapshot: Snapshot) -> None:
        """Nobody watches."""

    def kill(self, worker: str, reason: str) -> None:
        """Do nothing: the one worker is the driver's own thread, which waits for each call to end."""

    def close(self) -> None:
        """Forget what was loaded."""
        self._resources = Resources()
