"""A plan of 100,000 tasks: how long it takes to build, and to find complete in a finished run folder.

`python jobs/benchmark.py engine [TASKS]`
"""

import tempfile
import time
from pathlib import Path

import pyarrow as pa

from intriguing.engine import store as engine_store
from intriguing.engine.driver import Driver, examine, write_plan
from intriguing.engine.pool import Pool
from intriguing.engine.store import Record, Store
from intriguing.engine.task import Function, Output, Plan, Task
from intriguing.engine.verified import Verified

FUNCTION = Function("benchmark:none", 1)


def build(tasks: int) -> Plan:
    """Half the tasks read one output each of the other half."""
    half = tasks // 2
    parameters = {"dataset": "mnist", "model": "cnn", "model_seed": 0, "slots": 256}
    first = [Task(f"base/{i}", FUNCTION, {**parameters, "start": i}, publish={"out": "base"}) for i in range(half)]
    inputs = [{"rows": Output(f"base/{i}", "out")} for i in range(half)]
    second = [Task(f"next/{i}", FUNCTION, parameters, inputs[i], publish={"out": "next"}) for i in range(half)]
    return Plan([*first, *second])


def fill(plan: Plan, run: Path) -> None:
    """Store an output of one row for each task, without waiting for the disk."""
    store = Store(run / "store")
    store.prepare()
    engine_store.os.fsync = lambda handle: None  # type: ignore[assignment]
    table = pa.table({"i": [1]})
    records: dict[str, Record] = {}
    for task in plan:
        read = {f"{plan.fingerprints[n.task]}/{n.name}": records[n.task].outputs[n.name].sha256 for n in task.needs}
        record = Record(task.name, task.function.name, {}, read)
        records[task.name] = store.write(plan.fingerprints[task.name], {"out": table}, record)


def finish(plan: Plan, run: Path) -> None:
    """What a finished run does when its command is given again."""
    verified = Verified(run)
    found = examine(plan, run, verified)
    write_plan(run, plan, {"name": "benchmark"})
    outcome = Driver(plan, run, found, _no_pool, verified=verified).run()
    assert outcome.complete
    assert not outcome.ran


def _no_pool() -> Pool:
    raise AssertionError("a finished run asked for workers")


def main(argv: list[str]) -> None:
    """Print the table."""
    tasks = int(argv[0]) if argv else 100_000
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        began = time.perf_counter()
        plan = build(tasks)
        built = time.perf_counter() - began
        fill(plan, run)
        finish(plan, run)  # hashes, publishes and compacts
        began = time.perf_counter()
        finish(plan, run)
        found = time.perf_counter() - began
    print("| tasks | plan built (s) | found complete (s) |\n|---|---|---|")
    print(f"| {len(plan):,} | {built:.1f} | {found:.1f} |")
