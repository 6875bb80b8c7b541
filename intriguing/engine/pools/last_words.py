"""How a process of this machine ended, as far as it can be seen afterwards: Ray does not tell which signal it was."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from intriguing.basics.folders.presence import is_file

_TAIL = 1 << 16
_FATAL = re.compile(r"^(?:Fatal Python error: (.+?)\s*|\*\*\* (SIG[A-Z]+) received at .*)$", re.MULTILINE)
_SIGNALS: dict[str, str] = {
    "Segmentation fault": "SIGSEGV",
    "Aborted": "SIGABRT",
    "Bus error": "SIGBUS",
    "Floating-point exception": "SIGFPE",
    "Floating point exception": "SIGFPE",
    "Illegal instruction": "SIGILL",
}


@dataclass(frozen=True)
class Signs:
    """What is seen of a process that is gone: its last words ("" for none), and whether the kernel ended a process for
    want of memory meanwhile.
    """

    words: str = ""
    kernel_killed: bool = False


class Witness:
    """Sees what is left of processes of this machine."""

    def __init__(self) -> None:
        self._kills = kernel_kills()

    def signs(self, log: str) -> Signs:
        """Of the process that wrote its errors to `log`; the kernel's kills are those since this was last asked."""
        before, self._kills = self._kills, kernel_kills()
        return Signs(last_words(log), self._kills > before)


def log_of_this_process() -> str:
    """The file that this process writes its errors to; "" where it writes them to none."""
    try:
        place = Path("/proc/self/fd/2").readlink()
    except OSError:
        return ""
    return str(place) if is_file(place) else ""


def last_words(log: str) -> str:
    """What a process that wrote its errors to `log` said when it ended: a signal's name, or Python's own words.

    "" where it said nothing: SIGKILL leaves no time for it, and neither does os._exit.
    """
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            said = _FATAL.findall(file.read().decode("utf-8", "replace"))
    except (OSError, ValueError):
        return ""
    if not said:
        return ""
    words, signal = map(str, said[-1])
    return signal or _SIGNALS.get(words, words)


def kernel_kills() -> int:
    """How many processes the kernel of this machine ended because memory ran out, since it started; 0 if unknown."""
    try:
        counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0
