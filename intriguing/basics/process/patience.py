"""Work that shows no progress of its own: where it takes long, log lines say what is being done."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

AFTER = 5.0
"""Seconds after which the first line comes."""
AGAIN = 30.0
"""Seconds between further lines."""


@contextmanager
def telling(doing: str) -> Iterator[None]:
    """Inside, log now and then what is being done, and for how long so far. What is done quickly is not mentioned."""
    ended, began = threading.Event(), time.monotonic()

    def tell() -> None:
        pause = AFTER
        while not ended.wait(pause):
            log.info("%s: %.0f s so far", doing, time.monotonic() - began)
            pause = AGAIN

    thread = threading.Thread(target=tell, daemon=True, name="telling")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
