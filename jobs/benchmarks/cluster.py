"""On Ray: CPU of the driver a task, seconds until a killed worker's task is at work again, two workers against one.

`python jobs/benchmark.py cluster [--tasks 1000]`

Ray is started on this machine with two workers. A task's CPU is the slope between a short and a long run of tasks that
do nothing. Two workers against one run searches of a CNN on images of the package, after each has done one; beside
it stands what two bare processes are worth. That says something on a machine with two free cores alone: the share of
the cores that was idle before is printed.
"""

import argparse
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from intriguing.engine.driver import Driver
from intriguing.engine.examination import Examination
from intriguing.engine.pools.on_ray import RayPool
from intriguing.engine.pools.pool import Event, Joined
from intriguing.engine.task import Function, Plan, Task
from intriguing.engine.worker import Call

HERE = "benchmarks.cluster"


def none(work: Any, i: int) -> dict[str, Any]:
    """Nothing."""
    return {"out": pa.table({"i": [i]})}


def searched(work: Any, i: int, images: int) -> dict[str, Any]:
    """Searches of a CNN of random weights, which start at the class that it gives."""
    import torch
    from benchmarks.search.models import cnn

    from intriguing import SearchOptions, minimal_distortion
    from intriguing.data import load_dataset

    torch.manual_seed(0)
    model = cnn()
    rows = np.arange(i * images, (i + 1) * images)
    x = torch.from_numpy(load_dataset("mnist-sample").split("test").images[rows] / np.float32(255))
    result = minimal_distortion(model, x, model(x).argmax(1), options=SearchOptions(grade="fast"))
    assert set(result.status) == {"found"}
    return {"out": pa.table({"i": [i]})}


def long(work: Any, i: int, told: str) -> dict[str, Any]:
    """Say in a file who began it and when; the first time wait to be killed."""
    with Path(told).open("a") as file:
        file.write(f"{os.getpid()} {time.time()}\n")
    if len(Path(told).read_text().splitlines()) == 1:
        time.sleep(600)
    return {"out": pa.table({"i": [i]})}


class Warm(RayPool):
    """A pool that is given to the driver with all its workers at work, and outlives the run."""

    def wait_for(self, workers: int) -> None:
        """Until so many workers have joined."""
        self.want(workers)
        joined: list[Event] = []
        while sum(isinstance(event, Joined) for event in joined) < workers:
            joined += self.events(1.0)

    def warm_up(self, calls: Sequence[Call]) -> None:
        """Run a call on each worker."""
        for worker, call in zip(self.workers, calls, strict=False):
            self.submit(worker, call)
        while any(actor.calls for actor in self._actors.values()):
            self.events(1.0)


def tasks_of(function: Callable[..., Any], count: int, **parameters: Any) -> Plan:
    """Tasks of one function."""
    code = Function(f"{HERE}:{function.__name__}", 1)
    return Plan(Task(f"{function.__name__}/{i}", code, {"i": i, **parameters}) for i in range(count))


def timed(
    plan: Plan, workers: int, meanwhile: Callable[[], None] = lambda: None, first: Sequence[Call] = ()
) -> tuple[float, float]:
    """Wall and driver's CPU seconds of a run on workers that are there; `meanwhile` is called about every second.

    Each worker runs one of the calls `first` before.
    """
    with tempfile.TemporaryDirectory() as name:
        run = Path(name)
        pool = Warm(run, workers)
        pool.wait_for(workers)
        pool.warm_up(first)
        driver = Driver(plan, run, Examination(), lambda: pool, listen=lambda snapshot: meanwhile())
        pool.close = lambda: None  # type: ignore[method-assign]
        began, cpu = time.monotonic(), time.process_time()
        assert driver.run().complete
        spent = time.monotonic() - began, time.process_time() - cpu
        RayPool.close(pool)
        return spent


def back_at_work() -> float:
    """Seconds from the kill of a worker until its task is begun again."""
    with tempfile.TemporaryDirectory() as name:
        told = Path(name) / "told"
        killed: list[float] = []

        def kill() -> None:
            if told.exists() and not killed:
                killed.append(time.time())
                os.kill(int(told.read_text().split()[0]), signal.SIGKILL)

        timed(tasks_of(long, 1, told=str(told)), 1, kill)
        began = [float(line.split()[1]) for line in told.read_text().splitlines()]
        return began[1] - killed[0]


def wall_of_searches(tasks: int, workers: int) -> float:
    """Seconds of as many tasks of searches on so many workers."""
    plan = tasks_of(searched, tasks + workers, images=16)
    calls = [Call(t.name, t.function.code, plan.fingerprints[t.name], t.parameters) for t in plan]
    return timed(tasks_of(searched, tasks, images=16), workers, first=calls[tasks:])[0]


def wall_without_ray(tasks: int, processes: int) -> float:
    """Seconds of the same in bare processes: what the machine gives of itself."""
    with get_context("spawn").Pool(processes, partial(searched, None), (tasks, 16)) as pool:
        pool.starmap(searched, [(None, i, 16) for i in range(2 * processes)], 1)
        began = time.monotonic()
        pool.starmap(searched, [(None, i, 16) for i in range(tasks)], 1)
        return time.monotonic() - began


def idle_share(seconds: float = 3.0) -> float:
    """The share of all cores' time in which nothing runs."""

    def times() -> tuple[int, int]:
        numbers = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
        return numbers[3] + numbers[4], sum(numbers)

    idle, total = times()
    time.sleep(seconds)
    idle_after, total_after = times()
    return (idle_after - idle) / (total_after - total)


def main(argv: list[str]) -> None:
    """Print the figures."""
    import ray

    parser = argparse.ArgumentParser(prog="benchmark.py cluster", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--searches", type=int, default=24, help="tasks of 16 searches each")
    given = parser.parse_args(argv)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    few, many = (timed(tasks_of(none, n), 2)[1] for n in (given.tasks // 10, given.tasks + given.tasks // 10))
    print(f"driver's CPU a task that does nothing: {(many - few) / given.tasks * 1e3:.2f} ms")
    print(f"a killed worker's task is at work again after {back_at_work():.1f} s")
    idle = idle_share()
    for what, measure in (("worker", wall_of_searches), ("bare process", wall_without_ray)):
        one, two = (measure(given.searches, workers) for workers in (1, 2))
        print(f"{given.searches} tasks of searches: one {what} {one:.1f} s, two {two:.1f} s ({one / two:.2f} x)")
    print(f"before, {idle:.0%} of {os.cpu_count()} cores were idle")
    ray.shutdown()
