"""The driver: examines what is finished, hands out what is not, and publishes what comes back."""

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intriguing.basics import seal
from intriguing.basics.files import clear_temporaries, explaining, opened, read_file, write_file
from intriguing.engine.interrupts import heard_interrupts
from intriguing.engine.ownership import PLAN, owned_plan, read_plan
from intriguing.engine.pool import Died, Event, Finished, Pool, Raised
from intriguing.engine.progress import Progress, Snapshot, write_heartbeat
from intriguing.engine.publish import Failure, Publication, check_free, trimmed
from intriguing.engine.schedule import BLOCKED, FAILED, Node, Schedule
from intriguing.engine.store import Record, Store, as_plain
from intriguing.engine.task import Output, Plan, Resource, Task, sequence
from intriguing.engine.verified import Verified
from intriguing.engine.worker import Call, ResourceCall
from intriguing.errors import CorruptError, StoreError

log = logging.getLogger(__name__)

_TICK = 1.0
_HEARTBEAT = 2.0
_SAVE = 60.0
_OLD = 600.0


@dataclass(frozen=True)
class Limits:
    """When to give up: attempts of a task whose worker is lost, and seconds after which a task counts as hung."""

    attempts: int = 3
    task_seconds: float = 3600.0


@dataclass(frozen=True)
class Examination:
    """What of a plan is finished already: records by task, and what was found damaged."""

    records: dict[str, Record]
    damaged: tuple[str, ...] = ()
    fresh: int = 0
    dropped: int = 0

    def summary(self, plan: Plan) -> str:
        """What is new, reused and dropped, in a line."""
        new = len(plan) - len(self.records)
        return f"{len(plan)} tasks: {new} to run, {len(self.records)} reused, {self.dropped} dropped from the plan"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: what ran, what was reused, what gave up or was blocked by that, and what was not asked for."""

    ran: tuple[str, ...]
    reused: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    blocked: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    records: Mapping[str, Record] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every task of the plan is finished."""
        return not (self.failures or self.blocked or self.waiting)


def examine(plan: Plan, run: Path, verified: Verified | None = None) -> Examination:
    """Which tasks of `plan` are finished in `run`: stored, whole, and made from what is stored now.

    With `verified`, outputs that changed since they were last checked are hashed; without it, sizes alone are compared.

    Raises:
        StoreError: something that is not ours stands in the place of what the plan writes.
    """
    store = Store(run / "store")
    stored, damaged = _stored_records(plan, store)
    wrong = verified.wrong_outputs(stored) if verified is not None else {}
    records: dict[str, Record] = {}
    for task in plan:
        fingerprint = plan.fingerprints[task.name]
        if fingerprint in wrong:
            damaged[task.name] = wrong[fingerprint]
        elif fingerprint in stored and _is_current(stored[fingerprint], task, plan, records):
            records[task.name] = stored[fingerprint]
    store.check_free(f for name, f in plan.fingerprints.items() if name not in records)
    check_free(run, plan)
    said = tuple(f"{what}: {name!r} is computed again" for name, what in damaged.items())
    old = set(read_plan(run).get("fingerprints", {}).values())
    return Examination(records, said, len(plan) - len(records), len(old - set(plan.fingerprints.values())))


def _stored_records(plan: Plan, store: Store) -> tuple[dict[str, Record], dict[str, str]]:
    """The stored records of `plan` by fingerprint, and what is wrong with the others by task."""
    stored = store.fingerprints()
    records: dict[str, Record] = {}
    damaged: dict[str, str] = {}
    for name, fingerprint in plan.fingerprints.items():
        if fingerprint in stored and fingerprint not in records:
            record, wrong = store.find(fingerprint)
            if record is None:
                damaged[name] = wrong
            else:
                records[fingerprint] = record
    return records, damaged


def _is_current(record: Record, task: Task, plan: Plan, records: Mapping[str, Record]) -> bool:
    for need in task.needs:
        producer = records.get(need.task)
        if producer is None or need.name not in producer.outputs:
            return False
        if record.inputs.get(f"{plan.fingerprints[need.task]}/{need.name}") != producer.outputs[need.name].sha256:
            return False
    return True


def write_plan(run: Path, plan: Plan, about: Mapping[str, Any]) -> None:
    """Replace plan.json: `about` (name, spec, command), and each task's fingerprint, amount and tables."""
    large = {
        "tasks": len(plan),
        "fingerprints": plan.fingerprints,
        "functions": {t.name: t.function.name for t in plan},
        "amounts": {t.name: [t.amount, t.noun] for t in plan},
        "publish": {t.name: dict(t.publish) for t in plan if t.publish},
    }
    # What a person may want to read is laid out; 100,000 fingerprints are a line (a fifth of the time).
    lines = [f"{json.dumps(k)}: {json.dumps(v, indent=1)}" for k, v in as_plain(about).items() if k not in large]
    lines += [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in large.items()]
    write_file(run, PLAN, seal.PLAN.close(("{\n" + ",\n".join(lines)).encode()))


class Driver:
    """Runs what of a plan is not finished.

    Args:
        plan: the plan.
        run: the run folder, which the caller has locked.
        examination: what of the plan is finished, as `examine` says.
        make_pool: called once, and only when something has to run.
        limits: when to give up.
        listen: told of a `Snapshot` about every second.
        only: the tasks to run, with what they need of what is not finished; all others wait. None: all.
        verified: which files were found whole, as `examine` left it; by default read from the run folder.
    """

    def __init__(
        self,
        plan: Plan,
        run: Path,
        examination: Examination,
        make_pool: Callable[[], Pool],
        limits: Limits | None = None,
        listen: Callable[[Snapshot], None] = lambda snapshot: None,
        only: Collection[str] | None = None,
        verified: Verified | None = None,
    ) -> None:
        self._plan = plan
        self._run = run
        self._make_pool = make_pool
        self._limits = limits or Limits()
        self._listen = listen
        self._store = Store(run / "store")
        self._records = dict(examination.records)
        self._reused = list(examination.records)
        self._ran: list[str] = []
        self._failures: dict[str, Failure] = {}
        self._began: dict[str, float] = {}
        self._said = 0.0
        finished = examination.records.keys()
        asked = plan.tasks.keys() if only is None else plan.needed_by(only, finished) | finished
        self._waiting = tuple(name for name in plan.tasks if name not in asked)
        tasks = [task for task in plan if task.name in asked]
        nodes = (Node(t.name, tuple(dict.fromkeys(n.task for n in t.needs)), t.affinity) for t in tasks)
        self._schedule = Schedule(nodes, examination.records, self._limits.attempts)
        self._progress = Progress(tasks, time.monotonic())
        for name, record in examination.records.items():
            self._progress.reused(name, record.seconds)
        self._verified = verified or Verified(run)
        self._saved = time.monotonic()
        self._publication = Publication(run, plan, self._store, self._verified)

    def run(self, rerun: Callable[[str], str] = lambda task: "") -> Outcome:
        """Run to the end; `rerun` gives the line that tries a failed task again.

        What finished before a Ctrl-C or an error of the pool stays, published.
        """
        self._store.prepare()
        _clear_left(self._run)
        self._publication.settle(self._records)
        try:
            if not self._schedule.finished:
                self._work()
        except BaseException:
            # What stopped the run matters more than what stops its publication, such as a disk that is still full.
            with suppress(StoreError):
                self._publish(rerun)
            raise
        self._publish(rerun)
        blocked = tuple(self._schedule.names(BLOCKED))
        failures = tuple(self._failures.values())
        return Outcome(tuple(self._ran), tuple(self._reused), failures, blocked, self._waiting, self._records)

    def _publish(self, rerun: Callable[[str], str]) -> None:
        self._publication.settle(self._records)
        # What failed before and was not asked for now has failed still.
        before = self._publication.failures() if self._waiting else []
        still = [f for f in before if f.task in self._waiting]
        self._publication.summarise(self._records, [*self._failures.values(), *still], rerun)
        self._verified.save()

    def _work(self) -> None:
        with heard_interrupts() as raise_again:
            self._work_with(self._make_pool(), raise_again)

    def _work_with(self, pool: Pool, raise_again: Callable[[], None]) -> None:
        try:
            while True:
                raise_again()
                self._hand_out(pool)
                if self._schedule.finished:
                    break
                event = pool.next_event(_TICK)
                if event is not None:
                    self._take_in(event)
                self._kill_hung(pool)
                self._tell(len(pool.workers))
        finally:
            pool.close()
            with suppress(StoreError):
                self._tell(1, always=True)

    def _hand_out(self, pool: Pool) -> None:
        for depth in range(1, pool.depth + 1):
            for worker in pool.workers:
                while len(self._schedule.running_on(worker)) < depth:
                    name = self._schedule.take(worker)
                    if name is None:
                        break
                    if self._still_valid(name):
                        continue
                    self._began.setdefault(worker, time.monotonic())
                    pool.submit(worker, self._call(self._plan.tasks[name]))

    def _still_valid(self, name: str) -> bool:
        # An input was computed again and came out the same: what was made from the old one stands.
        fingerprint = self._plan.fingerprints[name]
        record, _ = self._store.find(fingerprint)
        if record is None or not _is_current(record, self._plan.tasks[name], self._plan, self._records):
            return False
        if self._verified.wrong_output(fingerprint, record):
            return False
        self._records[name] = record
        self._reused.append(name)
        self._schedule.succeeded(name)
        self._progress.reused(name, record.seconds)
        self._publication.add(name, record)
        return True

    def _take_in(self, event: Event) -> None:
        match event:
            case Finished(worker, task, record):
                self._restart_clock(worker)
                self._records[task] = record
                self._ran.append(task)
                self._schedule.succeeded(task)
                self._progress.finished(task, record.seconds)
                self._verified.note_outputs(self._plan.fingerprints[task], record)
                self._publication.add(task, record)
                if record.shrunk:
                    log.warning("%s ran out of device memory and went on with %s", task, dict(record.shrunk))
            case Raised(worker, task):
                self._restart_clock(worker)
                if event.error_type == StoreError.__name__:
                    raise StoreError(event.message)  # a full or vanished disk: every other task would fail too
                if not self._reopen(event):
                    self._schedule.raised(task)
                    self._give_up(task, event.error_type, event.message, event.trace)
            case Died(worker, reason):
                self._began.pop(worker, None)
                loss = self._schedule.lost(worker)
                log.warning("%s is gone (%s); again: %s", worker, reason, ", ".join(loss.again) or "nothing")
                for task in loss.given_up:
                    message = f"It lost its worker {self._limits.attempts} times; the last time: {reason}"
                    self._give_up(task, "WorkerLost", message, reason)

    def _restart_clock(self, worker: str) -> None:
        self._began.pop(worker, None)
        if len(self._schedule.running_on(worker)) > 1:
            self._began[worker] = time.monotonic()

    def _reopen(self, event: Raised) -> bool:
        damaged = set(event.damaged)
        producers = [n for n in self._needed_by(event.task) if self._plan.fingerprints[n] in damaged]
        if not producers:
            return False
        for producer in producers:
            log.warning("%s; %r is computed again", event.message, producer)
            self._store.discard(self._plan.fingerprints[producer])
            self._records.pop(producer, None)
            self._progress.reopened(producer)
        for producer in self._schedule.reopen(event.task, producers):
            self._give_up(producer, event.error_type, event.message, event.trace)
        return True

    def _needed_by(self, task: str) -> list[str]:
        return list(dict.fromkeys(n.task for n in self._plan.tasks[task].needs))

    def _give_up(self, task: str, error_type: str, message: str, trace: str) -> None:
        function = self._plan.tasks[task].function.name
        attempts = self._schedule.attempts[task]
        self._failures[task] = Failure(task, function, attempts, error_type, message, trimmed(trace))
        log.error("%s gave up: %s: %s", task, error_type, message)

    def _kill_hung(self, pool: Pool) -> None:
        for worker, began in list(self._began.items()):
            if time.monotonic() - began > self._limits.task_seconds:
                pool.kill(worker, f"no answer within {self._limits.task_seconds:g} s")
                self._began.pop(worker)

    def _tell(self, workers: int, always: bool = False) -> None:
        now = time.monotonic()
        running = sum(len(self._schedule.running_on(w)) for w in self._began)
        failed = self._schedule.names(FAILED) if self._schedule.count(FAILED) else []
        blocked = self._schedule.names(BLOCKED) if self._schedule.count(BLOCKED) else []
        snapshot = self._progress.snapshot(now, running, workers, failed, blocked)
        self._listen(snapshot)
        if always or now - self._said > _HEARTBEAT:
            self._said = now
            write_heartbeat(self._run, snapshot)
        if now - self._saved > _SAVE:
            self._verified.save()
            self._saved = time.monotonic()

    def _call(self, task: Task) -> Call:
        return Call(
            task=task.name,
            function=task.function.code,
            fingerprint=self._plan.fingerprints[task.name],
            parameters=as_plain(task.parameters),
            inputs={k: tuple(self._reference(o) for o in sequence(v)) for k, v in task.inputs.items()},
            resources={k: self._resource(r) for k, r in task.resources.items()},
            shrink=task.shrink,
            attempt=self._schedule.attempts[task.name],
        )

    def _resource(self, resource: Resource) -> ResourceCall:
        return ResourceCall(
            key=self._plan.resource_key(resource),
            loader=resource.loader,
            parameters=as_plain(resource.parameters),
            location=as_plain(resource.location),
            inputs={name: self._reference(output) for name, output in resource.inputs.items()},
        )

    def _reference(self, output: Output) -> tuple[str, str]:
        return self._plan.fingerprints[output.task], output.name


def prune(run: Path) -> tuple[int, int, int]:
    """Remove from the store what the plan of `run` does not name.

    Returns how many folders went, their bytes, and how many stay because something is in them that no record names.
    The caller has locked the folder.

    Raises:
        StoreError: the folder holds no run.
        CorruptError: plan.json was changed after it was written: what it names is not what the run needs.
    """
    with explaining(run):
        if seal.PLAN.is_broken(read_file(run / PLAN)):
            raise CorruptError(
                f"{run}/{PLAN} was changed after it was written, so nothing is removed. Run the spec again: it is "
                "written anew."
            )
    store, verified = Store(run / "store"), Verified(run)
    gone = store.fingerprints() - set(owned_plan(run)["fingerprints"].values())
    size = sum(store.discard(fingerprint) for fingerprint in sorted(gone))
    verified.forget_outputs(gone)
    verified.save()
    kept = len(store.fingerprints() & gone)
    return len(gone) - kept, size, kept


def _clear_left(run: Path) -> None:
    """Remove the temporary files that a killed process left; from the folder itself, where reports are written too,
    only those that nobody can be writing any more. (The store and the tables see to their own.)
    """
    with explaining(run):
        with opened(run) as folder:
            clear_temporaries(folder, time.time() - _OLD)
        with suppress(FileNotFoundError), opened(run, "live") as folder:
            clear_temporaries(folder)
