"""Run a sweep: a spec becomes a plan, the plan is held against the run folder, and what is missing is computed."""

import logging
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intriguing.engine.driver import Driver, Examination, Limits, Outcome, examine, write_plan
from intriguing.engine.lock import locked
from intriguing.engine.pool import Pool
from intriguing.engine.progress import Snapshot
from intriguing.engine.shown import LogLines, shown
from intriguing.engine.task import Plan
from intriguing.errors import SpecError, TaskFailedError
from intriguing.results import Run, open_run
from intriguing.stages.common.stage import Outside, Sweep
from intriguing.sweep.plan import build_plan
from intriguing.sweep.report import image_reader, write_report
from intriguing.sweep.resolve import resolve
from intriguing.sweep.spec import Spec, load_spec

log = logging.getLogger(__name__)

EXECUTORS = ("auto", "inline", "strict", "ray")


@dataclass(frozen=True)
class Prepared:
    """A sweep that is ready to run: its spec, its folder, its plan and what the stages planned.

    source: the spec's name or path, as it was given. environment: the variables that were followed.
    """

    spec: Spec
    source: str
    out: Path
    plan: Plan
    sweep: Sweep
    environment: Mapping[str, str]

    @property
    def command(self) -> str:
        """The line that continues this run."""
        line = f"intriguing run {shlex.quote(self.source)} --out {shlex.quote(str(self.out))}"
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.environment.items()), line])


def prepare(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Spec, out: Any = None, data: str | None = None
) -> Prepared:
    """Read the spec, look at the files that it names, and build the plan; writes nothing.

    Environment variables that name data (INTRIGUING_CORPUS) count for a spec given by name or path.
    """
    by_name = isinstance(spec, str | os.PathLike)
    loaded = load_spec(spec)
    outside = Outside(data or os.environ.get("INTRIGUING_DATA"), dict(os.environ) if by_name else {})
    resolved = resolve(loaded, outside)
    plan, sweep = build_plan(resolved.spec, resolved.facts)
    folder = Path(out) if out else Path(os.environ.get("INTRIGUING_OUT", "outputs")) / loaded.name
    source = str(spec) if by_name else loaded.name
    return Prepared(resolved.spec, source, folder, plan, sweep, resolved.environment)


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
        StoreError: the folder cannot be written.
        ModelError, UnknownNameError: a model cannot be built, or lacks a layer that the spec names.
    """
    spec, out = prepared.spec, prepared.out
    make_pool = pool_maker(out, spec, executor, workers, gpus_per_worker)
    with locked(out):
        found = examine(prepared.plan, out)
        for damage in found.damaged:
            log.warning("%s", damage)
        log.info("%s: %s", out, found.summary(prepared.plan))
        if len(found.records) < len(prepared.plan):
            _check_models(prepared, found)
        write_plan(out, prepared.plan, {"name": spec.name, "spec": spec.model_dump(), "command": prepared.command})
        limits = Limits(spec.compute.attempts, spec.compute.task_seconds)
        driver = Driver(prepared.plan, out, found, make_pool, limits, listen or LogLines())
        outcome = driver.run(prepared.command)
        if outcome.ran or found.dropped or not (out / "report.html").exists():
            write_report(out, images=image_reader(prepared.sweep.datasets))
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
    progress: bool | None = None,
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
        progress: show a line on stderr that says how far the run is; by default in a terminal or notebook, unless
            log lines of level INFO are shown, which say the same.
    """
    prepared = prepare(spec, out, data)
    with shown(progress) as listen:
        outcome = execute(prepared, executor, workers, gpus_per_worker, listen)
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


def _check_models(prepared: Prepared, found: Examination) -> None:
    from intriguing.sweep.preflight import check_models

    missing = [task for task in prepared.plan if task.name not in found.records]
    wanted = {(str(t.parameters.get("dataset")), str(t.parameters.get("model"))) for t in missing}
    check_models(prepared.spec, prepared.sweep, wanted)


def _cluster_is_running() -> bool:
    return bool(os.environ.get("RAY_ADDRESS")) or Path("/tmp/ray/ray_current_cluster").exists()
