"""How a process of this package ends, also where a library would abort it on the way out."""

import logging
import os
import signal
import sys
import threading
from typing import NoReturn

from intriguing.basics.process.patience import telling

_hurried = False


def hurry() -> None:
    """Let `leave` end the process at once: threads of a library hang, and would crash what Python does at its end."""
    global _hurried
    _hurried = True


def leave(code: int) -> NoReturn:
    """End the process with this exit code. A Ctrl-C that comes now ends it at once, for all is done.

    Threads that a user's model left running are waited for, as Python does, and named where that takes long.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if _hurried:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    for thread in threading.enumerate() if is_main else []:
        if not thread.daemon and thread is not threading.main_thread():
            with telling(f"all is done; waiting for a thread that was left running, {thread.name} (Ctrl-C ends it)"):
                thread.join()
    sys.exit(code)
