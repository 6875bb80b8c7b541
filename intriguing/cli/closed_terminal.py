"""A terminal that is closed while a command runs is no error wherever the command happens to write."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO


class _Terminal(FileIO):
    """What is written to a terminal; once that is closed it goes nowhere."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return super().write(data)


@contextmanager
def terminals_may_close() -> Iterator[None]:
    """Inside, the terminals that stdout and stderr are may be closed at any time."""
    before = sys.stdout, sys.stderr
    inside = sys.stdout, sys.stderr = _that_may_close(before[0]), _that_may_close(before[1])
    try:
        yield
    finally:
        for stream in inside:
            stream.flush()
        sys.stdout, sys.stderr = before


def _that_may_close(stream: TextIO) -> TextIO:
    if not isinstance(stream, TextIOWrapper) or not stream.isatty():
        return stream
    stream.flush()
    raw = BufferedWriter(_Terminal(stream.fileno(), "w", closefd=False))
    return TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=True, write_through=stream.write_through)
