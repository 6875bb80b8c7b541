"""The log as lines for a terminal: in the command's own process, in its child processes and in workers."""

import logging
import sys

from intriguing.basics.text.printable import printable


class PlainFormatter(logging.Formatter):
    """Log lines in which nothing commands the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of `record`."""
        return printable(super().format(record), lines=True)


def log_plainly(level: int | str = logging.WARNING) -> None:
    """Write what is logged, from `level` on, to stderr as such lines, unless this process logs in a way of its own."""
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PlainFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        logging.basicConfig(level=level, handlers=[handler])
