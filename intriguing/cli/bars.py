"""Where a run stands, as bars in a terminal: one for its tasks, one for each thing that is counted; what is at work."""

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from intriguing.cli.terminal import text
from intriguing.engine.progress.progress import rate_in_words

if TYPE_CHECKING:
    from intriguing.engine.progress.progress import Snapshot

_TASKS = "tasks"


class Bars:
    """Shows snapshots of a run on `console` while it is entered, and leaves nothing behind."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}", justify="right"),
            TextColumn("{task.fields[more]}", markup=False),
        )
        self._bars = Progress(*columns, console=console, auto_refresh=False)
        self._at_work = Text(no_wrap=True, overflow="ellipsis")
        self._shown = Live(Group(self._bars, self._at_work), console=console, transient=True)
        self._of: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._shown.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.stop()

    def show(self, snapshot: "Snapshot") -> None:
        """Show `snapshot`."""
        self._set(_TASKS, snapshot.tasks_done, snapshot.tasks_total, snapshot.remark())
        for noun, count in snapshot.counts.items():
            if noun != _TASKS:
                self._set(noun, count.done, count.total, rate_in_words(count.rate) if count.rate else "")
        busy = snapshot.at_work()
        self._at_work.plain = text(f"at work: {busy}").plain if busy else ""

    def _set(self, noun: str, done: int, total: int, more: str) -> None:
        if noun not in self._of:
            self._of[noun] = self._bars.add_task(text(noun).plain, total=total, more="")
        self._bars.update(self._of[noun], completed=done, total=total, more=text(more).plain)
