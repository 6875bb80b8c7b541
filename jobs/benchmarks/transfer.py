"""Transfer: what a matrix costs beyond the bare forward passes that it needs.

    python jobs/benchmark.py transfer [--models 20] [--images 10000] [--shard 1000] [--network conv] [--rays]
    python jobs/benchmark.py transfer --folder FOLDER --minutes 9        again and again, until it says the figures
    python jobs/benchmark.py transfer --memory [--images 128]

Every model is fed the images made for every model, as a sweep does it: planned, scheduled, read from the store, stored
again. The images come from no search, which would take far longer: they are the inputs with a little noise. Bare
forward passes, in batches of as many rows, are measured in the same process between the tasks, all along: a forward
pass takes more CPU-seconds where other processes share the caches, so both must be measured at the same time. Networks
are not trained. `--memory` says instead by how much the tasks that feed a shard of photos (224 x 224) raise the memory
of their process.
"""

import argparse
import gc
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intriguing import tables
from intriguing.engine.driver import Driver, write_plan
from intriguing.engine.examination import examine
from intriguing.engine.pools.inline import InlinePool
from intriguing.engine.pools.pool import Event
from intriguing.engine.task import Function, Plan
from intriguing.engine.worker import Work
from intriguing.models import predict
from intriguing.stages.blind_spots import functions as searches
from intriguing.stages.common.parameters import Architecture, parse
from intriguing.stages.common.sampling import attacked_positions
from intriguing.stages.models.tasks import build
from intriguing.stages.transfer.feeding import lists
from intriguing.sweep import prepare

NETWORKS: dict[str, dict[str, Any]] = {
    "conv": {"architecture": "cnn", "options": {"channels": [64, 128], "hidden": 200}},
    "mlp": {"architecture": "mlp", "options": {"hidden": [100, 100]}},
}
SEARCH = Function("benchmark:made", 1, path=f"{__name__}:made")
_IN_A_ROW = 400
"""Tasks that are measured together: 20 shards that 20 models are fed."""


def made(work: Work, **plain: Any) -> dict[str, Any]:
    """What a search returns, without a search: each image with a little noise, as found."""
    parameters = parse(searches.SearchParameters, plain)
    rows = work.resource("dataset").splits[parameters.attacked.split]
    at = attacked_positions(rows, parameters.attacked, parameters.shard)
    clean = rows.pixels(at).numpy()
    noise = np.random.default_rng(parameters.shard.start).normal(0, 0.05, clean.shape)
    images = np.clip(clean + noise, 0, 1).astype(np.float32)
    names = [f"made/{i}" for i in rows.ids[at]]
    nothing = {f.name: [None] * len(at) for f in tables.DISTORTIONS.fields if f.nullable}
    columns = {**nothing, "search_id": names, "example_id": rows.ids[at], "label": rows.labels[at]}
    keys = {**parameters.key.columns, "status": "found", "grade": parameters.grade, "penalty_form": "squared_l2"}
    counts = {"forward_passes": 0, "backward_passes": 0, "target_rule": parameters.target_rule}
    stored = {"search_id": names, "shape": [list(clean.shape[1:])] * len(at)}
    stored["image"] = lists(images.reshape(len(at), -1), tables.ADVERSARIAL.schema.field("image").type.value_type)
    return {
        "distortions": tables.DISTORTIONS.build(columns, **keys, **counts),
        "adversarial": tables.ADVERSARIAL.build(stored, **parameters.key.columns),
    }


class Bare:
    """Forward passes by the model alone, of as many images as a shard has: CPU-seconds and images so far."""

    def __init__(self, network: str, images: int, slots: int) -> None:
        spec = NETWORKS[network]
        architecture = Architecture(spec["architecture"], spec.get("options", {}), (1, 28, 28), 10, "")
        self._model, self._slots = build(architecture, 0).eval(), slots
        self._some = torch.rand(images, 1, 28, 28)
        self.seconds, self.images = 0.0, 0
        predict(self._model, self._some[:slots], slots)

    def sample(self) -> None:
        """Feed the images once more."""
        began = time.process_time()
        predict(self._model, self._some, self._slots)
        self.seconds += time.process_time() - began
        self.images += len(self._some)


class Alternating(InlinePool):
    """An inline pool that feeds the bare model after every tenth task."""

    def __init__(self, run: Path, bare: Bare) -> None:
        super().__init__(run)
        self._bare, self._done = bare, 0

    def events(self, timeout: float) -> list[Event]:
        """Run the oldest call, and now and then the bare model."""
        events = super().events(timeout)
        if self._done % 10 == 0:
            self._bare.sample()
        self._done += 1
        return events


@dataclass(frozen=True)
class Cost:
    """CPU-seconds of a part of the plan, how much of it there was, and the bare forward passes made meanwhile."""

    seconds: float = 0.0
    tasks: int = 0
    images: int = 0
    bare_seconds: float = 0.0
    bare_images: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


def measure(plan: Plan, run: Path, prefix: str, bare: Bare, until: float) -> Cost | None:
    """The cost of the tasks whose names begin with `prefix`; what they need is run first and not counted.

    Models are fed one shard of searches after another. At the time `until` what was measured is written down beside the
    run, from where the next call goes on, and the answer is None.
    """
    chosen = [task.name for task in plan if task.name.startswith(f"{prefix}/")]
    needs = {need.task for name in chosen for need in plan.tasks[name].needs}
    write_plan(run, plan, {"name": "benchmark"})
    _work(plan, run, needs, InlinePool(run))
    file = run.parent / f"{prefix}.json"
    total = Cost(**json.loads(file.read_text())) if file.exists() else Cost()
    finished = examine(plan, run).records
    if any(name in finished for name in chosen[total.tasks :]):
        raise SystemExit(f"A call was ended while it measured, and what it did is not counted: remove {run.parent}.")
    for start in range(total.tasks, len(chosen), _IN_A_ROW):
        names = chosen[start : start + _IN_A_ROW]
        if time.monotonic() > until:
            return None
        began, before = time.process_time(), Cost(0, 0, 0, bare.seconds, bare.images)
        _work(plan, run, set(names), Alternating(run, bare))
        alone, fed = bare.seconds - before.bare_seconds, bare.images - before.bare_images
        images = sum(plan.tasks[name].amount for name in names)
        total += Cost(time.process_time() - began - alone, len(names), images, alone, fed)
        file.write_text(json.dumps(asdict(total)))
    return total


def _work(plan: Plan, run: Path, only: set[str], pool: InlinePool) -> None:
    outcome = Driver(plan, run, examine(plan, run), lambda: pool, only=only).run()
    assert not outcome.failures, outcome.failures[0]


def main(argv: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmark.py transfer", description="A matrix against bare forward passes.")
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--images", type=int, help="10,000 by default, photos 128")
    parser.add_argument("--shard", type=int, default=1_000, help="searches per shard")
    parser.add_argument("--network", choices=NETWORKS, default="conv")
    parser.add_argument("--rays", action="store_true", help="follow rays, too")
    parser.add_argument("--memory", action="store_true", help="the memory of feeding photos")
    parser.add_argument("--folder", help="where the run is; by default it is removed at the end")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many, to go on in --folder")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if options.memory:
        memory(options.images or 128)
        return
    options.images = options.images or 10_000
    with tempfile.TemporaryDirectory() as temporary:
        matrix(options, Path(options.folder or temporary))


def matrix(options: argparse.Namespace, folder: Path) -> None:
    """Measure the matrix in this folder, and print the table, or how far it is."""
    until = time.monotonic() + 60 * options.minutes
    network = NETWORKS[options.network] | {"train": False}
    transfer = {"noise": [], "sizes": [0.05, 0.1, 0.2] if options.rays else []}
    models = {f"m{i}": network | {"seeds": [i]} for i in range(options.models)}
    plan, run = planned(folder, (options.images, 28, 28), models, transfer, options.shard)
    bare = Bare(options.network, min(options.shard, options.images), 256)
    rows = []
    for prefix in ("transfer", "rays")[: 1 + options.rays]:
        cost = measure(plan, run, prefix, bare, until)
        if cost is None:
            print(f"The time is over; give the same command again. So far, in {folder}/{prefix}.json:")
            print((folder / f"{prefix}.json").read_text())
            return
        images = cost.images if prefix == "transfer" else fed_along(run)
        alone = cost.bare_seconds / cost.bare_images * images
        beyond = 1_000 * (cost.seconds - alone) / cost.tasks
        rows.append(
            f"| {prefix}, {options.models} x {options.network}, {options.images:,} images | {cost.tasks:,} "
            f"| {images:,} | {cost.seconds:.1f} | {alone:.1f} | {alone / cost.seconds:.2f} | {beyond:.1f} |"
        )
    print("| | tasks | images fed | CPU s | bare forward passes, CPU s | bare / all | beyond, ms per task |")
    print("\n".join(["|---|---|---|---|---|---|---|", *rows]))


def planned(
    folder: Path, shape: tuple[int, ...], models: dict[str, Any], transfer: dict[str, Any], shard: int
) -> tuple[Plan, Path]:
    """A sweep of these models on random images, with made images in place of searches; and its run folder."""
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(folder / "x.npz", x_test=x, y_test=np.arange(len(x)) % 10)
    spec = {
        "name": "benchmark",
        "datasets": {"x": {"source": f"npz:{folder}/x.npz"}},
        "models": models,
        "blind_spots": {"images": len(x), "target_rules": ["untargeted"]},
        "transfer": transfer,
        "compute": {"searches_per_shard": shard},
    }
    tasks = prepare(spec, f"{folder}/run").plan
    made_for = (replace(task, function=SEARCH) if task.name.startswith("search/") else task for task in tasks)
    return Plan(list(made_for)), folder / "run"


def memory(photos: int) -> None:
    """Print by how much each kind of task raises the resident memory that its process, a new one, had before: by these
    photos, and by two of them, where it is libraries, a network and its batch that take the memory.
    """
    print("| tasks | photos | they take, MB | memory rises by, MB | with 2 photos, MB |")
    print("|---|---|---|---|---|")
    for kinds in (["minimal"], ["gaussian"], ["minimal", "amplified", "gaussian"], []):
        rises = [_rise(count, kinds) for count in (photos, 2)]
        name, size = " and ".join(kinds) or "rays", photos * 3 * 224**2 * 4 / 1e6
        print(f"| {name} | {photos} | {size:.0f} | {rises[0]:.0f} | {rises[1]:.0f} |", flush=True)


def _rise(photos: int, kinds: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        _apart(fed_photos, folder, photos, kinds, False)
        return _apart(fed_photos, folder, photos, kinds, True)


def fed_photos(folder: str, photos: int, kinds: list[str], fed: bool) -> float:
    """Do what feeding photos of these kinds (rays, without any) needs or, once `fed`, feed them: by how much memory
    rises, MB.
    """
    torch.set_num_threads(1)
    models = {"m": {"architecture": "softmax", "train": False, "seeds": [0, 1]}}
    transfer = {"kinds": kinds or ["minimal"], "noise": [], "sizes": [] if kinds else [0.05, 0.1]}
    plan, run = planned(Path(folder), (photos, 224, 224, 3), models, transfer, photos)
    prefix = "transfer/" if kinds else "rays/"
    chosen = {task.name for task in plan if task.name.startswith(prefix)}
    needs = {need.task for name in chosen for need in plan.tasks[name].needs}
    if not fed:
        write_plan(run, plan, {"name": "benchmark"})
    with Watch() as watch:
        _work(plan, run, chosen if fed else needs, InlinePool(run))
    return watch.rise


def _apart(function: Callable[..., float], *arguments: Any) -> float:
    """The result of `function` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class Watch:
    """Inside, a thread looks every 2 ms at how much memory is resident; `rise` is the most above the beginning, MB."""

    def __enter__(self) -> "Watch":
        gc.collect()
        self._before = self._most = self._resident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.rise = (self._most - self._before) / 1e6

    def _look(self) -> None:
        while not self._ended.wait(0.002):
            self._most = max(self._most, self._resident())

    @staticmethod
    def _resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fed_along(run: Path) -> int:
    """How many points of rays were fed."""
    from intriguing import open_run

    return sum(open_run(run).table("rays", columns=["forward_passes"])["forward_passes"].to_pylist())
