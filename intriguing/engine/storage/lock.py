"""One driver per run folder.

The operating system holds the lock and releases it when the process ends, even if it is killed: no lock is left behind.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from intriguing.basics.folders.files import NOT_OFFERED, explained, explaining, obstacle, open_file, opened
from intriguing.basics.folders.folder import Place
from intriguing.engine.storage.lease import is_leased, leased
from intriguing.engine.storage.ownership import LOCK, check_ours
from intriguing.errors import LockedError, StoreError

log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, *NOT_OFFERED)
"""What a network mount answers that has no locks, or whose lock service does not run."""
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
"""What the system answers where another process holds the lock; all else (ESTALE, EIO) is a fault of the disk."""
_BEGINNING = b'{"host": '
_handles: set[int] = set()
"""Of the locks that this process holds."""


@contextmanager
def locked(run: Place) -> Iterator[None]:
    """Hold the run folder `run`, made if absent.

    Raises:
        LockedError: another driver holds it.
        StoreError: the folder is not ours (see `check_ours`), or cannot be written. Nothing in it was touched.

    On a file system without locks a warning says so.
    """
    check_ours(run)
    if not isinstance(run, Path):
        with leased(run):
            yield
        return
    with explaining(run), opened(run, make=True) as folder:
        handle = _open(folder, run / LOCK)
    _handles.add(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                raise LockedError(
                    f"{run} is in use by another driver ({_holder(handle)}). Wait for it, stop it, or choose another "
                    "--out."
                ) from error
            if error.errno not in _NO_LOCKS:
                raise explained(error, run) from error
            log.warning(
                "the file system of %s has no locks (%s): a second driver there is not noticed, so start one at a time",
                run,
                error.strerror,
            )
        _sign(handle)
        yield
    finally:
        if handle in _handles:
            _handles.remove(handle)
            os.close(handle)


def _let_go() -> None:
    """In a process that a user's code forked: what it leaves running must not hold the folder when the run is over."""
    for handle in _handles:
        with suppress(OSError):
            os.close(handle)
    _handles.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def is_locked(run: Place) -> bool:
    """Whether a driver is at work in the run folder `run`."""
    if not isinstance(run, Path):
        return is_leased(run)
    try:
        handle = open_file(run / LOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _HELD
    finally:
        os.close(handle)
    return False


def _open(folder: int, path: Path) -> int:
    """The lock file, made if absent; raises `StoreError` for a link, a pipe, or a file that is none of our locks."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(LOCK, flags, 0o644, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise obstacle(path, "a file") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise obstacle(path, "a file")
    if os.pread(handle, len(_BEGINNING), 0) not in (b"", _BEGINNING):
        os.close(handle)
        raise StoreError(f"{path} is not the lock of a run. Move it away, or choose another folder with --out.")
    return handle


def _sign(handle: int) -> None:
    """Say in the lock file who holds it, for the message that others get; not where the file has a second name."""
    signed = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    if os.fstat(handle).st_nlink == 1:
        with suppress(OSError):  # a full disk
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(signed).encode(), 0)


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "it did not say which"
