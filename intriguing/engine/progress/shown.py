"""Showing where a run stands: a line that is written over in a terminal, a bar in a notebook, log lines elsewhere."""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, TextIO

from intriguing.engine.progress.progress import Snapshot

log = logging.getLogger(__name__)


class LogLines:
    """Logs where a run stands every few seconds, in long runs more rarely: the progress of a run without a terminal.

    A line comes after a fiftieth of the time that the run has taken, within `every` and `most` seconds. It names what
    is at work where that takes longer than `every`.
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
            busy = snapshot.at_work() if any(seconds >= self._every for *_, seconds in snapshot.busy) else ""
            log.info("%s", f"{snapshot.line()}; at work: {busy}" if busy else snapshot.line())


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
        line = _fitted(self._last) if self._stream.isatty() else self._last
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)


class NotebookBar:
    """Shows where a run stands as a bar below the cell of a notebook, renewed at most every `every` seconds."""

    def __init__(self, display: Callable[..., Any], every: float = 0.5) -> None:
        """display: `IPython.display.display`."""
        self._display = display
        self._every = every
        self._said = -1e9
        self._handle: Any = None
        self._last: Snapshot | None = None

    def __call__(self, snapshot: Snapshot) -> None:
        """Show `snapshot`."""
        self._last = snapshot
        if time.monotonic() - self._said >= self._every:
            self._write(snapshot)

    def close(self) -> None:
        """Show where the run ended."""
        if self._last is not None:
            self._write(self._last)

    def _write(self, snapshot: Snapshot) -> None:
        self._said = time.monotonic()
        if self._handle is None:
            self._handle = self._display(_Bar(snapshot), display_id=True)
        else:
            self._handle.update(_Bar(snapshot))


class _Bar:
    """A snapshot as a notebook shows it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __repr__(self) -> str:
        return self._snapshot.line()

    def _repr_html_(self) -> str:
        snapshot = self._snapshot
        lines = [snapshot.line(), *([f"at work: {busy}"] if (busy := snapshot.at_work()) else [])]
        bar = f'<progress value="{snapshot.tasks_done}" max="{max(snapshot.tasks_total, 1)}"></progress>'
        return bar + "".join(f"<div>{escape(line)}</div>" for line in lines)


@contextmanager
def shown(progress: bool | None, stream: TextIO | None = None) -> Iterator[Callable[[Snapshot], None]]:
    """Give a function that shows the snapshots of a run.

    `progress` True shows a bar in a notebook and elsewhere a line on stderr, False shows nothing, None shows it where
    somebody looks: in a terminal or a notebook, unless the program shows log lines of level INFO, which say the same.
    """
    where = sys.stderr if stream is None else stream
    if progress is False:
        yield _nothing
        return
    if progress is None and (log.isEnabledFor(logging.INFO) or not _somebody_looks(where)):
        yield LogLines()
        return
    line = NotebookBar(display) if (display := _display(where)) else Line(where)
    try:
        yield line
    finally:
        line.close()


def _fitted(line: str) -> str:
    """A line that a terminal does not wrap, for what is wrapped cannot be written over."""
    width = shutil.get_terminal_size().columns - 1
    return line if len(line) <= width else line[: width - 1] + "…"


def _somebody_looks(stream: TextIO) -> bool:
    return stream.isatty() or _is_notebook(stream)


def _is_notebook(stream: TextIO) -> bool:
    return type(stream).__module__.startswith("ipykernel")


def _display(stream: TextIO) -> Callable[..., Any] | None:
    """What shows something below a cell, where `stream` is that of a notebook."""
    module = sys.modules.get("IPython.display") if _is_notebook(stream) else None
    return getattr(module, "display", None)


def _nothing(snapshot: Snapshot) -> None:
    """Show nothing."""
