"""What a large plan costs a driver, in CPU seconds and memory, without Ray and without work.

`python jobs/benchmark.py engine [--tasks 100000] [--workers 1 100 1000] [--pool-only]`

The pool is simulated: a worker answers at once. Then a plan is made, run to its half, stopped, and resumed by a driver
that knows what is finished. `--pool-only` leaves out the run folder: publishing, examination, status. CPU is of this
process (`time.process_time`); of the first table and the last the workers' share, which is measured, is left out.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from intriguing.basics.folders import files
from intriguing.engine.driver import Driver, write_plan
from intriguing.engine.examination import Examination, examine
from intriguing.engine.pools.pool import Event, Finished
from intriguing.engine.progress.progress import Snapshot
from intriguing.engine.storage.ledger import Ledger
from intriguing.engine.storage.publish import Publication
from intriguing.engine.storage.store import Record, Store, Stored
from intriguing.engine.storage.verified import Verified
from intriguing.engine.task import Function, Output, Plan, Task
from intriguing.engine.worker import Call
from intriguing.sweep.status import status_of

FUNCTION = Function("benchmark:none", 1)
TABLE = pa.table({"i": [1], "model": ["cnn"], "score": [0.5]})


def build(tasks: int, extra: int = 0) -> Plan:
    """Half the tasks read one output each of the other half; `extra` more stand in the middle of the first half."""
    half = tasks // 2
    parameters = {"dataset": "mnist", "model": "cnn", "model_seed": 0, "slots": 256}
    numbers = [*range(half // 2), *range(half, half + extra), *range(half // 2, half)]
    first = [Task(f"base/{i}", FUNCTION, {**parameters, "start": i}, publish={"out": "topk"}) for i in numbers]
    inputs = [{"rows": Output(f"base/{i}", "out")} for i in range(half)]
    second = [Task(f"next/{i}", FUNCTION, parameters, inputs[i], publish={"out": "judged"}) for i in range(half)]
    return Plan([*first, *second])


class SimulatedPool:
    """Workers that answer at once; what they do (`work`) is not the driver's, and its CPU seconds are in `spent`."""

    depth, silent = 2, False

    def __init__(self, workers: int, work: Callable[[str, Call], Record], batch: int = 64) -> None:
        self.workers = [f"w{i}" for i in range(workers)]
        self.spent = 0.0
        self._work = work
        self._batch = batch
        self._calls: list[tuple[str, Call]] = []

    def submit(self, worker: str, call: Call) -> None:
        """Queue a call."""
        self._calls.append((worker, call))

    def events(self, timeout: float) -> Sequence[Event]:
        """Answer the oldest calls."""
        began = time.process_time()
        now, self._calls = self._calls[: self._batch], self._calls[self._batch :]
        answers = [Finished(worker, call.task, self._work(worker, call)) for worker, call in now]
        self.spent += time.process_time() - began
        return answers

    def node_of(self, worker: str) -> str:
        """Ten workers share a machine."""
        return worker[:-1]

    def node_name(self, worker: str) -> str:
        """The same."""
        return worker[:-1]

    def recall(self, worker: str, task: str) -> None:
        """Nothing comes back."""

    def want(self, tasks: int) -> None:
        """The workers are what they are."""

    def beat(self, worker: str) -> str:
        """Nobody hangs."""
        return ""

    def exclude(self, worker: str, reason: str) -> bool:
        """No machine fails."""
        return False

    def report(self, snapshot: Snapshot) -> None:
        """Nobody watches."""

    def kill(self, worker: str, reason: str) -> None:
        """Nobody hangs."""

    def close(self) -> None:
        """There is nothing to end."""


def _number(call: Call) -> str:
    return call.fingerprint + call.fingerprint[:24]


def no_work(worker: str, call: Call) -> Record:
    """A record as a worker gives it, without anything stored."""
    inputs = {f"{f}/{o}": f + f[:24] for f, o in call.references}
    return Record(
        call.task, call.function.name, {"out": Stored("out.parquet", 800, _number(call), 1)}, inputs, 1, worker
    )


@contextmanager
def without_disk() -> Iterator[None]:
    """Do not wait for the disk: its time is not the driver's."""
    real = files.os.fsync
    files.os.fsync = lambda handle: None  # type: ignore[assignment]
    try:
        yield
    finally:
        files.os.fsync = real


@contextmanager
def without_publishing() -> Iterator[None]:
    """Leave the run folder alone: the pool and the schedule are measured."""
    kept = {name: getattr(Publication, name) for name in ("add", "settle", "compact", "summarise")}
    noted = Verified.note_outputs
    for name in kept:
        setattr(Publication, name, lambda self, *_: None)
    Verified.note_outputs = lambda self, fingerprint, record: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Publication, name, method)
        Verified.note_outputs = noted  # type: ignore[method-assign]


def pool_speed(tasks: int, workers: int) -> tuple[float, float]:
    """Tasks per CPU second of driver and schedule, and bytes that the driver takes a task beside the plan."""
    plan = build(tasks)
    with tempfile.TemporaryDirectory() as folder, without_publishing():
        before = _resident()
        pool = SimulatedPool(workers, no_work)
        driver = Driver(plan, Path(folder), Examination(), lambda: pool)
        began = time.process_time()
        outcome = driver.run()
        spent = time.process_time() - began - pool.spent
        assert outcome.complete
        return len(plan) / spent, (_resident() - before) / len(plan)


def stopped_and_resumed(tasks: int, workers: int) -> list[tuple[str, float]]:
    """CPU seconds to plan, to run one half, and to run the other after a stop: of the whole process."""
    finished = Ledger()

    def work(worker: str, call: Call) -> Record:
        if len(finished) == tasks // 2 and not steps[2:]:
            raise KeyboardInterrupt
        finished[call.task] = record = no_work(worker, call)
        return record

    steps: list[tuple[str, float]] = [("", time.process_time())]
    plan = build(tasks)
    steps.append(("plan", time.process_time()))
    with tempfile.TemporaryDirectory() as folder, without_publishing():
        with suppress(KeyboardInterrupt):
            Driver(plan, Path(folder), Examination(), lambda: SimulatedPool(workers, work)).run()
        steps.append((f"run {len(finished):,} tasks, and stop", time.process_time()))
        known = Examination(finished)
        outcome = Driver(plan, Path(folder), known, lambda: SimulatedPool(workers, no_work)).run()
        assert outcome.complete
        steps.append((f"resume: {len(outcome.ran):,} tasks", time.process_time()))
    return [(what, at - before) for (_, before), (what, at) in pairwise(steps)]


def _resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def run_folder(tasks: int) -> list[tuple[str, float]]:
    """CPU seconds of the steps that deal with a run folder of so many tasks."""
    steps: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory() as name, without_disk():
        run, store = Path(name), Store(Path(name) / "store")

        def write(worker: str, call: Call) -> Record:
            inputs = {f"{f}/{o}": plain[f] for f, o in call.references}
            record = store.write(
                call.fingerprint, {"out": TABLE}, Record(call.task, call.function.name, {}, inputs, 1, worker)
            )
            plain[call.fingerprint] = record.outputs["out"].sha256
            return record

        plain: dict[str, str] = {}

        def step(what: str, plan: Plan) -> None:
            pool = SimulatedPool(100, write)
            began = time.process_time()
            found = examine(plan, run, Verified(run))
            examined = time.process_time()
            write_plan(run, plan, {"name": "benchmark"})
            ran = len(Driver(plan, run, found, lambda: pool).run().ran)
            steps.append((f"{what}: examine", examined - began))
            steps.append((f"{what}: run {ran:,} tasks and publish", time.process_time() - examined - pool.spent))

        began = time.process_time()
        plan = build(tasks)
        steps.append(("plan", time.process_time() - began))
        step("new", plan)
        step("complete", plan)
        step("10 tasks more", build(tasks, extra=10))
        began = time.process_time()
        assert status_of(run)["done"] == tasks + 10
        steps.append(("status", time.process_time() - began))
    return steps


def main(argv: list[str]) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="benchmark.py engine", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 100, 1_000])
    parser.add_argument("--pool-only", action="store_true")
    given = parser.parse_args(argv)
    print("| tasks | workers | tasks per driver CPU-second | driver's bytes a task |\n|---|---|---|---|")
    for workers in given.workers:
        speed, memory = pool_speed(given.tasks, workers)
        print(f"| {given.tasks:,} | {workers:,} | {speed:,.0f} | {memory:,.0f} |", flush=True)
    print("\n| step | CPU-seconds |\n|---|---|")
    for what, seconds in stopped_and_resumed(given.tasks, max(given.workers)):
        print(f"| {what} | {seconds:.2f} |")
    print(f"\nlargest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB", flush=True)
    if not given.pool_only:
        print("\n| step | CPU-seconds |\n|---|---|")
        for what, seconds in run_folder(given.tasks):
            print(f"| {what} | {seconds:.2f} |")
        print(f"\nlargest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
