"""A driver of its own process on a folder of an object store: `python -m tests.engine.storage.bucket_driver URI`.

Its tasks store what no other driver stores: the number of the process, padded so that sizes differ, too.
"""

import os
import sys
from contextlib import nullcontext

import pyarrow as pa

from intriguing.basics.folders.bucket import place_at
from intriguing.engine.driver import Driver, write_plan
from intriguing.engine.examination import examine
from intriguing.engine.pools.inline import InlinePool
from intriguing.engine.storage import lock
from intriguing.engine.storage.verified import Verified
from intriguing.engine.task import Function, Output, Plan, Task

_HERE = "tests.engine.storage.bucket_driver"
MARK = Function(f"{_HERE}:mark", 1)
TASKS = 5
COPY = Function(f"{_HERE}:copy", 1)


def mark(work, i):
    """A row that tells who made it; the second output tells it again."""
    who = os.getpid()
    return {"marks": pa.table({"id": [i], "who": [who]}), "again": str(who).encode() * (who % 7 + 1)}


def copy(work, i):
    """What `mark` stored, held against its second output."""
    marks = work.table("marks")
    assert work.blobs("again")[0].startswith(str(marks["who"][0].as_py()).encode()), "outputs of two drivers are mixed"
    return {"copies": marks}


def plan_of(tasks):
    plan = []
    for i in range(tasks):
        plan.append(Task(f"mark/{i}", MARK, {"i": i}, publish={"marks": "marks"}))
        inputs = {"marks": Output(f"mark/{i}", "marks"), "again": Output(f"mark/{i}", "again")}
        plan.append(Task(f"copy/{i}", COPY, {"i": i}, inputs, publish={"copies": "copies"}))
    return Plan(plan)


def drive(uri, plan, make_pool=None):
    """Run `plan` in the folder at `uri` as a sweep does."""
    run = place_at(uri)
    with lock.locked(run):
        found = examine(plan, run, Verified(run))
        write_plan(run, plan, {"name": "toy", "spec": {}})
        pool = make_pool or (lambda: InlinePool(run))
        return Driver(plan, run, found, pool).run(lambda task: f"again {task}")


if __name__ == "__main__":
    if "--no-lease" in sys.argv:
        lock.leased = lambda run: nullcontext()
    drive(sys.argv[1], plan_of(TASKS))
