"""Python's collector of cycles, put off where it costs more than it gives."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_later() -> Iterator[None]:
    """Make a million small objects that stay, without the collector of cycles looking at them again and again.

    Inside, it rests; what was to be collected is, later. It took a quarter of the time that a large plan is read in.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
