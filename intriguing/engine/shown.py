"""Showing where a run stands: one line that is written over in a terminal or notebook, log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from intriguing.engine.progress import Snapshot

log = logging.getLogger(__name__)


class LogLines:
    """Logs where a run stands every few seconds, in long runs more rarely: the progress of a run without a terminal.

    A line comes after a fiftieth of the time that the run has taken, within `every` and `most` seconds.
    """

    def __init__(self, every: float = 5.0, most: float = 300.0) -> None:
        self._every = every
        self._most = most
        self._began = self._said = time.monotonic()
        self._ended = False

    def __call__(self, snapshot: Snapshot) -> None:
        """Log `snapshot` if the last line is old enough, or if it is the end."""
        now = time.monotonic()
        ended = snapshot.tasks_done == snapshot.tasks_total
        pause = min(self._most, max(self._every, (now - self._began) / 50))
        if (ended and not self._ended) or (now - self._said >= pause and not ended):
            self._said, self._ended = now, ended
            log.info("%s", snapshot.line())


class Line:
    """Shows where a run stands in one line of `stream`, which is written over at most every `every` seconds."""

    def __init__(self, stream: TextIO, every: float = 0.2) -> None:
        self._stream = stream
        self._every = every
        self._said = -1e9
        self._width = 0
        self._last = ""

    def __call__(self, snapshot: Snapshot) -> None:
        """Show `snapshot`."""
        self._last = snapshot.line()
        if time.monotonic() - self._said >= self._every:
            self._write()

    def close(self) -> None:
        """Show the last line, and let what follows begin below it."""
        if self._last:
            self._write()
            self._stream.write("\n")
            self._stream.flush()

    def _write(self) -> None:
        self._said = time.monotonic()
        self._stream.write("\r" + self._last.ljust(self._width))
        self._stream.flush()
        self._width = len(self._last)


@contextmanager
def shown(progress: bool | None, stream: TextIO | None = None) -> Iterator[Callable[[Snapshot], None]]:
    """Give a function that shows the snapshots of a run.

    `progress` True shows a line on stderr, False shows nothing, None shows it where somebody looks: in a terminal or a
    notebook, unless the program shows log lines of level INFO, which say the same.
    """
    where = sys.stderr if stream is None else stream
    if progress is False:
        yield _nothing
        return
    if progress is None and (log.isEnabledFor(logging.INFO) or not _somebody_looks(where)):
        yield LogLines()
        return
    line = Line(where)
    try:
        yield line
    finally:
        line.close()


def _somebody_looks(stream: TextIO) -> bool:
    return stream.isatty() or type(stream).__module__.startswith("ipykernel")


def _nothing(snapshot: Snapshot) -> None:
    """Show nothing."""
