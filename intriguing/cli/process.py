"""The console script: from arguments to an exit code, with logging, signals and errors in order."""

import errno
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from cyclopts import CycloptsError, MissingArgumentError, UnusedCliTokensError

from intriguing.basics.process.leaving import leave
from intriguing.basics.process.streams import streams_may_close
from intriguing.basics.text.log_lines import log_plainly
from intriguing.cli.app import app
from intriguing.cli.terminal import err, say, stop_printing
from intriguing.engine.paths import without_working_folder
from intriguing.errors import InputError, IntriguingError

_NO_ROOM = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Raise the limit of a file's size (`ulimit -f` shows it)",
}
"""What to do where what is printed goes to a file that cannot grow."""
_UNMAPPED = "failed to map segment"
"""What the system says of a library for which a limit of the process leaves no room."""


def main(arguments: list[str] | None = None) -> None:
    """The console script: runs a command and exits with its code."""
    leave(call(arguments))


def call(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Modules of the working folder can be imported by `run`, `plan` and `init` alone, and come after all others.
    """
    try:
        os.getcwd()  # noqa: PTH109 (Path.cwd() does no more)
    except FileNotFoundError:
        say(err, "The folder that this was typed in is gone: change to another one.")
        return 2
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.encoding.lower() not in ("utf-8", "utf8"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no dash for a range has a question mark
    with _terminate_as_interrupt(), streams_may_close(), without_working_folder():
        try:
            _set_up_logging()
            code = app(arguments, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            say(err, _in_words(error))
            return 2
        except IntriguingError as error:
            say(err, error)
            return 2
        except KeyboardInterrupt:
            return 130
        except (MemoryError, ImportError) as error:
            if not isinstance(error, MemoryError) and _UNMAPPED not in str(error):
                raise
            why = str(error).strip() or "no memory is left"
            say(
                err,
                f"There is too little memory for this ({why}): raise the limit (`ulimit -v` shows it), or free some.",
            )
            return 2
        except BrokenPipeError:
            stop_printing()
            return 0
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            stop_printing()  # what is left is not tried at the end
            say(err, f"What was to be printed cannot be written: {error.strerror}. {_NO_ROOM[error.errno]}.")
            return 2
    return code if isinstance(code, int) else 0


def _in_words(error: CycloptsError) -> str:
    """What is wrong with how a command was typed, and where to look."""
    command = " ".join(("intriguing", *(error.command_chain or ())))
    if isinstance(error, MissingArgumentError) and error.argument is not None and not error.argument.tokens:
        argument = error.argument
        name = argument.name if argument.field_info.is_keyword_only else argument.name.lstrip("-").upper()
        what = (argument.parameter.help or "").split(". ")[0].rstrip(".")
        return f"{command} needs {name}{f': {what[:1].lower()}{what[1:]}' if what else ''}. See {command} --help."
    if isinstance(error, UnusedCliTokensError):
        return f"{command} takes no {' '.join(error.unused_tokens or ())}. See {command} --help."
    return f"{error} (intriguing --help lists the commands)"


def _set_up_logging() -> None:
    told = os.environ.get("INTRIGUING_LOG") or "INFO"
    level = told.upper()
    if level not in logging.getLevelNamesMapping():
        raise InputError(f"INTRIGUING_LOG is {told!r}: it must be DEBUG, INFO, WARNING or ERROR, or unset.")
    log_plainly(level)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal or connection that is closed, stop a run as cleanly as Ctrl-C.

    A SIGHUP that is ignored stays so: `nohup` lets a run go on without its terminal.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    ending = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in ending}
    if before.get(getattr(signal, "SIGHUP", None)) is signal.SIG_IGN:
        del before[signal.SIGHUP]
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: a library's, which cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
