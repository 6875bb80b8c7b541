"""One driver per run folder.

The operating system holds the lock and lets it go when its process ends, however it ends: a stale lock cannot be.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intriguing.engine.store import explained
from intriguing.errors import LockedError


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run folder `run` (made if absent); raises `LockedError` while another driver does."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        handle = os.open(run / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise explained(error, run) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LockedError(
                f"{run} is in use by another driver ({_holder(handle)}). Wait for it, stop it, or choose another --out."
            ) from error
        told = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(told).encode(), 0)
        yield
    finally:
        os.close(handle)


def is_locked(run: Path) -> bool:
    """Whether a driver is at work in the run folder `run`."""
    try:
        handle = os.open(run / ".lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _holder(handle: int) -> str:
    try:
        told = json.loads(os.pread(handle, 4096, 0))
        return f"process {told['pid']} on {told['host']} since {told['since']}"
    except (ValueError, KeyError, TypeError):
        return "it did not say which"
