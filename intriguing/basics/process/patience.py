"""Work that shows no progress of its own: where it takes long, another thread says what is being done."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

AFTER = 5.0
"""Seconds after which the first line comes."""
AGAIN = 30.0
"""Seconds between further lines."""


@contextmanager
def meanwhile(tell: Callable[[], None], after: float, again: float) -> Iterator[None]:
    """Inside, another thread calls `tell` now and then: first after so many seconds. It is over when this ends."""
    ended = threading.Event()

    def keep_telling() -> None:
        pause = after
        while not ended.wait(pause):
            tell()
            pause = again

    thread = threading.Thread(target=keep_telling, daemon=True, name="telling")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def telling(doing: str) -> Iterator[None]:
    """Inside, log now and then what is being done, and for how long so far. What is done quickly is not mentioned."""
    began = time.monotonic()
    with meanwhile(lambda: log.info("%s: %.0f s so far", doing, time.monotonic() - began), AFTER, AGAIN):
        yield
