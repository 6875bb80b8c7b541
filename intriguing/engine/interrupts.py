"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 while a run is at work: neither a library nor a user's model makes them unheard.

SIGUSR1 is a batch system's notice (Slurm's `--signal`): what runs is finished, nothing more is begun. SIGTERM stops at
once, as Ctrl-C does, and so does SIGHUP. INTRIGUING_GRACE_SECONDS is the time that a notice leaves; where it is set
SIGTERM is a notice, too, and a second one stops at once.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_NOTICE = getattr(signal, "SIGUSR1", None)


class Interrupts:
    """Which signals came. `is_draining` says that a notice did, `is_time_up` that its grace period is over."""

    def __init__(self) -> None:
        self._stopped = False
        self._until: float | None = None

    @property
    def is_draining(self) -> bool:
        """Whether nothing more should be begun."""
        return self._until is not None

    @property
    def is_time_up(self) -> bool:
        """Whether what still runs must be left."""
        return self._until is not None and time.monotonic() >= self._until

    def raise_again(self) -> None:
        """Raise `KeyboardInterrupt` if a signal's handler has raised it."""
        if self._stopped:
            raise KeyboardInterrupt

    def stop(self) -> None:
        """Note that a handler raised `KeyboardInterrupt`."""
        self._stopped = True

    def drain(self, seconds: float) -> None:
        """Note that the machine will be gone in `seconds`; what an earlier notice left of time is not made longer."""
        until = time.monotonic() + seconds
        self._until = until if self._until is None else min(self._until, until)


@contextmanager
def heard_interrupts() -> Iterator[Interrupts]:
    """Yield what says which signals came; its `raise_again` raises `KeyboardInterrupt` once a handler has raised it.

    Python raises it wherever the process happens to be: a bare ``except:`` of a user's model, a ``__del__`` or a
    callback from C swallows it, and the run would go on. The driver therefore asks again between two tasks. A handler
    that chose not to raise is left its choice. Outside the main thread nothing is installed.
    """
    heard = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    installed = {number: _note(handler, heard) for number, handler in before.items() if callable(handler)}
    if _NOTICE is not None and signal.getsignal(_NOTICE) is signal.SIG_DFL:
        before[_NOTICE] = signal.SIG_DFL
        installed[_NOTICE] = lambda number, frame: heard.drain(_grace_seconds() or math.inf)
    for number, handler in installed.items():
        signal.signal(number, handler)
    try:
        yield heard
    finally:
        for number, handler in installed.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, before[number])


def _note(handler: Callable[..., Any], heard: Interrupts) -> Callable[..., None]:
    def noted(number: int, frame: Any) -> None:
        grace = _grace_seconds() if number == signal.SIGTERM else 0.0
        if grace and not heard.is_draining:
            heard.drain(grace)
            return
        try:
            handler(number, frame)
        except KeyboardInterrupt:
            heard.stop()
            raise

    return noted


def _grace_seconds() -> float:
    with suppress(ValueError):
        return max(0.0, float(os.environ.get("INTRIGUING_GRACE_SECONDS", "") or 0.0))
    return 0.0


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Let no library replace a handler: `ray.init` has SIGTERM end the process, whatever was there.

    What it installs is not, so that a signal is heard meanwhile, too; what it installs by other ways is put back.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    kept = {number: handler for number, handler in before.items() if callable(handler)}
    install = signal.signal

    def installed(number: int, handler: Any) -> Any:
        return kept[number] if number in kept else install(number, handler)

    signal.signal = installed
    try:
        yield
    finally:
        signal.signal = install
        if threading.current_thread() is threading.main_thread():
            for number, handler in kept.items():
                signal.signal(number, handler)
