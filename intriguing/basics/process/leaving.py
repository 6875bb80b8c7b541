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

    Threads that a user's model left running are waited for, as Python does, and named where that takes long; but
    not those of an executor: they wait for work until Python itself ends them, which it does after this.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if _hurried:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    not_waited_for = {threading.main_thread(), *_of_executors()}
    for thread in threading.enumerate() if is_main else []:
        if not thread.daemon and thread not in not_waited_for:
            with telling(f"all is done; waiting for a thread that was left running, {thread.name} (Ctrl-C ends it)"):
                thread.join()
    sys.exit(code)


def _of_executors() -> list[threading.Thread]:
    """The threads of executors of `concurrent.futures`, which Python ends in a way of its own."""
    kinds = (("thread", "_threads_queues"), ("process", "_threads_wakeups"))
    modules = [(sys.modules.get(f"concurrent.futures.{kind}"), name) for kind, name in kinds]
    return [thread for module, name in modules for thread in getattr(module, name, ())]
