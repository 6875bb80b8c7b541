"""Run a sweep: a spec becomes a plan, the plan is compared with the run folder, and missing results are computed."""

import logging
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from intriguing.basics.folders.bucket import BucketFolder, place_at
from intriguing.basics.folders.folder import Place, folder_at, told_again
from intriguing.basics.numbers import check_number
from intriguing.basics.process.patience import telling
from intriguing.basics.version import __version__
from intriguing.engine.driver import Driver, Limits, Outcome, write_plan
from intriguing.engine.examination import examine
from intriguing.engine.pools.pool import Pool
from intriguing.engine.pools.ray_address import find_cluster
from intriguing.engine.progress.progress import Snapshot
from intriguing.engine.progress.shown import LogLines, shown
from intriguing.engine.storage.lock import locked
from intriguing.engine.storage.ownership import PLAN, check_ours
from intriguing.engine.storage.verified import Verified
from intriguing.engine.task import Plan
from intriguing.errors import SpecError, StoreError, TaskFailedError, unknown_name
from intriguing.report import is_current
from intriguing.results import Run, open_run
from intriguing.stages.common.stage import Outside, Sweep
from intriguing.sweep.inspection import inspect_spec
from intriguing.sweep.plan import build_plan
from intriguing.sweep.reporting.images import image_reader, sources_of
from intriguing.sweep.reporting.page import write_report
from intriguing.sweep.reporting.remarks import Remarks
from intriguing.sweep.spec import Spec, load_spec

log = logging.getLogger(__name__)

EXECUTORS = ("auto", "inline", "strict", "ray")


@dataclass(frozen=True)
class Prepared:
    """A sweep that is ready to run: its spec, its folder, its plan and what the stages planned.

    source: the spec's name or path, as it was given. environment: the variables that were followed. data: the folder of
    data sets that was named on the way.
    """

    spec: Spec
    source: str
    out: Path | BucketFolder
    plan: Plan
    sweep: Sweep
    environment: Mapping[str, str]
    data: str = ""

    @property
    def command(self) -> str:
        """The line that continues this run."""
        line = f"intriguing run {shlex.quote(self.source)} --out {shlex.quote(told_again(self.out))}"
        line += f" --data {shlex.quote(self.data)}" if self.data else ""
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.environment.items()), line])

    def rerun(self, task: str) -> str:
        """The line that runs `task` alone, in one process, where a debugger can follow it."""
        return f"{self.command} --only {shlex.quote(task)} --executor inline"


def prepare(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Spec, out: Any = None, data: str | None = None
) -> Prepared:
    """Read the spec, look at the files that it names, and build the plan; writes nothing.

    Environment variables that name data (INTRIGUING_CORPUS) count for a spec given by name or path. A folder that holds
    something else than a run is refused first (`StoreError`).
    """
    by_name = isinstance(spec, str | os.PathLike)
    loaded = load_spec(spec)
    folder = run_folder(loaded, out)
    check_ours(folder)
    if not loaded.model_dump(exclude={"name", "seed", "compute"}, exclude_defaults=True):
        raise SpecError(
            f"{spec if by_name else 'The spec'} asks for nothing: it names no data set and no question. `intriguing "
            "specs` lists examples, and `intriguing init` writes a first spec."
        )
    environment = dict(os.environ) if by_name else {}
    outside = Outside(data or os.environ.get("INTRIGUING_DATA"), environment, loaded.compute.task_seconds)
    inspected = inspect_spec(loaded, outside)
    plan, sweep = build_plan(inspected.spec, inspected.files)
    if not plan.tasks:
        log.warning("nothing is left to do: none of what the spec names is there, or there is no question to ask of it")
    source = str(spec) if by_name else loaded.name
    return Prepared(inspected.spec, source, folder, plan, sweep, inspected.environment, data or "")


def run_folder(spec: str | os.PathLike[str] | Mapping[str, Any] | Spec, out: Any = None) -> Path | BucketFolder:
    """The folder that a run of `spec` lands in: `out`, else the spec's name in the folder INTRIGUING_OUT or `outputs`.

    Nothing is looked at but the spec, and that only where `out` does not say it; of an object store, whether it can be
    reached.
    """
    return place_at(out) if out else place_at(os.environ.get("INTRIGUING_OUT", "outputs")) / load_spec(spec).name


def execute(
    prepared: Prepared,
    executor: str | None = None,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    listen: Callable[[Snapshot], None] | None = None,
    *,
    only: Sequence[str] = (),
    debug: Callable[[BaseException], None] | None = None,
) -> Outcome:
    """Run what of `prepared` is not finished, publish it, and write the report when anything changed.

    only: names of tasks, or patterns such as ``search/*``: these are run, and what they need; the others wait.
    debug: is called with the error of a task that raises, in this process (executor inline or strict).

    Raises:
        UnknownNameError: no task has a name of `only`; the nearest are listed.
        LockedError: another driver is at work in the folder.
        StoreError: the folder cannot be written, or is not ours: nothing in it was touched.
        ModelError, UnknownNameError: a model cannot be built, or lacks a layer that the spec names.
    """
    spec, out = prepared.spec, prepared.out
    make_pool = pool_maker(out, spec, executor, workers, gpus_per_worker, debug)
    chosen = tasks_named(prepared.plan, only) if only else None
    with locked(out):
        with telling(f"looking at what is finished in {out}"):
            examination = examine(prepared.plan, out, Verified(out))
        for damage in examination.damaged:
            log.warning("%s", damage)
        log.info("%s: %s", out, examination.summary(prepared.plan))
        missing = prepared.plan.needed_by(chosen or prepared.plan.tasks, examination.records)
        if missing:
            _check_models(prepared, missing)
        write_plan(out, prepared.plan, about(prepared))
        limits = Limits(spec.compute.attempts, spec.compute.task_seconds)
        driver = Driver(
            prepared.plan,
            out,
            examination,
            make_pool,
            limits,
            listen or LogLines(),
            only=chosen,
            remark=Remarks(out),
        )
        try:
            outcome = driver.run(prepared.rerun)
        finally:
            _keep_plan(prepared)
        if not is_current(out):
            with telling(f"writing the page, {out}/report.html"):
                write_report(out, images=image_reader(sources_of(prepared.sweep.datasets)))
    return outcome


def _keep_plan(prepared: Prepared) -> None:
    """Write plan.json again where it went while the run was at work: without it, nobody could read or continue it."""
    with suppress(StoreError):  # what ended the run matters more
        if not folder_at(prepared.out).sees(PLAN):
            log.warning("%s/%s went while the run was at work, so it is written anew", prepared.out, PLAN)
            write_plan(prepared.out, prepared.plan, about(prepared))


def about(prepared: Prepared) -> dict[str, Any]:
    """What plan.json says beside the tasks: enough for `status`, `report` and `prune` to run nothing of the spec's."""
    return {
        "name": prepared.spec.name,
        "version": __version__,
        "spec": prepared.spec.model_dump(),
        "command": prepared.command,
        "datasets": {name: asdict(dataset) for name, dataset in prepared.sweep.datasets.items()},
    }


def tasks_named(plan: Plan, patterns: Sequence[str]) -> set[str]:
    """The tasks of these names, or that match them as patterns (``*``, ``?``, ``[...]``).

    Raises `UnknownNameError` for one that no task answers to, with the nearest names.
    """
    names: set[str] = set()
    for pattern in patterns:
        matching = {pattern} if pattern in plan.tasks else {name for name in plan.tasks if fnmatchcase(name, pattern)}
        if not matching:
            raise unknown_name("task", pattern, plan.tasks)
        names |= matching
    return names


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
    """Run a sweep and open its results.

        import intriguing as ig
        run = ig.run("demo", out="outputs/demo", executor="inline")
        run.pandas("distortions")

    Args:
        spec: a spec's name or path, or the spec itself as a mapping.
        out: the run folder; by default outputs/NAME. A folder that holds a run is continued.
        executor: inline, strict, ray or auto (ray where a cluster is running, else inline).
        workers: how many Ray actors; by default one per GPU, or one per CPU.
        gpus_per_worker: how much of a GPU each holds.
        data: the folder that torchvision's data sets lie in.
        strict: raise `TaskFailedError` when a task gave up (everything else is finished and stored first).
        progress: show how far the run is: a bar in a notebook, a line on stderr elsewhere; by default in a terminal
            or notebook, unless log lines of level INFO are shown, which say the same.
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
    out: Place,
    spec: Spec,
    executor: str | None,
    workers: int | None,
    gpus: float | None,
    debug: Callable[[BaseException], None] | None = None,
) -> Callable[[], Pool]:
    """What makes the pool that `executor` names; flags come first, then INTRIGUING_*, then the spec.

    `auto` looks for a cluster when the pool is made, for at most 3 seconds, or 15 where RAY_ADDRESS names one.
    """
    chosen = executor or os.environ.get("INTRIGUING_EXECUTOR") or spec.compute.executor
    if chosen not in EXECUTORS:
        raise SpecError(f"There is no executor {chosen!r}. Choose one of {', '.join(EXECUTORS)}.")
    if debug is not None and chosen not in ("inline", "strict"):
        raise SpecError(f"A debugger sees this process alone, and the executor is {chosen!r}: add --executor inline.")
    if workers is not None:
        check_number("workers", workers, whole=True, low=1)
    if gpus is not None:
        check_number("gpus_per_worker", gpus)
    told = os.environ.get("INTRIGUING_WORKERS") or "0"
    if not told.isdecimal():
        raise SpecError(f"INTRIGUING_WORKERS is {told!r}: it must be a whole number of workers, or unset.")
    count = workers or int(told) or spec.compute.workers

    def make() -> Pool:
        if chosen == "ray" or (chosen == "auto" and _cluster_is_running()):
            from intriguing.engine.pools.on_ray import RayPool

            share = spec.compute.gpus_per_worker if gpus is None else gpus
            return RayPool(out, count, share, spec.compute.start_seconds)
        from intriguing.engine.pools.inline import InlinePool

        return InlinePool(out, strict=chosen == "strict", debug=debug)

    return make


def _check_models(prepared: Prepared, missing: Iterable[str]) -> None:
    from intriguing.sweep.preflight import check_models

    tasks = [prepared.plan.tasks[name] for name in missing]
    pairs = {(str(t.parameters.get("dataset")), str(t.parameters.get("model"))) for t in tasks}
    check_models(prepared.spec, prepared.sweep, pairs)


def _cluster_is_running() -> bool:
    cluster = find_cluster()
    if cluster.problem:
        log.warning("%s: running in this process", cluster.problem)
    return cluster.is_usable
