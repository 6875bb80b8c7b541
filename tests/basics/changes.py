"""What a module written as a script may change for its whole process, and how that is seen: run as a program, it prints
the names of what is not as before after the module was called.

    python -m tests.basics.changes
"""

import gc
import locale
import logging
import os
import signal
import socket
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

from intriguing.basics.process.users_code import unchanged

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE)


def _rights():
    """Those of a new file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "new").touch()
        return (Path(folder) / "new").stat().st_mode


def _ignore_signals():
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _replace_streams():
    sys.stdin = sys.stdout = sys.stderr = None


def _silence():
    logging.disable(logging.CRITICAL)
    logging.getLogger().handlers.clear()
    logging.getLogger().setLevel(logging.CRITICAL)
    for logger in logging.root.manager.loggerDict.values():  # as logging.config.dictConfig does
        logger.disabled = True


CHANGES = {
    "path": (sys.path.clear, lambda: set(sys.path)),
    "streams": (_replace_streams, lambda: [id(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)]),
    "signals": (_ignore_signals, lambda: [signal.getsignal(number) for number in SIGNALS]),
    "alarm": (lambda: signal.alarm(1000), lambda: signal.getitimer(signal.ITIMER_REAL)),
    "recursion": (lambda: sys.setrecursionlimit(60), sys.getrecursionlimit),
    "umask": (lambda: os.umask(0o777), _rights),
    "locale": (lambda: locale.setlocale(locale.LC_ALL, "C"), lambda: locale.setlocale(locale.LC_ALL)),
    "warnings": (lambda: warnings.simplefilter("error"), lambda: [f for f in warnings.filters if f[0] == "error"]),
    "numpy": (lambda: np.seterr(all="raise"), np.geterr),
    "log": (
        _silence,
        lambda: (
            logging.root.manager.disable,
            logging.root.level,
            logging.root.handlers[:],
            logging.getLogger("intriguing.data").disabled,
        ),
    ),
    "sockets": (lambda: socket.setdefaulttimeout(3), socket.getdefaulttimeout),
    "collector": (gc.disable, gc.isenabled),
    "denormals": (lambda: torch.set_flush_denormal(True), lambda: torch.tensor([1e-40]).mul(1).tolist()),
    "anomalies": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "autocasts": (
        lambda: torch.autocast("cpu", torch.bfloat16).__enter__(),
        lambda: (torch.autocast_increment_nesting(), torch.autocast_decrement_nesting()),
    ),
}


def main():
    """Make each change in the place of a user's code, and print what is changed afterwards."""
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    logging.basicConfig()
    logging.getLogger("intriguing.data")
    left = []
    for name, (change, now) in CHANGES.items():
        before = now()
        with unchanged():
            change()
        if now() != before:
            left.append(name)
    os.write(1, " ".join(left).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
