"""How a process ends."""

import signal
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("hurried", "said"), [("", "said\nlate\n"), ("hurry()", "said\n")])
def test_a_process_that_left_something_hanging_ends_at_once_with_its_own_code(hurried, said):
    code = (
        "import atexit\nfrom intriguing.basics.process.leaving import hurry, leave\n"
        f"atexit.register(print, 'late')\nprint('said')\n{hurried}\nleave(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, said)


def test_a_second_ctrl_c_ends_a_process_that_is_leaving_without_a_traceback():
    code = (
        "import atexit, signal\nfrom intriguing.basics.process.leaving import leave\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "atexit.register(signal.raise_signal, signal.SIGINT)\nleave(130)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_a_thread_that_a_model_left_running_is_named_and_waited_for():
    """The command did not end and said nothing."""
    code = """
import logging, threading
from intriguing.basics.process import leaving, patience
patience.AFTER = 0.01
told = threading.Event()
class Handler(logging.Handler):
    def emit(self, record):
        print(record.getMessage(), flush=True)
        told.set()
logging.basicConfig(level="INFO", handlers=[Handler()])
threading.Thread(target=told.wait, name="mine").start()
leaving.leave(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=250)
    assert (done.returncode, done.stderr) == (3, "")
    assert "waiting for a thread that was left running, mine (Ctrl-C ends it)" in done.stdout


@pytest.mark.parametrize("kind", ["ThreadPoolExecutor", "ProcessPoolExecutor"])
def test_an_executor_that_was_left_open_is_no_thread_to_wait_for(kind):
    """Its threads wait for work: the process never ended, as that of a job on an object store."""
    code = f"""
from concurrent.futures import {kind}
from intriguing.basics.process.leaving import leave
executor = {kind}(1)
if __name__ == "__main__":
    print(executor.submit(abs, -5).result(), flush=True)
    leave(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=250)
    assert (done.returncode, done.stdout, done.stderr) == (3, "5\n", "")


def test_a_run_that_leaves_ray_behind_ends_so(monkeypatch):
    from intriguing.basics.process import leaving
    from intriguing.engine.pools.on_ray import cluster

    monkeypatch.setattr(leaving, "_hurried", False)
    monkeypatch.setattr(cluster.atexit, "unregister", lambda function: None)
    cluster.abandon()
    assert leaving._hurried
