"""Tasks that take their time, give signs of life, or wait for others: for tests of real workers."""

import time
from pathlib import Path

import pyarrow as pa

from intriguing.basics.process.liveness import beat
from intriguing.engine.task import Function, Task

SLEEP = Function("tests.engine.fault_tasks:sleep", 1)


def sleep(work, number, seconds=0.0, beats=False, awaits=(), patience=200, mark=""):
    """Sleep, wait until the files `awaits` are there, and make the file `mark`; with `beats`, give signs of life."""
    if beats:  # not every 5 seconds: a busy machine is given the more time to leave the next one
        from intriguing.engine.pools.on_ray import actor

        actor._BEAT = 0.5
    now = time.monotonic()
    end, latest = now + seconds, now + patience
    while time.monotonic() < end or not all(Path(file).exists() for file in awaits):
        assert time.monotonic() < max(end, latest), f"not all are there: {awaits}"
        time.sleep(0.05)
        if beats:
            beat()
    if mark:
        Path(mark).touch()
    return {"out": pa.table({"number": [number]})}


def sleeping(name, seconds, number=0, **more):
    """A task that sleeps."""
    return Task(name, SLEEP, {"number": number, "seconds": seconds, **more})
