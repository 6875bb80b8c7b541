"""What a run should say of its models while it is at work: as soon as the tables tell it, not when the page is read."""

import logging
import time
from contextlib import suppress
from pathlib import Path

from intriguing.basics.folders.bucket import BucketFolder
from intriguing.errors import IntriguingError
from intriguing.results import open_run
from intriguing.sweep.reporting.printed import notes

log = logging.getLogger(__name__)

_EVERY = 5.0
_TABLES = ("models", "examples")


class Remarks:
    """Logs the notes on a run (see `notes`) once each, as they become true.

    Of a run on an object store, which is far to look at, they are told at its end alone.
    """

    def __init__(self, out: Path | BucketFolder) -> None:
        self._out = out
        self._told: set[str] = set()
        self._seen: list[int] = []
        self._looked = -_EVERY

    def __call__(self) -> None:
        """Look, where the last look is old enough."""
        if isinstance(self._out, Path) and time.monotonic() - self._looked >= _EVERY:
            self._look(self._out)

    def _look(self, out: Path) -> None:
        seen = [sum(1 for _ in (out / "tables" / table).glob("*.parquet")) for table in _TABLES]
        if seen == self._seen or not all(seen):
            return
        self._seen, self._looked = seen, time.monotonic()
        with suppress(IntriguingError, OSError):  # what is wrong with a table is told where it is read
            for note in notes(open_run(out)):
                if note not in self._told:
                    self._told.add(note)
                    log.warning("%s", note)
