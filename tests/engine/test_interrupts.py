"""Ctrl-C and SIGTERM are heard, whoever swallows what they raise, and Ray does not take their handlers away."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from intriguing.engine.interrupts import Interrupts, heard_interrupts, kept_handlers
from tests.engine.driving import execute
from tests.engine.toy import toy_plan


@pytest.fixture(autouse=True)
def handlers():
    """Python's own handler of SIGINT, whatever the suite was started with (`&` in a script has it ignored)."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_an_interrupt_that_a_task_swallowed_stops_the_run_before_the_next_task(tmp_path):
    plan = toy_plan(do="swallow an interrupt", bad=0)
    with pytest.raises(KeyboardInterrupt):
        execute(plan, tmp_path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    stored = {task for task in plan.tasks if (tmp_path / "store" / plan.fingerprints[task]).exists()}
    assert stored == {"range/0"}  # what was at work is finished and kept
    signal.signal(signal.SIGINT, lambda *_: None)
    outcome = execute(plan, tmp_path)
    assert outcome.complete
    assert "range/0" not in outcome.ran


def test_a_handler_that_chose_not_to_raise_is_left_its_choice(tmp_path):
    seen = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    assert execute(toy_plan(do="swallow an interrupt"), tmp_path).complete
    assert seen == [signal.SIGINT]


@pytest.mark.parametrize("kept", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_signal_that_is_ignored_or_ends_the_process_stays_so(kept):
    signal.signal(signal.SIGINT, kept)
    with heard_interrupts() as interrupts:
        assert signal.getsignal(signal.SIGINT) is kept
        interrupts.raise_again()
    assert signal.getsignal(signal.SIGINT) is kept


def test_another_thread_installs_nothing_and_runs(tmp_path):
    outcomes = []
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: outcomes.append(execute(toy_plan(), tmp_path)))
    thread.start()
    thread.join()
    assert outcomes[0].complete
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_a_library_replaced_comes_back_and_others_stay():
    mine = signal.default_int_handler
    with kept_handlers():
        signal.signal(signal.SIGINT, lambda *_: None)
    assert signal.getsignal(signal.SIGINT) is mine
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    library = lambda *_: None  # noqa: E731
    with kept_handlers():
        signal.signal(signal.SIGTERM, library)
    assert signal.getsignal(signal.SIGTERM) is library


def test_a_signal_is_heard_while_a_library_replaces_its_handler():
    """SIGTERM while Ray started was lost, or ended a run with 15 and without the line that continues it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), kept_handlers():
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)


def test_a_later_notice_leaves_no_more_time_than_an_earlier_one(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    interrupts = Interrupts()
    interrupts.drain(30)
    interrupts.drain(math.inf)
    now[0] = 131
    assert interrupts.is_time_up
    interrupts = Interrupts()
    interrupts.drain(math.inf)
    assert interrupts.is_draining
    interrupts.drain(5)
    now[0] = 137
    assert interrupts.is_time_up


def test_a_notice_has_the_time_that_the_environment_says_and_a_second_sigterm_none(monkeypatch):
    monkeypatch.setenv("INTRIGUING_GRACE_SECONDS", "1000")

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    for number in (signal.SIGUSR1, signal.SIGTERM):
        with heard_interrupts() as interrupts:
            signal.raise_signal(number)
            assert interrupts.is_draining and not interrupts.is_time_up
            assert interrupts._until < time.monotonic() + 1001
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)


@pytest.mark.ray
def test_sigterm_is_an_interrupt_on_ray_too(ray_started):
    code = (
        "import os, signal, time\n"
        "from intriguing.cli.process import _terminate_as_interrupt\n"
        "from intriguing.engine.pools.on_ray.cluster import connect\n"
        "with _terminate_as_interrupt():\n"
        "    assert connect(1)[0]\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        while True:\n            time.sleep(0.1)\n"
        "    except KeyboardInterrupt:\n"
        "        os._exit(130)"
    )
    environment = os.environ | {"RAY_ADDRESS": ray_started, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 130, done.stderr
