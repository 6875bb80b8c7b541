"""The console script: from arguments to an exit code, with logging, signals and errors in order."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cyclopts import CycloptsError

from intriguing.basics.leaving import leave
from intriguing.basics.printable import printable
from intriguing.cli.app import app
from intriguing.cli.terminal import err, say
from intriguing.engine.paths import without_working_folder
from intriguing.errors import InputError, IntriguingError


def main(arguments: list[str] | None = None) -> None:
    """The console script: runs a command and exits with its code."""
    leave(call(arguments))


def call(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Modules of the working folder can be imported by `run`, `plan` and `init` alone, and come after all others.
    """
    with _terminate_as_interrupt(), without_working_folder():
        try:
            _set_up_logging()
            code = app(arguments, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            say(err, f"{error} (intriguing --help lists the commands)")
            return 2
        except IntriguingError as error:
            say(err, error)
            return 2
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
    return code if isinstance(code, int) else 0


def _set_up_logging() -> None:
    told = os.environ.get("INTRIGUING_LOG") or "INFO"
    level = told.upper()
    if level not in logging.getLevelNamesMapping():
        raise InputError(f"INTRIGUING_LOG is {told!r}: it must be DEBUG, INFO, WARNING or ERROR, or unset.")
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PlainFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


class PlainFormatter(logging.Formatter):
    """Log lines in which nothing commands the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of `record`."""
        return printable(super().format(record), lines=True)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM stops a run as cleanly as Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
