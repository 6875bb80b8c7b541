"""One driver per run on an object store, as far as that can be: a lease, which is a small object at `.lock`.

    {"host": ..., "machine": ..., "pid": ..., "since": ..., "token": ..., "renewed": 12}

There are no locks. Who wants the run writes its lease, where S3 can be asked that on the condition that what stands
there is what it read (`intriguing.basics.folders.bucket_conditions`); then it waits, and reads whose is there. A driver
at work renews its own every few seconds, and one that was killed leaves a lease that does not change any more. No clock
is asked. Should two drivers be at work all the same, they merely compute things twice: what a fingerprint stores is
whole whoever wrote it (see `intriguing.engine.storage.far_store`).
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
from pathlib import Path
from typing import Any

from intriguing.basics.folders.bucket_conditions import Conditions, UnknownConditionError
from intriguing.basics.folders.folder import Folder
from intriguing.basics.folders.saved_plan import parse_json
from intriguing.basics.process.patience import telling
from intriguing.engine.storage.ownership import LOCK
from intriguing.errors import LockedError, StoreError

log = logging.getLogger(__name__)

RENEWED = 10.0
"""Seconds after which a driver renews its lease."""
GONE = 35.0
"""Seconds without a change after which the driver that holds a lease counts as gone."""
SIGN = 20.0
"""Seconds that are enough to see a driver at work renew its lease."""
SKEW = 1_200.0
"""Seconds by which this machine's clock may be ahead of the store's: stores refuse whose clock is off by 15 minutes."""
SETTLED = 1.0
"""Seconds between writing a lease and reading whose is there."""


@contextmanager
def leased(run: Folder) -> Iterator[None]:
    """Hold the run in `run`.

    Raises:
        LockedError: another driver is at work there.
        StoreError: the store cannot be reached, or refuses.
    """
    gone = _wait_until_free(run)
    lease = _Lease(run)
    lease.take(gone)
    try:
        yield
    finally:
        lease.give_back()


def is_leased(run: Folder) -> bool:
    """Whether a driver renewed its lease a moment ago, by this machine's clock.

    Where that clock and the store's may disagree, it is watched for a while: where the lease is from the future, or no
    older than clocks may differ.
    """
    try:
        holder, age = _read(run), time.time() - run.look(LOCK)[1] / 1e9
    except FileNotFoundError:
        return False
    if not holder or _is_dead(holder):
        return False
    if -RENEWED <= age < GONE + RENEWED:
        return True
    if age > SKEW:
        return False
    with telling("waiting for a sign of life of the driver"):
        return _watched(run, holder, min(GONE, SIGN)) not in ({}, holder)


class _Lease:
    """The lease of this driver, which a thread of its own renews."""

    def __init__(self, run: Folder) -> None:
        self._run = run
        self._token = uuid.uuid4().hex
        self._since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._renewed = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="lease")

    def take(self, gone: str) -> None:
        """Take the lease where nobody has one, or the driver with the token `gone` had."""
        if not self._is_written_on_condition(gone):
            self._write()
        self._ended.wait(SETTLED)
        holder = _read(self._run)
        if holder.get("token", self._token) != self._token:
            raise LockedError(_in_use(self._run, holder))
        self._thread.start()

    def _is_written_on_condition(self, gone: str) -> bool:
        """Whether the lease was written on a condition: False where the store cannot be asked."""
        conditions = Conditions.of(self._run)
        if conditions is None:
            return False
        try:
            there, mark = conditions.read(LOCK)
            if _parsed(there).get("token", "") != gone or not conditions.write(LOCK, self._content(), mark):
                raise LockedError(_in_use(self._run, _read(self._run)))
        except UnknownConditionError as error:
            log.debug("the lease is written without a condition: %s", error)
            return False
        self._renewed += 1
        return True

    def give_back(self) -> None:
        """Take the lease away, if it is still ours."""
        self._ended.set()
        self._thread.join()
        with suppress(StoreError):  # it ends by itself
            if _read(self._run).get("token") == self._token:
                self._run.remove("", [LOCK])

    def _content(self) -> bytes:
        who = {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "since": self._since}
        return json.dumps(who | {"token": self._token, "renewed": self._renewed}).encode()

    def _write(self) -> None:
        self._run.write(LOCK, self._content())
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


def _wait_until_free(run: Folder) -> str:
    """Wait until the driver that holds the run is gone, which is told by a lease that does not change.

    Returns the token of the lease that it left; "" where there is none.
    """
    holder = _read(run)
    if not holder or _is_dead(holder):
        return holder.get("token", "")
    log.info("waiting: %s. It counts as gone after %.0f s without a sign", _who(holder), GONE)
    last = _watched(run, holder, GONE)
    if last not in ({}, holder):
        raise LockedError(_in_use(run, last))
    return last.get("token", "")


def _watched(run: Folder, first: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The lease that stands in place of `first`, empty if there is none, once it changes; `first` where nothing changes
    for so many seconds.

    It is not read again after that: another driver that waited as long may have taken the run just then.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(1.0, seconds / 10))
        holder = _read(run)
        if holder != first:
            return holder
    return first


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    if not _machine() or holder.get("machine") != _machine() or not isinstance(holder.get("pid"), int):
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _machine() -> str:
    """What tells whose processes this one sees: the start of this machine and its container's; "" where nothing does.

    A host's name does not: containers share the name of their machine, and machines that were copied have one.
    """
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _read(run: Folder) -> dict[str, Any]:
    """The lease that is there; empty where there is none, or another kind of lock (of a folder that was copied)."""
    try:
        return _parsed(run.read(LOCK))
    except FileNotFoundError:
        return {}


def _parsed(content: bytes) -> dict[str, Any]:
    """A lease; empty where `content` is none."""
    try:
        holder = parse_json(content)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) and isinstance(holder.get("token"), str) else {}


def _in_use(run: Folder, holder: dict[str, Any]) -> str:
    return f"{run} is in use by another driver ({_who(holder)}). Wait for it, stop it, or choose another --out"


def _who(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
