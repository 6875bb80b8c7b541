"""How a process of this package ends, also where a library would abort it on the way out."""

import logging
import os
import signal
import sys
import threading
from typing import NoReturn

_hurried = False


def hurry() -> None:
    """Let `leave` end the process at once: threads of a library hang, and would crash what Python does at its end."""
    global _hurried
    _hurried = True


def leave(code: int) -> NoReturn:
    """End the process with this exit code. A Ctrl-C that comes now ends it at once, for all is done."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if _hurried:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)
