"""Toy tasks for the engine's tests: importable, pure, and able to misbehave on demand."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from intriguing.engine.task import Code, Function, Output, Plan, Resource, Task

_HERE = "tests.engine.toy"
RANGE = Function(f"{_HERE}:make_range", 1)
TOTAL = Function(f"{_HERE}:total", 1)
SCALE = Function(f"{_HERE}:scale", 1)
LEAVE = Function(f"{_HERE}:leave", 1)


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def make_range(work, start, stop, do="", marker=""):
    """Numbers from start to stop; `do` says how to misbehave the first time (while `marker` is absent) or always."""
    if do and not (marker and Path(marker).exists()):
        if marker:
            Path(marker).touch()
        misbehave(do)
    return {"numbers": pa.table({"id": range(start, stop), "square": [i * i for i in range(start, stop)]})}


def misbehave(do):
    if do == "raise":
        raise ValueError("this one always raises")
    if do == "interrupt":
        raise KeyboardInterrupt("asked by nobody")
    if do == "cancel":
        raise asyncio.CancelledError("no longer wanted")
    if do == "exit":
        sys.exit(3)
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "hang":
        time.sleep(600)
    if do == "sleep":
        time.sleep(0.3)
    if do == "swallow an interrupt":
        with suppress(BaseException):  # as a bare `except:` in a user's model does
            signal.raise_signal(signal.SIGINT)


SHORT_OF_MEMORY = {
    "device": OutOfMemoryError("too large a batch"),
    "Python": MemoryError(),
    "torch": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4398046511104 bytes."),
}


def scale(work, batch, limit=10**9, whose="device"):
    """Multiply by a pinned factor; runs out of memory, of a device or the machine, above `limit` rows a batch."""
    if batch > limit:
        raise SHORT_OF_MEMORY[whose]
    numbers = work.table("numbers")
    factor = work.resource("factor")
    return {"scaled": pa.table({"id": numbers["id"], "value": [factor * v.as_py() for v in numbers["square"]]})}


def total(work):
    """The sum of all squares, as a table and as bytes."""
    value = sum(sum(t["square"].to_pylist()) for t in work.tables("numbers"))
    return {"total": pa.table({"total": [value]}), "text": str(value).encode()}


def leave(work, folder):
    """The numbers, read after the working folder was changed; then it is changed again."""
    os.chdir(folder)
    numbers = work.table("numbers")
    os.chdir(folder)
    return {"numbers": numbers}


def load_factor(factor, offset=0):
    return factor + offset, 8


def toy_plan(shards=4, step=10, bad=1, **misbehaving):
    """Ranges, their scaled copies and one total; `misbehaving` goes to the shard `bad`."""
    tasks = []
    for i in range(shards):
        extra = misbehaving if i == bad else {}
        parameters = {"start": i * step, "stop": (i + 1) * step, **extra}
        tasks.append(Task(f"range/{i}", RANGE, parameters, publish={"numbers": "numbers"}, amount=step, noun="numbers"))
    factor = Resource(Code(f"{_HERE}:load_factor"), {"factor": 3})
    tasks += [
        Task(
            f"scale/{i}",
            SCALE,
            {"batch": 64},
            {"numbers": Output(f"range/{i}", "numbers")},
            {"factor": factor},
            {"scaled": "scaled"},
            shrink="batch",
        )
        for i in range(shards)
    ]
    every = [Output(f"range/{i}", "numbers") for i in range(shards)]
    tasks.append(Task("total", TOTAL, {}, {"numbers": every}, publish={"total": "totals"}))
    return Plan(tasks)


def flip(path):
    """Change one byte of a file, as a failing disk does."""
    content = bytearray(path.read_bytes())
    content[40] ^= 255
    path.write_bytes(content)
