"""Schemas: the tasks of a run, and those that gave up."""

import pyarrow as pa

from intriguing.basics.table import Field, Table
from intriguing.tables.fields import DOUBLE, TEXT, WHOLE

TASKS = Table(
    "tasks",
    "a task of the run",
    (
        Field("task", TEXT, "The task's name."),
        Field("function", TEXT, "The function that it calls."),
        Field("fingerprint", TEXT, "The folder of its outputs in store/."),
        Field("attempts", pa.int32(), "How many attempts it took."),
        Field("worker", TEXT, "Where it ran."),
        Field("device", TEXT, "On what kind of device."),
        Field("seconds", DOUBLE, "Wall-clock time of the attempt that succeeded.", "s"),
        Field("peak_memory", WHOLE, "Largest resident memory of its process by then.", "bytes"),
    ),
    ("task",),
)

FAILURES = Table(
    "failures",
    "a task that gave up",
    (
        Field("task", TEXT, "The task's name."),
        Field("function", TEXT, "The function that it calls."),
        Field("attempts", pa.int32(), "How many attempts were made."),
        Field("error_type", TEXT, "The error's class."),
        Field("message", TEXT, "What it said."),
        Field("rerun_command", TEXT, "The command that runs it alone again, in one process."),
        Field("traceback", TEXT, "Where it was raised, the innermost call last; null in older runs.", nullable=True),
    ),
    ("task",),
)
