"""Tasks that take their time, give signs of life, or take memory: for tests of real workers."""

import time

import pyarrow as pa

from intriguing.basics.liveness import beat
from intriguing.engine.task import Function, Task

SLEEP = Function("tests.engine.fault_tasks:sleep", 1)
EAT = Function("tests.engine.fault_tasks:eat", 1)


def sleep(work, number, seconds, beats=False):
    """Sleep; with `beats`, say every half second that it goes on."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(0.5, max(0.0, end - time.monotonic())))
        if beats:
            beat()
    return {"out": pa.table({"number": [number], "ended": [time.time()]})}


def eat(work, megabytes, seconds):
    """Hold so much memory for so long."""
    held = bytearray(b"x") * (megabytes << 20)
    time.sleep(seconds)
    return {"out": pa.table({"number": [len(held)], "ended": [time.time()]})}


def sleeping(name, seconds, number=0, **more):
    """A task that sleeps."""
    return Task(name, SLEEP, {"number": number, "seconds": seconds, **more})
