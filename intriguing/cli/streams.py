"""Streams that take nothing: a terminal that is closed meanwhile, a log on a full disk, what `>&-` closed."""

import errno
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
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


@contextmanager
def streams_may_close() -> Iterator[None]:
    """Inside, the terminals that stdout and stderr are may be closed at any time, and stderr may have no room.

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
    excused = _UNREAD if stream is sys.__stderr__ else _CLOSED
    if not isinstance(stream, TextIOWrapper) or not (excused is _UNREAD or stream.isatty()):
        return stream
    stream.flush()
    raw = BufferedWriter(_Excused(stream.fileno(), excused))
    return TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=True, write_through=stream.write_through)
