"""What a process has once and all of its code shares, apart from torch: how it was before other code ran, put back.

What was only added stays, for that code may need it later: a folder on Python's path, a filter of warnings, a higher
limit of recursion, a variable of the environment.
"""

import gc
import locale
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_OURS = __name__.partition(".")[0]
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGPIPE") if hasattr(signal, name)
]
_STREAMS = ("stdin", "stdout", "stderr")


class _Part(NamedTuple):
    """A part of the state: how it is read, and how it is put back, given what was read before."""

    read: Callable[[], Any]
    put_back: Callable[[Any], None]


def read_state() -> list[Any]:
    """How the process is now, for `put_back`."""
    return [part.read() for part in _PARTS]


def put_back(before: list[Any]) -> None:
    """Have the process as it was when `before` was read."""
    for part, was in zip(_PARTS, before, strict=True):
        with suppress(ValueError, OSError, locale.Error):  # the system refuses
            part.put_back(was)


def _put_back_path(was: list[str]) -> None:
    if not isinstance(sys.path, list):
        sys.path = []
    sys.path.extend(folder for folder in was if folder not in sys.path)


def _put_back_streams(was: list[Any]) -> None:
    for name, stream in zip(_STREAMS, was, strict=True):
        setattr(sys, name, stream)


def _handlers() -> dict[int, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _put_back_handlers(was: dict[int, Any]) -> None:
    for number, handler in was.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _alarm() -> float:
    """Seconds until the process's alarm; 0 where none is set."""
    return signal.getitimer(signal.ITIMER_REAL)[0] if hasattr(signal, "getitimer") else 0.0


def _put_back_alarm(was: float) -> None:
    if not was and _alarm():
        signal.setitimer(signal.ITIMER_REAL, 0)


def _umask() -> int | None:
    """Which rights new files do not get; None where that is only told by a change, which other threads would see."""
    try:
        head = Path("/proc/self/status").read_bytes()[:200].split()
        return int(head[head.index(b"Umask:") + 1], 8)
    except (OSError, ValueError, IndexError):
        return None


def _put_back_umask(was: int | None) -> None:
    if was is not None and _umask() != was:
        os.umask(was)


def _put_back_locale(was: str) -> None:
    if locale.setlocale(locale.LC_ALL) != was:
        locale.setlocale(locale.LC_ALL, was)


def _errors() -> list[Any]:
    """The filters that make an error of a warning."""
    return [each for each in warnings.filters if each[0] == "error"]


def _put_back_errors(was: list[Any]) -> None:
    for each in _errors():
        if each not in was:
            warnings.filters.remove(each)  # type: ignore[attr-defined]
            warnings._filters_mutated()  # type: ignore[attr-defined]


def _numpy_errors() -> dict[str, Any]:
    """What NumPy does where a number overflows or is divided by zero; empty where it is not imported yet."""
    numpy = sys.modules.get("numpy")
    return {} if numpy is None else numpy.geterr()


def _put_back_numpy_errors(was: dict[str, Any]) -> None:
    if "raise" in _numpy_errors().values():
        sys.modules["numpy"].seterr(**{name: "warn" if name != "under" else "ignore" for name in _numpy_errors()} | was)


def _log() -> tuple[int, int, list[logging.Handler]]:
    root = logging.getLogger()
    return root.manager.disable, root.level, root.handlers[:]


def _put_back_log(was: tuple[int, int, list[logging.Handler]]) -> None:
    """The level, and this package's own lines: `logging.config.dictConfig` switches off what was there before."""
    root = logging.getLogger()
    root.manager.disable = was[0]
    if root.level != was[1]:
        root.setLevel(was[1])
    for handler in was[2]:
        root.addHandler(handler)  # one that is there is not added again
    for name, logger in list(root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == _OURS:
            logger.disabled = False


def _put_back_collector(was: bool) -> None:
    (gc.enable if was else gc.disable)()


_PARTS = (
    _Part(lambda: list(sys.path), _put_back_path),
    _Part(lambda: [getattr(sys, name, None) for name in _STREAMS], _put_back_streams),
    _Part(_handlers, _put_back_handlers),
    _Part(_alarm, _put_back_alarm),
    _Part(_umask, _put_back_umask),
    _Part(lambda: locale.setlocale(locale.LC_ALL), _put_back_locale),
    _Part(_errors, _put_back_errors),
    _Part(_numpy_errors, _put_back_numpy_errors),
    _Part(_log, _put_back_log),
    _Part(sys.getrecursionlimit, lambda was: sys.setrecursionlimit(max(was, sys.getrecursionlimit()))),
    _Part(socket.getdefaulttimeout, socket.setdefaulttimeout),
    _Part(gc.isenabled, _put_back_collector),
)
