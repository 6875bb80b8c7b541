"""Units: collection against a bare forward loop and Ray Data, the scan against a GEMM, and the rotation test.

    python jobs/benchmark.py units [--rows 100000] [--scan-rows 400000] [--rotations 999] [--threads 1]
                                   [--only collection,store,memory,scan,rotations] [--out FILE]

Every measurement runs in its own process. Times are CPU-seconds of the whole process tree, so a busy machine changes
them little; peak memory is resident memory above what the inputs and the imports take. The table that is printed is
that of docs/results/units.md.
"""

import argparse
import contextlib
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

BATCH, PIXELS, UNITS = 256, 784, 512


def network() -> nn.Sequential:
    """784-512-512 with ReLUs, as in the measurements that ruled out Ray Data."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(PIXELS, 512), nn.ReLU(), nn.Linear(512, UNITS), nn.ReLU(), nn.Linear(UNITS, 10))


@cache
def pool() -> torch.Tensor:
    """Inputs to take again and again, so that making them costs nothing."""
    return torch.rand((64, BATCH, PIXELS), generator=torch.Generator().manual_seed(1))


def batches(rows: int) -> Iterator[torch.Tensor]:
    """`rows` inputs in batches."""
    for i in range(0, rows, BATCH):
        yield pool()[(i // BATCH) % 64][: rows - i]


def best_of(work: Callable[[], Any], repeats: int = 3) -> float:
    """The fewest CPU-seconds of this process that `work` took."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def peak() -> int:
    """This process's largest resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def collection(arguments: argparse.Namespace) -> dict[str, float]:
    """Rows per CPU-second of the forward alone, of the forward and a GEMM, and of the two collections."""
    import intriguing as ig
    from intriguing.units import Moments

    model, rows = network().eval(), arguments.rows
    part, directions = model[:4], ig.Directions.gaussian(UNITS, 512, 0)
    columns = torch.tensor(directions.columns)

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches(rows):
                part(batch)

    def with_gemm() -> None:
        with torch.inference_mode():
            for batch in batches(rows):
                torch.mm(part(batch), columns)

    def moments() -> None:
        seen = Moments(UNITS)
        for block in ig.collect_activations(model, batches(rows), "3"):
            seen.update(block.vectors["3"])

    def scan() -> None:
        top = ig.TopK(directions, 16)
        for block in ig.collect_activations(model, batches(rows), "3"):
            top.update(block.vectors["3"], block.ids)

    # In turns, so that a busy machine slows all of them alike.
    works: dict[str, Callable[[], None]] = {"bare": bare, "gemm": with_gemm, "moments": moments, "scan": scan}
    works |= convolutions(rows)
    found = {name: [] for name in works}
    for turn in range(arguments.repeats + 1):
        for name, work in works.items():
            spent = best_of(work, 1)
            found[name] += [spent] if turn else []  # the first turn warms up
    return {name: rows / min(values) for name, values in found.items()}


def convolutions(rows: int) -> dict[str, Callable[[], None]]:
    """The forward alone, and the collection of moments, of three convolutions on `rows` / 8 images."""
    import intriguing as ig
    from intriguing.units import Moments

    images = torch.rand((BATCH, 1, 28, 28), generator=torch.Generator().manual_seed(1))
    many = [images] * (rows // BATCH // 8)
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3))

    def bare() -> None:
        with torch.inference_mode():
            for batch in many:
                model(batch)

    def moments() -> None:
        seen = Moments(64)
        for block in ig.collect_activations(model, many, "4"):
            seen.update(block.vectors["4"])

    return {"bare_cnn": bare, "moments_cnn": moments}


def memory(arguments: argparse.Namespace) -> dict[str, float]:
    """Peak memory of a streaming collection with moments and scan of --rows inputs."""
    import intriguing as ig
    from intriguing.units import Moments

    model, directions, seen = network(), ig.Directions.gaussian(UNITS, 512, 0), Moments(UNITS)
    top = ig.TopK(directions, 16)
    for block in ig.collect_activations(model, batches(arguments.rows), "3"):
        seen.update(block.vectors["3"])
        top.update(block.vectors["3"], block.ids)
    return {"peak": peak()}


def store_ours(arguments: argparse.Namespace) -> dict[str, float]:
    """CPU-seconds to store --rows inputs' activations as float16 Parquet, in shards of 16,384 rows."""
    import pyarrow.parquet as pq

    import intriguing as ig
    from intriguing.activations import WRITE_OPTIONS, activation_table

    model = network()

    def write(folder: str) -> None:
        held: list[tuple[np.ndarray, torch.Tensor]] = []
        shard = 0
        for block in ig.collect_activations(model, batches(arguments.rows), "3", dtype=torch.float16):
            held.append((block.ids, block.vectors["3"]))
            if len(held) * BATCH >= 16_384:
                save(folder, shard, held)
                held, shard = [], shard + 1
        if held:
            save(folder, shard, held)

    def save(folder: str, shard: int, held: list[tuple[np.ndarray, torch.Tensor]]) -> None:
        ids, vectors = np.concatenate([i for i, _ in held]), torch.cat([v for _, v in held])
        keys = {"dataset": "benchmark", "model": "mlp", "model_seed": 0, "layer": "3"}
        pq.write_table(activation_table(ids, vectors, **keys), f"{folder}/{shard}.parquet", **WRITE_OPTIONS)

    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        return {"cpu": best_of(lambda: write(folder), 2)}


class FamilyClock:
    """CPU-seconds of this process and of all that descend from it, those that have ended too: inside `with`, each is
    noted while it lives, for raylets do not keep the times of workers that ended.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, float], float] = {}
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "FamilyClock":
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()

    def seconds(self) -> float:
        """What all of them took so far."""
        self._look()
        return sum(self._seen.values())

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self._look()

    def _look(self) -> None:
        import psutil

        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system


def store_ray_data(arguments: argparse.Namespace) -> dict[str, float]:
    """The same by Ray Data: CPU-seconds of all its processes from a running Ray to the last file."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False

    class Forward:
        def __init__(self) -> None:
            torch.set_num_threads(arguments.threads)
            self.model = network()[:4].eval()
            # Made here: what a worker gets by pickle must not refer to this script.
            self.pool = torch.rand((64 * BATCH, PIXELS), generator=torch.Generator().manual_seed(1))

        def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            ids = batch["id"]
            with torch.inference_mode():
                vectors = self.model(self.pool[torch.from_numpy(ids % len(self.pool))]).half().numpy()
            return {"example_id": ids, "vector": vectors}

    pool_of_one = ray.data.ActorPoolStrategy(size=1)

    def run(rows: int) -> float:
        before = clock.seconds()
        with tempfile.TemporaryDirectory() as folder:
            data = ray.data.range(rows, override_num_blocks=max(1, rows // 16_384))
            made = data.map_batches(Forward, batch_size=2048, compute=pool_of_one, num_cpus=1)
            made.write_parquet(folder, compression="zstd")
        return clock.seconds() - before

    # Every run starts an actor that imports torch. The difference of two runs is net of that.
    with FamilyClock() as clock:
        run(16_384)
        few, many = run(16_384), run(arguments.rows + 16_384)
    ray.shutdown()
    return {"cpu": many - few}


def scan(arguments: argparse.Namespace) -> dict[str, float]:
    """CPU-seconds and peak memory of one way (--way) to find the top 16 of 512 directions in --scan-rows x 256."""
    import intriguing as ig

    n, dim, count, k, step = arguments.scan_rows, 256, 512, 16, 8192
    rows = torch.randn((n, dim), generator=torch.Generator().manual_seed(0))
    ids, directions = np.arange(n), ig.Directions.gaussian(dim, count, 0)
    columns = torch.tensor(directions.columns)
    sizes = {}

    def ours() -> None:
        top = ig.TopK(directions, k)
        for i in range(0, n, step):
            top.update(rows[i : i + step], ids[i : i + step])
        sizes["state"] = top.nbytes()

    def gemm() -> None:
        scores = torch.empty((2048, count))
        for i in range(0, n, 2048):
            torch.mm(rows[i : i + 2048], columns, out=scores[: min(2048, n - i)])

    def full_topk() -> None:
        torch.topk((rows @ columns).T, k, dim=1)

    def argpartition() -> None:
        scores = (rows @ columns).numpy()
        best = np.argpartition(-scores, k, axis=0)[:k]
        np.take_along_axis(scores, best, axis=0)

    ways = {"ours": ours, "gemm": gemm, "torch.topk": full_topk, "argpartition": argpartition}
    before = peak()
    work = ways[arguments.way]
    first, used = best_of(work, 1), peak() - before
    if arguments.way != "ours":
        return {"cpu": first, "peak": used}
    # In turns with the GEMM, so that a busy machine slows both alike.
    turns = [(best_of(work, 1), best_of(gemm, 1)) for _ in range(arguments.repeats)]
    return {"cpu": min(t for t, _ in turns), "gemm": min(t for _, t in turns), "peak": used, **sizes}


def rotations(arguments: argparse.Namespace) -> dict[str, float]:
    """CPU-seconds of --rotations rotations of 10,000 inputs at 128 units, with interval, for one set of scores."""
    from intriguing.units.rotation import RotationOptions, rotation_test
    from intriguing.units.scoring.metrics import scorers
    from intriguing.units.scoring.views import Inputs

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 10_000)
    rows = np.maximum(rng.standard_normal((10_000, 128)) + 0.7 * rng.standard_normal((10, 128))[labels], 0)
    inputs, found = Inputs.of(rows, labels=labels), {}
    for name, wanted in (("labels", ["purity", "enrichment", "kurtosis"]), ("auroc", ["auroc"])):
        test = partial(rotation_test, inputs, scorers(wanted), RotationOptions(rotations=arguments.rotations))
        found[name] = best_of(test, 1)
    return found


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "collection": collection,
    "memory": memory,
    "store_ours": store_ours,
    "store_ray_data": store_ray_data,
    "scan": scan,
    "rotations": rotations,
}


def measured(part: str, arguments: argparse.Namespace, **changed: object) -> dict[str, float]:
    """The outcome of one part in a fresh process; raises RuntimeError with its last words when it fails."""
    options = vars(arguments) | changed
    line = [sys.executable, str(Path(__file__).resolve()), "--part", part]
    for name in ("rows", "scan_rows", "rotations", "threads", "repeats", "way"):
        line += [f"--{name.replace('_', '-')}", str(options[name])]
    threads = {name: str(arguments.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | threads, check=False)
    if done.returncode:
        raise RuntimeError(f"{part} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(arguments: argparse.Namespace) -> list[tuple[str, str, str, str]]:
    """The rows of the benchmark's table: what, measured, the goal, whether it was reached."""
    lines: list[tuple[str, str, str, str]] = []
    wanted = arguments.only.split(",")

    def add(what: str, text: str, goal: str = "", reached: bool | None = None) -> None:
        lines.append((what, text, goal, "" if reached is None else "yes" if reached else "no"))
        # At once: a later part that fails must not take what is measured with it.
        print("| " + " | ".join(lines[-1]) + " |", flush=True)

    if "collection" in wanted:
        got = measured("collection", arguments)
        share, scanned = got["moments"] / got["bare"], got["scan"] / got["gemm"]
        add("bare forward loop, 784-512-512", f"{got['bare']:,.0f} rows/CPU-s")
        add("collection with moments", f"{share:.2f} x the bare loop", ">= 0.9", share >= 0.9)
        share = got["moments_cnn"] / got["bare_cnn"]
        add("the same, three convolutions 32-64-64 on 28 x 28", f"{share:.2f} x the bare loop", ">= 0.9", share >= 0.9)
        add("collection with 512 directions", f"{scanned:.2f} x (forward + GEMM)", ">= 0.75", scanned >= 0.75)
    if "memory" in wanted:
        few, many = (measured("memory", arguments, rows=rows)["peak"] / 2**20 for rows in (50_000, 400_000))
        text = f"{few:.0f} MiB at N = 50,000, {many:.0f} MiB at N = 400,000"
        add("peak memory, streaming", text, "independent of N", many < 1.05 * few)
    if "store" in wanted and find_spec("psutil") is None:
        add("storing float16 Parquet against Ray Data", "not measured: it needs psutil (make peers)", ">= 2")
    elif "store" in wanted:
        ours, other = (measured(f"store_{who}", arguments)["cpu"] for who in ("ours", "ray_data"))
        text = f"{other / ours:.1f} x ({arguments.rows / ours:,.0f} against {arguments.rows / other:,.0f} rows/CPU-s)"
        add("storing float16 Parquet against Ray Data", text, ">= 2", other / ours >= 2)
    if "scan" in wanted:
        ways = {way: measured("scan", arguments, way=way) for way in ("ours", "torch.topk", "argpartition")}
        gemm = ways["ours"]["gemm"]
        add(f"GEMM alone of {arguments.scan_rows:,} x 256 and 512 directions", f"{gemm:.1f} CPU-s")
        for way, got in ways.items():
            ratio = got["cpu"] / gemm
            goal = ("<= 1.5", ratio <= 1.5) if way == "ours" else ("", None)
            text = f"{got['cpu']:.1f} CPU-s, {ratio:.2f} x the GEMM, {got['peak'] / 2**20:,.0f} MiB more memory"
            add(f"top 16 of the same: {way}", text, *goal)
        state = ways["ours"]["state"]
        add("its state", f"{state / 1e6:.2f} MB", "< 1 MB", state < 1e6)
    if "rotations" in wanted:
        got = measured("rotations", arguments)
        name = f"{arguments.rotations} rotations, D = 128, N = 10,000: "
        add(name + "purity, enrichment, kurtosis", f"{got['labels']:.0f} CPU-s", "< 60", got["labels"] < 60)
        add(name + "AUROC", f"{got['auroc']:.0f} CPU-s more", "< 120", got["auroc"] < 120)
    return lines


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark (or one `--part` of it, for the processes that this one starts) and print its table."""
    parser = argparse.ArgumentParser(prog="benchmark.py units", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="inputs of the collections")
    parser.add_argument("--scan-rows", type=int, default=400_000, help="rows of the scan")
    parser.add_argument("--rotations", type=int, default=999, help="rotations of the test")
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("--only", default="collection,memory,store,scan,rotations", help="parts, by commas")
    parser.add_argument("--out", type=Path, help="also write the table there")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--way", default="ours", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    if arguments.part:
        print(json.dumps(PARTS[arguments.part](arguments)))
        return 0
    lines = ["| what | measured | goal | reached |", "|---|---|---|---|"]
    print("\n".join(lines))
    lines += ["| " + " | ".join(line) + " |" for line in table(arguments)]
    lines.append(
        f"\nCPU-seconds with {arguments.threads} thread(s), torch {torch.__version__}, on {os.uname().machine}."
    )
    print(lines[-1])
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
