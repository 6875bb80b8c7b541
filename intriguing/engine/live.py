"""Who does what at present: what `intriguing status` shows of a run that is at work, and what a driver leaves for it.

`live/status.json` holds the counts, the line of progress, and lists of a few rows each:

    nodes      machine, how many workers, kinds of device
    busy       task, worker, machine, seconds so far, models held: the longest first
    slowest    task, seconds: of those that ended
    failures   task, error, message: the last ones
"""

import json
import os
import re
import socket
import time
from collections import Counter, defaultdict
from heapq import heappush, heappushpop, nlargest
from pathlib import Path
from typing import Any

from intriguing.basics.folders.folder import Place, folder_at
from intriguing.engine.dispatch import Dispatch
from intriguing.engine.pools.pool import Pool
from intriguing.engine.progress.progress import Snapshot
from intriguing.engine.schedule import Schedule
from intriguing.engine.storage.publish import Failure

_SHOWN = 10
_LONGEST = 300
_HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")
"""The content of a data set, which its workers hold: its beginning says enough."""


class Live:
    """Keeps what a status shows, and writes it."""

    def __init__(self, run: Place, schedule: Schedule) -> None:
        # It is written while a task runs, too, which may have left for another working folder.
        self._run = folder_at(run.absolute() if isinstance(run, Path) else run)
        self._schedule = schedule
        self._slowest: list[tuple[float, str]] = []
        self._devices: dict[str, str] = {}

    def finished(self, worker: str, task: str, seconds: float, device: str) -> None:
        """`task` ended on `worker`."""
        self._devices[worker] = device
        if len(self._slowest) < _SHOWN:
            heappush(self._slowest, (seconds, task))
        elif (seconds, task) > self._slowest[0]:
            heappushpop(self._slowest, (seconds, task))

    def write(self, snapshot: Snapshot, pool: Pool, dispatch: Dispatch, failures: list[Failure]) -> None:
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
            "workers": len(pool.workers),
            "queued": self._schedule.open,
            "nodes": self._nodes(pool),
            "busy": self.busy(pool, dispatch),
            "slowest": [[task, round(seconds, 2)] for seconds, task in sorted(self._slowest, reverse=True)],
            "failures": [[f.task, f.error_type, f.message[:_LONGEST]] for f in failures[-_SHOWN:]],
        }
        self._run.write("live/status.json", json.dumps(status).encode())

    def _nodes(self, pool: Pool) -> list[list[Any]]:
        workers = pool.workers
        self._devices = {worker: self._devices[worker] for worker in workers if worker in self._devices}
        counts: Counter[str] = Counter()
        devices: defaultdict[str, set[str]] = defaultdict(set)
        for worker in workers:
            node = pool.node_name(worker)
            counts[node] += 1
            devices[node].add(self._devices.get(worker, ""))
        return [[node, count, ", ".join(sorted(devices[node] - {""}))] for node, count in sorted(counts.items())]

    def busy(self, pool: Pool, dispatch: Dispatch) -> list[list[Any]]:
        """Rows of `busy`: what the workers are at, the longest first."""
        rows = []
        for worker, seconds in nlargest(_SHOWN, dispatch.seconds_busy().items(), key=lambda item: item[1]):
            task = next(iter(self._schedule.running_on(worker)), "")
            held = ", ".join(_HASH.sub(r"\1...", affinity) for affinity in self._schedule.served_by(worker))
            rows.append([task, worker, pool.node_name(worker), round(seconds, 1), held[:_LONGEST]])
        return rows
