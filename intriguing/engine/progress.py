"""Progress: how many images, searches and so on are done, how many per second, and how long the rest will take."""

import json
import os
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from intriguing.basics.files import write_file
from intriguing.engine.task import Task


@dataclass(frozen=True)
class Count:
    """Something that is counted: how many are done, of how many, and per second in this run (0 before the first)."""

    done: int
    total: int
    rate: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """Where a run stands: tasks by state, counts by noun, and the seconds left (None while nothing is known).

    `failed` tasks gave up, `blocked` ones need what these should have made.
    """

    tasks_done: int
    tasks_total: int
    running: int
    failed: int
    counts: dict[str, Count]
    seconds_left: float | None
    blocked: int = 0

    def line(self) -> str:
        """One line for a log."""
        parts = [f"{self.tasks_done}/{self.tasks_total} tasks"]
        for noun, count in self.counts.items():
            if noun != "tasks":
                rate = f" ({count.rate:,.3g}/s)" if count.rate else ""
                parts.append(f"{noun} {count.done:,}/{count.total:,}{rate}")
        parts.append(f"{self.failed} failed" + (f", {self.blocked} blocked" if self.blocked else ""))
        if self.seconds_left is not None:
            parts.append(f"about {_duration(self.seconds_left)} left")
        return ", ".join(parts)


@dataclass
class Progress:
    """Counts tasks as they end. `seconds` is the clock's reading, passed in so that this can be tested.

    A task counts once, however often it ends: one that has to run again (`reopened`) is not done until it has.
    """

    tasks: Iterable[Task]
    started: float
    _nouns: dict[str, tuple[str, int, str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._nouns = {t.name: (t.noun, t.amount, t.function.name) for t in self.tasks}
        self._total: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        for noun, amount, function in self._nouns.values():
            self._total[noun] += amount
            self._left[function] += 1
        self._done: Counter[str] = Counter()
        self._fresh: Counter[str] = Counter()
        self._busy: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._ended: set[str] = set()

    def reused(self, task: str, seconds: float = 0.0) -> None:
        """`task` was found finished; it took `seconds` when it ran."""
        self._end(task, seconds)

    def finished(self, task: str, seconds: float) -> None:
        """`task` finished now, in `seconds`."""
        self._end(task, seconds)
        noun, amount, _ = self._nouns[task]
        self._fresh[noun] += amount

    def reopened(self, task: str) -> None:
        """`task` has to run again: its outputs are damaged."""
        if task in self._ended:
            noun, amount, function = self._nouns[task]
            self._ended.remove(task)
            self._done[noun] -= amount
            self._left[function] += 1

    def snapshot(
        self, now: float, running: int, workers: int, failed: Collection[str] = (), blocked: Collection[str] = ()
    ) -> Snapshot:
        """Where the run stands at `now`; the tasks `failed` gave up, those `blocked` wait for one that did."""
        elapsed = max(now - self.started, 1e-9)
        counts = {n: Count(self._done[n], t, self._fresh[n] / elapsed) for n, t in self._total.items()}
        left = self._seconds_left(workers, [*failed, *blocked])
        total = len(self._nouns)
        return Snapshot(len(self._ended), total, running, len(failed), counts, left, len(blocked))

    def _end(self, task: str, seconds: float) -> None:
        noun, amount, function = self._nouns[task]
        if task not in self._ended:
            self._ended.add(task)
            self._done[noun] += amount
            self._left[function] -= 1
        self._busy[function][0] += seconds
        self._busy[function][1] += 1

    def _seconds_left(self, workers: int, given_up: Collection[str]) -> float | None:
        spent, ended = (sum(v[i] for v in self._busy.values()) for i in (0, 1))
        if not ended:
            return None
        typical = spent / ended
        means = {f: (s / n if n else typical) for f, (s, n) in self._busy.items()}
        left = self._left - Counter(self._nouns[task][2] for task in given_up if task not in self._ended)
        return sum(n * means.get(f, typical) for f, n in left.items()) / max(workers, 1)


def write_heartbeat(run: Path, snapshot: Snapshot) -> None:
    """Write to `live/status.json` how far the run is. Only `intriguing status` reads it; a resumed run does not."""
    status = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "time": time.time(),
        "line": snapshot.line(),
        "tasks_done": snapshot.tasks_done,
        "tasks_total": snapshot.tasks_total,
        "failed": snapshot.failed,
        "blocked": snapshot.blocked,
    }
    write_file(run, "live/status.json", json.dumps(status).encode())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
