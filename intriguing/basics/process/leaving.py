"""How a process of this package ends, also where a library would abort it on the way out."""

import logging
import os
import sys
from typing import NoReturn

_hurried = False


def hurry() -> None:
    """Let `leave` end the process at once: threads of a library hang, and would crash what Python does at its end."""
    global _hurried
    _hurried = True


def leave(code: int) -> NoReturn:
    """End the process with this exit code."""
    if _hurried:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)
