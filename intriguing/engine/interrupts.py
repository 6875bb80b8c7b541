"""Ctrl-C and SIGTERM while a run is at work: neither a library nor a user's model makes them go unheard."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def heard_interrupts() -> Iterator[Callable[[], None]]:
    """Yield a function that raises `KeyboardInterrupt` once a signal's handler has raised it.

    Python raises it wherever the process happens to be: a bare ``except:`` of a user's model, a ``__del__`` or a
    callback from C swallows it, and the run would go on. The driver therefore asks again between two tasks. A handler
    that chose not to raise is left its choice. Outside the main thread nothing is installed.
    """
    heard: list[int] = []

    def raise_again() -> None:
        if heard:
            raise KeyboardInterrupt

    with _noting(heard):
        yield raise_again


@contextmanager
def _noting(heard: list[int]) -> Iterator[None]:
    """Handlers that call those of before and note which signal made them raise `KeyboardInterrupt`."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    installed = {number: _note(handler, heard) for number, handler in before.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread():
        installed = {}
    for number, handler in installed.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in installed.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, before[number])


def _note(handler: Callable[..., Any], heard: list[int]) -> Callable[..., None]:
    def noted(number: int, frame: Any) -> None:
        try:
            handler(number, frame)
        except KeyboardInterrupt:
            heard.append(number)
            raise

    return noted


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Put back the handlers that a library replaced: `ray.init` has SIGTERM end the process, whatever was there."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)
