"""Run a sweep: a spec becomes a plan, the plan is held against the run folder, and what is missing is computed."""

import logging
import os
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intriguing.engine.driver import Driver, Examination, Limits, Outcome, examine, write_plan
from intriguing.engine.lock import locked
from intriguing.engine.ownership import check_ours
from intriguing.engine.pool import Pool
from intriguing.engine.progress import Snapshot
from intriguing.engine.task import Plan
from intriguing.engine.verified import Verified
from intriguing.errors import SpecError, TaskFailedError
from intriguing.report import write_report
from intriguing.results import Run, open_run
from intriguing.sweep.facts import DatasetFacts, ModelFacts, gather_datasets, gather_models, gather_texts
from intriguing.sweep.plan import build_plan
from intriguing.sweep.spec import Spec, load_spec, without_datasets
from intriguing.sweep.words_spec import absolute

log = logging.getLogger(__name__)

EXECUTORS = ("auto", "inline", "strict", "ray")


@dataclass(frozen=True)
class Prepared:
    """A sweep that is ready to run: its spec, facts, plan and folder."""

    spec: Spec
    given: str
    out: Path
    datasets: dict[str, DatasetFacts]
    models: dict[str, ModelFacts]
    plan: Plan
    corpus: str = ""

    @property
    def command(self) -> str:
        """The line that continues this run."""
        line = f"intriguing run {shlex.quote(self.given)} --out {shlex.quote(str(self.out))}"
        return f"INTRIGUING_CORPUS={shlex.quote(self.corpus)} {line}" if self.corpus else line


def prepare(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Spec, out: Any = None, data: str | None = None
) -> Prepared:
    """Read the spec, gather the facts and build the plan; writes nothing.

    In a spec given by name or path, the text that INTRIGUING_CORPUS names stands in for the embedded one.
    A folder that holds something else than a run is refused before anything is gathered (`StoreError`).
    """
    loaded = load_spec(spec)
    folder = Path(out) if out else Path(os.environ.get("INTRIGUING_OUT", "outputs")) / loaded.name
    check_ours(folder)
    loaded, corpus = _with_corpus(loaded) if isinstance(spec, str | os.PathLike) else (loaded, "")
    given = str(spec) if isinstance(spec, str | os.PathLike) else loaded.name
    root = data or os.environ.get("INTRIGUING_DATA")
    datasets = gather_datasets(loaded, root)
    loaded = without_datasets(loaded, loaded.datasets.keys() - datasets.keys())
    models, texts = gather_models(loaded), gather_texts(loaded)
    plan = build_plan(loaded, datasets, models, texts)
    return Prepared(loaded, given, folder, datasets, models, plan, corpus)


def _with_corpus(spec: Spec) -> tuple[Spec, str]:
    """`spec` with the text that INTRIGUING_CORPUS names in place of an embedded one, and that text; empty if unused."""
    corpus = absolute(os.environ.get("INTRIGUING_CORPUS", ""))
    words = spec.words.with_corpus(corpus) if corpus and spec.words is not None else spec.words
    return (spec, "") if words == spec.words else (spec.model_copy(update={"words": words}), corpus)


def execute(
    prepared: Prepared,
    executor: str | None = None,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    listen: Callable[[Snapshot], None] | None = None,
) -> Outcome:
    """Run what of `prepared` is not finished, publish it, and write the report when anything changed.

    Raises:
        LockedError: another driver is at work in the folder.
        StoreError: the folder cannot be written, or is not ours: nothing in it was touched.
        ModelError, UnknownNameError: a model cannot be built, or lacks a layer that the spec names.
    """
    spec, out = prepared.spec, prepared.out
    make_pool = pool_maker(out, spec, executor, workers, gpus_per_worker)
    with locked(out):
        verified = Verified(out)
        found = examine(prepared.plan, out, verified)
        for damage in found.damaged:
            log.warning("%s", damage)
        log.info("%s: %s", out, found.summary(prepared.plan))
        if len(found.records) < len(prepared.plan):
            _check_models(prepared, found)
        write_plan(out, prepared.plan, {"name": spec.name, "spec": spec.model_dump(), "command": prepared.command})
        limits = Limits(spec.compute.attempts, spec.compute.task_seconds)
        driver = Driver(prepared.plan, out, found, make_pool, limits, listen or LogLines(), verified)
        outcome = driver.run(prepared.command)
        if outcome.ran or found.dropped or not (out / "report.html").exists():
            write_report(out, images=image_reader(prepared))
    return outcome


def run(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Spec,
    out: str | os.PathLike[str] | None = None,
    executor: str | None = None,
    *,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    data: str | None = None,
    strict: bool = True,
) -> Run:
    """Run a sweep and open its results: ``ig.run("demo", out="outputs/demo", executor="inline")``.

    Args:
        spec: a spec's name or path, or the spec itself as a mapping.
        out: the run folder; by default outputs/NAME. A folder that holds a run is continued.
        executor: inline, strict, ray or auto (ray where a cluster is running, else inline).
        workers: how many Ray actors; by default one per GPU, or one per CPU.
        gpus_per_worker: how much of a GPU each holds.
        data: the folder that torchvision's data sets lie in.
        strict: raise `TaskFailedError` when a task gave up (everything else is finished and stored first).
    """
    prepared = prepare(spec, out, data)
    outcome = execute(prepared, executor, workers, gpus_per_worker)
    if strict and not outcome.complete:
        first = outcome.failures[0]
        raise TaskFailedError(
            f"{len(outcome.failures)} of {len(prepared.plan)} tasks gave up and {len(outcome.blocked)} wait for them; "
            f"the first, {first.task!r}: {first.error_type}: {first.message}. The table failures lists them."
        )
    return open_run(prepared.out)


def pool_maker(
    out: Path, spec: Spec, executor: str | None, workers: int | None, gpus: float | None
) -> Callable[[], Pool]:
    """What makes the pool that `executor` names; flags come first, then INTRIGUING_*, then the spec."""
    chosen = executor or os.environ.get("INTRIGUING_EXECUTOR") or spec.compute.executor
    if chosen not in EXECUTORS:
        raise SpecError(f"There is no executor {chosen!r}. Choose one of {', '.join(EXECUTORS)}.")
    if chosen == "auto":
        chosen = "ray" if _cluster_is_running() else "inline"
    count = workers or int(os.environ.get("INTRIGUING_WORKERS", "0")) or spec.compute.workers

    def make() -> Pool:
        if chosen == "ray":
            from intriguing.engine.on_ray import RayPool

            return RayPool(out, count, spec.compute.gpus_per_worker if gpus is None else gpus)
        from intriguing.engine.inline import InlinePool

        return InlinePool(out, strict=chosen == "strict")

    return make


class LogLines:
    """Logs where a run stands every few seconds: the progress of a run without a terminal."""

    def __init__(self, every: float = 5.0) -> None:
        self._every = every
        self._said = time.monotonic()
        self._ended = False

    def __call__(self, snapshot: Snapshot) -> None:
        """Log `snapshot` if the last line is old enough, or if it is the end."""
        now = time.monotonic()
        ended = snapshot.tasks_done == snapshot.tasks_total
        if (ended and not self._ended) or (now - self._said >= self._every and not ended):
            self._said, self._ended = now, ended
            log.info("%s", snapshot.line())


def image_reader(prepared: Prepared) -> Callable[[str, Any], Any]:
    """What the report reads images with: (data set, ids) -> float32 (n, C, H, W)."""
    from intriguing.data import Dataset, load_dataset

    loaded: dict[str, Dataset] = {}

    def images(dataset: str, ids: Any) -> Any:
        import numpy as np

        facts = prepared.datasets[dataset]
        data = loaded.setdefault(dataset, load_dataset(facts.source, facts.root))
        wanted = np.asarray(ids, dtype=np.int64)
        result = np.zeros((len(wanted), *facts.shape), dtype=np.float32)
        for split in data.splits.values():
            there = np.isin(wanted, split.ids)
            if there.any():
                result[there] = split.pixels(split.positions(wanted[there])).numpy()
        return result

    return images


def _check_models(prepared: Prepared, found: Examination) -> None:
    from intriguing.sweep.check import check_models

    missing = [task for task in prepared.plan if task.name not in found.records]
    wanted = {(str(t.parameters.get("dataset")), str(t.parameters.get("model"))) for t in missing}
    check_models(prepared.spec, prepared.datasets, prepared.models, wanted)


def _cluster_is_running() -> bool:
    return bool(os.environ.get("RAY_ADDRESS")) or Path("/tmp/ray/ray_current_cluster").exists()
