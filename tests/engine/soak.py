"""A soak: one run on three nodes of Ray, and workers, nodes and drivers that are killed while it goes on.

    python -m tests.engine.soak --kills 50 [--seed 0]

Each kill waits for results that came since the last one, so it hits a run at work; what is killed is drawn: a worker
(3 of 5), a node with all its processes, or the driver, whose command is then given again. The run's last task waits for
the last kill, so that it is at work until then. At its end the tables must be those of an undisturbed run, no task may
have failed, and no process may be left.
"""

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq

from intriguing.engine.task import Output, Plan, Task
from tests.engine.driving import execute, ray_pool
from tests.engine.fault_tasks import sleeping
from tests.engine.toy import RANGE, TOTAL

ROOT = Path(__file__).parents[2]
CHECKS = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 5}


def plan_of(shards, killed):
    """Ranges that take 0.3 s each, a total of every ten of them, and one that waits until the file `killed` is there.

    Without the last a run could end before all kills were made, where a node's start takes long.
    """
    tasks = [
        Task(f"range/{i}", RANGE, {"start": 10 * i, "stop": 10 * i + 10, "do": "sleep"}, publish={"numbers": "numbers"})
        for i in range(shards)
    ]
    for i in range(0, shards, 10):
        inputs = {"numbers": [Output(f"range/{j}", "numbers") for j in range(i, min(i + 10, shards))]}
        tasks.append(Task(f"total/{i}", TOTAL, {}, inputs, publish={"total": "totals"}))
    return Plan([*tasks, sleeping("last", 0.3, beats=True, awaits=[str(killed)], patience=24 * 3600)])


def say(line):
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def stored(run):
    """How many results the store has."""
    with suppress(FileNotFoundError):
        return sum(not path.name.startswith(".") for path in (run / "store").iterdir())
    return 0


class Soak:
    """Three nodes, of which the first holds no work, and the driver of one run."""

    def __init__(self, run, shards, seed):
        from ray.cluster_utils import Cluster

        self.run, self.killed = run, run.parent / "killed"
        self.shards, self.before_last = shards, shards + -(-shards // 10)
        self.dice = random.Random(seed)
        self.kills = Counter()
        options = {"num_cpus": 0, "include_dashboard": False, "_system_config": CHECKS}
        self.cluster = Cluster(initialize_head=True, head_node_args=options)
        self.nodes = [self.add_node() for _ in range(2)]
        self.driver = self.start()

    def add_node(self):
        """A further node; on a busy machine Ray's 30 seconds for its start may not be enough."""
        for _ in range(2):
            with suppress(Exception):
                return self.cluster.add_node(num_cpus=1)
        return self.cluster.add_node(num_cpus=1)

    def start(self):
        """Give the driver's command."""
        command = [sys.executable, "-m", "tests.engine.soak", "--drive", str(self.run), "--shards", str(self.shards)]
        environment = os.environ | {"RAY_ADDRESS": self.cluster.address, "PYTHONPATH": str(ROOT)}
        with (self.run.parent / "driver.log").open("a") as log:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def log(self):
        """The last lines that the drivers wrote."""
        return (self.run.parent / "driver.log").read_text()[-4000:]

    def workers(self):
        """The processes of actors on the nodes."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.nodes}
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError, ValueError):
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in raylets and (process / "cmdline").read_bytes().startswith(b"ray::Worker"):
                    found.append(int(process.name))
        return found

    def kill(self, what):
        """Kill a worker, a node or the driver."""
        if what == "worker":
            self.wait_for(self.kill_worker)
        elif what == "node":
            node = self.nodes.pop(self.dice.randrange(len(self.nodes)))
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.append(self.add_node())
        else:
            self.driver.kill()
            self.driver.wait()
            self.driver = self.start()

    def kill_worker(self):
        """Kill a worker; whether there was one: after another kill they may not have come back yet."""
        pids = self.workers()
        with suppress(ProcessLookupError):
            if pids:
                os.kill(self.dice.choice(pids), signal.SIGKILL)
                return True
        return False

    def wait_for(self, condition, seconds=240):
        """Until `condition()`, which must come true before the driver ends."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.driver.poll() is None, f"the driver ended before all kills:\n{self.log()}"
            assert time.monotonic() < end, f"nothing in {seconds} s:\n{self.log()}"
            time.sleep(0.02)

    def soak(self, kills):
        """Kill as often as that, and wait for the end of the run."""
        began = time.monotonic()
        order = ["worker", "node", "driver", "worker", "worker"] * (kills // 5 + 1)
        order = order[:kills]
        self.dice.shuffle(order)
        for number, what in enumerate(order):
            results = min(stored(self.run) + self.dice.randint(1, 3), self.before_last)
            self.wait_for(lambda results=results: stored(self.run) >= results)
            self.kill(what)
            self.kills[what] += 1
            say(f"{time.monotonic() - began:6.1f} s: kill {number + 1}, a {what}, after {stored(self.run)} results")
        self.killed.touch()
        self.driver.wait(600)
        return self.driver.returncode

    def close(self):
        """End all of it."""
        self.driver.kill()
        self.cluster.shutdown()


def tables(run):
    """Rows of the two tables."""
    numbers = pq.read_table(run / "tables" / "numbers").sort_by("id").to_pydict()
    return numbers, sorted(pq.read_table(run / "tables" / "totals")["total"].to_pylist())


def main(argv):
    """Soak, and say what came of it: 0 where the tables are right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shards", type=int)
    parser.add_argument("--drive", type=Path)
    given = parser.parse_args(argv)
    shards = given.shards or 30 + 5 * given.kills
    if given.drive:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        outcome = execute(
            plan_of(shards, given.drive.parent / "killed"),
            given.drive,
            ray_pool(given.drive),
            attempts=50,
            task_seconds=60,
        )
        return 0 if outcome.complete else 1
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        run = Path(folder) / "run"
        run.mkdir()
        soak = Soak(run, shards, given.seed)
        try:
            code = soak.soak(given.kills)
        finally:
            soak.close()
        numbers, totals = tables(run)
        squares = [i * i for i in range(10 * shards)]
        assert code == 0, soak.log()
        assert numbers == {"id": list(range(10 * shards)), "square": squares}
        assert totals == sorted(sum(squares[i : i + 100]) for i in range(0, len(squares), 100))
        assert pq.read_table(run / "tables" / "failures").num_rows == 0
        attempts = pq.read_table(run / "tables" / "tasks")["attempts"].to_pylist()
        killed = ", ".join(f"{count} {what}s" for what, count in soak.kills.items())
        say(f"killed: {killed}; {len(attempts)} tasks done, most attempts {max(attempts)}; the tables are right")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
