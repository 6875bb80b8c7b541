"""One driver per run on an object store, as far as that can be: a lease, which is a small object at `.lock`.

    {"host": ..., "pid": ..., "since": ..., "token": ..., "renewed": 12}

There are no locks, and Arrow puts no object on a condition. So who wants the run writes its lease, waits, and reads
whose is there; a driver at work renews its own every few seconds, and one that was killed leaves a lease that does not
change any more. No clock is asked. Should two drivers be at work all the same, they merely compute things twice: what
a fingerprint stores is whole whoever wrote it (see `intriguing.engine.far_store`).
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from intriguing.basics.folder import Folder
from intriguing.basics.saved_plan import parse_json
from intriguing.engine.ownership import LOCK
from intriguing.errors import LockedError, StoreError

log = logging.getLogger(__name__)

RENEWED = 10.0
"""Seconds after which a driver renews its lease."""
GONE = 35.0
"""Seconds without a change after which the driver that holds a lease counts as gone."""
SETTLED = 1.0
"""Seconds between writing a lease and reading whose is there."""


@contextmanager
def leased(run: Folder) -> Iterator[None]:
    """Hold the run in `run`.

    Raises:
        LockedError: another driver is at work there.
        StoreError: the store cannot be reached, or refuses.
    """
    _wait_until_free(run)
    lease = _Lease(run)
    lease.take()
    try:
        yield
    finally:
        lease.give_back()


def is_leased(run: Folder) -> bool:
    """Whether a driver renewed its lease a moment ago, by this machine's clock."""
    try:
        return bool(_read(run)) and time.time() - run.look(LOCK)[1] / 1e9 < GONE + RENEWED
    except FileNotFoundError:
        return False


class _Lease:
    """The lease of this driver, which a thread of its own renews."""

    def __init__(self, run: Folder) -> None:
        self._run = run
        self._token = uuid.uuid4().hex
        self._since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._renewed = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="lease")

    def take(self) -> None:
        self._write()
        self._ended.wait(SETTLED)
        holder = _read(self._run)
        if holder.get("token", self._token) != self._token:
            raise LockedError(_in_use(self._run, holder))
        self._thread.start()

    def give_back(self) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(StoreError):  # it ends by itself
            if _read(self._run).get("token") == self._token:
                self._run.remove("", [LOCK])

    def _write(self) -> None:
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": self._since}
        content = who | {"token": self._token, "renewed": self._renewed}
        self._run.write(LOCK, json.dumps(content).encode())
        self._renewed += 1

    def _keep(self) -> None:
        while not self._ended.wait(RENEWED):
            try:
                holder = _read(self._run)
                if holder.get("token", self._token) != self._token:
                    log.warning("%s: results stay right, but much is computed twice", _in_use(self._run, holder))
                    return
                self._write()
            except StoreError as error:
                log.warning("the lease could not be renewed: %s", error)


def _wait_until_free(run: Folder) -> None:
    """Wait until the driver that holds the run is gone, which is told by a lease that does not change."""
    first = holder = _read(run)
    if not holder or _is_dead(holder):
        return
    log.info("waiting: %s. It counts as gone after %.0f s without a sign", _who(holder), GONE)
    until = time.monotonic() + GONE
    while holder and time.monotonic() < until:
        if holder != first:
            raise LockedError(_in_use(run, holder))
        time.sleep(min(1.0, GONE / 10))
        holder = _read(run)


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    if holder.get("host") != socket.gethostname() or not isinstance(holder.get("pid"), int):
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _read(run: Folder) -> dict[str, Any]:
    """The lease that is there; empty where there is none, or another kind of lock (of a folder that was copied)."""
    try:
        holder = parse_json(run.read(LOCK))
    except (FileNotFoundError, ValueError):
        return {}
    return holder if isinstance(holder, dict) and isinstance(holder.get("token"), str) else {}


def _in_use(run: Folder, holder: dict[str, Any]) -> str:
    return f"{run} is in use by another driver ({_who(holder)}). Wait for it, stop it, or choose another --out"


def _who(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
