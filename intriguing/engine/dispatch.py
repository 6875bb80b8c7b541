"""Which worker is given which task, and when: the driver's hand on the pool.

What happens at every event looks at the workers that it concerns alone: work is offered to those that were just freed,
and to idle ones when something is ready. What looks at all of them (`take_back`, `kill_hung`) is done once a second,
or while a task waits for a machine of its own.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from intriguing.engine.pools.pool import Pool
from intriguing.engine.schedule import Schedule

SHORT = 1.0
"""Seconds: a task that takes longer has no other queued behind it, which would wait while other workers idle."""

_POLLS = 10


class Dispatch:
    """Hands the tasks of `schedule` to the workers of `pool`.

    Args:
        schedule: what is ready.
        pool: who runs it.
        seconds_of: how long a task takes, by what others of its kind took; None where none has ended yet.
        submit: hands a task to a worker.
    """

    def __init__(
        self,
        schedule: Schedule,
        pool: Pool,
        seconds_of: Callable[[str], float | None],
        submit: Callable[[str, str], None],
    ) -> None:
        self._schedule = schedule
        self._pool = pool
        self._seconds_of = seconds_of
        self._submit = submit
        self._idle: OrderedDict[str, None] = OrderedDict.fromkeys(pool.workers)
        self._room: OrderedDict[str, None] = OrderedDict()
        self._left: set[str] = set()
        self._began: dict[str, tuple[str, float]] = {}
        self._lived: dict[str, float] = {}
        self._beats: dict[str, tuple[float, str]] = {}
        self._recalled: set[str] = set()
        self._reserved: str | None = None
        self.draining = False

    def offer(self) -> None:
        """Give every worker that has room what is ready for it."""
        if self.draining:
            return
        self._place_quiet()
        held_back = []
        while self._idle and self._schedule.open:
            worker, _ = self._idle.popitem(last=False)
            if self._is_reserved(worker):
                held_back.append(worker)
            elif not self._give(worker):
                held_back.append(worker)
                break
        self._idle.update(dict.fromkeys(held_back))
        while self._room and self._schedule.open:
            worker, _ = self._room.popitem(last=False)
            if not self._is_reserved(worker) and not self._give(worker):
                self._room[worker] = None
                break  # what is ready has to run alone

    def freed(self, worker: str) -> None:
        """A call of `worker` ended, or came back."""
        self._recalled.discard(worker)
        self._note_begin(worker)
        self._sort(worker)

    def joined(self, worker: str) -> None:
        """`worker` can be given calls."""
        self._left.discard(worker)
        self._sort(worker)

    def left(self, worker: str) -> None:
        """`worker` is given nothing more; what is queued there is asked back."""
        self._left.add(worker)
        self._idle.pop(worker, None)
        self._room.pop(worker, None)
        self._recall(worker)

    def gone(self, worker: str) -> None:
        """`worker` is no more, or another of its name that has not joined yet."""
        for held in (self._idle, self._room, self._began, self._lived, self._beats):
            held.pop(worker, None)
        self._recalled.discard(worker)
        self._left.discard(worker)

    def take_back(self) -> None:
        """Ask for calls that wait behind a long one, as many as there are workers without work."""
        free = 0 if self.draining else len(self._idle) - self._schedule.open
        for worker, (_, began) in self._began.items():
            if free <= 0 and not self.draining:
                return
            if time.monotonic() - began > SHORT or self.draining:
                free -= self._recall(worker)

    def kill_hung(self, seconds: float) -> None:
        """End the workers whose task gave no sign of life for `seconds`."""
        now = time.monotonic()
        for worker, (_, began) in list(self._began.items()):
            asked, last = self._beats.get(worker, (began, ""))
            if now - max(asked, began) <= seconds / _POLLS:
                continue
            beat = self._pool.beat(worker)
            self._beats[worker] = (now, beat)
            if beat != last:
                self._lived[worker] = now
            elif now - self._lived.get(worker, began) > seconds:
                self._pool.kill(worker, f"no sign of life within {seconds:g} s, the task_seconds of [compute]")
                self._began.pop(worker)

    def seconds_busy(self) -> dict[str, float]:
        """How long each worker has been at its present task."""
        now = time.monotonic()
        return {worker: now - began for worker, (_, began) in self._began.items()}

    def _give(self, worker: str, quiet: bool = False) -> bool:
        task = self._schedule.take(worker, quiet)
        if task is None:
            return False
        self._submit(worker, task)
        self._note_begin(worker)
        self._sort(worker)
        return True

    def _note_begin(self, worker: str) -> None:
        """Note since when `worker` is at its oldest task; one that came back from behind that changes nothing."""
        task = next(iter(self._schedule.running_on(worker)), None)
        if task is None:
            self._began.pop(worker, None)
        elif worker not in self._began or self._began[worker][0] != task:
            self._began[worker] = task, time.monotonic()
        else:
            return
        self._lived.pop(worker, None)

    def _sort(self, worker: str) -> None:
        """Put `worker` where it belongs: idle, with room for another call, or neither."""
        self._idle.pop(worker, None)
        self._room.pop(worker, None)
        held = self._schedule.held_by(worker)
        if worker in self._left:
            return
        if not held:
            self._idle[worker] = None
        elif held < self._pool.depth and self._is_short(worker):
            self._room[worker] = None

    def _is_short(self, worker: str) -> bool:
        lengths = [self._seconds_of(task) for task in self._schedule.running_on(worker)]
        return all(seconds is not None and seconds <= SHORT for seconds in lengths)

    def _recall(self, worker: str) -> bool:
        queued = self._schedule.running_on(worker)[1:]
        if not queued or worker in self._recalled:
            return False
        self._recalled.add(worker)
        for task in queued:
            self._pool.recall(worker, task)
        return True

    def _is_reserved(self, worker: str) -> bool:
        return self._reserved is not None and self._pool.node_of(worker) == self._reserved

    def _place_quiet(self) -> None:
        """Keep a machine for the task that needs one for itself, and give it to that once nothing runs there."""
        if self._reserved is None and not self._schedule.quiet:
            return
        by_node: dict[str, list[str]] = {}
        for worker in self._pool.workers:
            if worker not in self._left:
                by_node.setdefault(self._pool.node_of(worker), []).append(worker)
        busy = {node: sum(map(self._schedule.held_by, workers)) for node, workers in by_node.items()}
        if self._reserved not in by_node or (not busy[self._reserved] and not self._schedule.quiet):
            self._reserved = min(busy, key=busy.__getitem__) if busy and self._schedule.quiet else None
            for worker in self._pool.workers:
                if not self._schedule.held_by(worker):
                    self._sort(worker)
        if self._reserved is not None and not busy[self._reserved]:
            self._give(by_node[self._reserved][0], quiet=True)
