"""Streams that take nothing: a terminal that is closed meanwhile, a log on a full disk, what `>&-` closed; and streams
that a user's code would close.
"""

import errno
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

_CLOSED = (errno.EIO,)
_UNREAD = (errno.EIO, errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Excused(FileIO):
    """What is written to a stream; once that fails with one of the errors `excused` it goes nowhere."""

    def __init__(self, handle: int, excused: Collection[int]) -> None:
        super().__init__(handle, "w", closefd=False)
        self._excused = excused

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in self._excused:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return super().write(data)


class _Stays(TextIOWrapper):
    """A stream that no code closes: a file that is opened later would take its number, and what a library prints would
    land there.
    """

    def close(self) -> None:
        """Write what is left."""
        with suppress(OSError, ValueError):
            self.flush()


def keep_streams_open() -> None:
    """Let no code of this process close its stdout and stderr from now on."""
    _take_closed()
    sys.stdout, sys.stderr = _that_stays(sys.stdout, ()), _that_stays(sys.stderr, ())


@contextmanager
def streams_may_close() -> Iterator[None]:
    """Inside, the terminals that stdout and stderr are may be closed at any time, and stderr may have no room. No code
    of this process closes them.

    What was closed from the start stays nowhere: a file that is opened later must not take its number, for a library
    that prints would write into it.
    """
    _take_closed()
    before = sys.stdout, sys.stderr
    inside = sys.stdout, sys.stderr = _that_may_close(before[0]), _that_may_close(before[1])
    try:
        yield
    finally:
        for stream in inside:
            stream.flush()
        sys.stdout, sys.stderr = before


def _take_closed() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 (it takes the lowest free number)


def _that_may_close(stream: TextIO) -> TextIO:
    """`stream`, which goes nowhere once its terminal is closed; the process's stderr, after any such failure:
    a message that nobody can read must not end what it tells of.
    """
    if stream is sys.__stderr__:
        return _that_stays(stream, _UNREAD)
    return _that_stays(stream, _CLOSED if stream.isatty() else ())


def _that_stays(stream: TextIO, excused: Collection[int]) -> TextIO:
    """`stream`, which no code closes; once writing to it fails with one of the errors `excused` it goes nowhere.

    What is no plain stream of a file, such as a notebook's, is left as it is.
    """
    if not isinstance(stream, TextIOWrapper):
        return stream
    try:
        stream.flush()
        raw = BufferedWriter(_Excused(stream.fileno(), excused))
    except (OSError, ValueError):  # it has no file, or is closed
        return stream
    by_line = bool(excused) or stream.line_buffering
    return _Stays(raw, stream.encoding, stream.errors, line_buffering=by_line, write_through=stream.write_through)
