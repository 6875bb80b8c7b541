"""The driver: examines what is finished, hands out what is not, and publishes what comes back."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from intriguing.basics.folders import seal
from intriguing.basics.folders.files import explaining
from intriguing.basics.folders.folder import Place, folder_at
from intriguing.basics.process.garbage import collected_later
from intriguing.basics.process.patience import meanwhile, telling
from intriguing.engine.dispatch import Dispatch
from intriguing.engine.examination import Examination, is_current
from intriguing.engine.interrupts import Interrupts, heard_interrupts
from intriguing.engine.live import Live
from intriguing.engine.pools.pool import Died, Event, Finished, Joined, Left, Pool, Raised, Returned
from intriguing.engine.progress.progress import Progress, Snapshot
from intriguing.engine.schedule import BLOCKED, DONE, FAILED, READY, RUNNING, Node, Schedule
from intriguing.engine.storage.ledger import Ledger, Row
from intriguing.engine.storage.ownership import LOCK, PLAN, owned_plan
from intriguing.engine.storage.publish import Failure, Publication, trimmed
from intriguing.engine.storage.store import Record, as_plain
from intriguing.engine.storage.verified import Verified
from intriguing.engine.task import Output, Plan, Resource, Task, sequence
from intriguing.engine.worker import MORE_MEMORY, Call, Damage, ResourceCall, store_of
from intriguing.errors import CorruptError, StoreError

log = logging.getLogger(__name__)

_TICK = 1.0
_HEARTBEAT = 2.0
_SAVE = 60.0
_OLD = 600.0
_MOST_RESENT = 10


@dataclass(frozen=True)
class Limits:
    """When to give up: attempts of a task whose worker is lost, and seconds after which a task counts as hung."""

    attempts: int = 3
    task_seconds: float = 3600.0


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


def write_plan(run: Place, plan: Plan, about: Mapping[str, Any]) -> None:
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
    folder_at(run).write(PLAN, seal.PLAN.close(("{\n" + ",\n".join(lines)).encode()))


class Driver:
    """Runs what of a plan is not finished.

    Args:
        plan: the plan.
        run: the run folder, which the caller has locked.
        examination: what of the plan is finished, as `examine` says.
        make_pool: called once, and only when something has to run.
        limits: when to give up.
        listen: told of a `Snapshot` about every second; by another thread while a task runs in this one.
        only: the tasks to run, with what they need of what is not finished; all others wait. None: all.
        remark: called about every second between two tasks.
    """

    @collected_later()
    def __init__(
        self,
        plan: Plan,
        run: Place,
        examination: Examination,
        make_pool: Callable[[], Pool],
        limits: Limits | None = None,
        listen: Callable[[Snapshot], None] = lambda snapshot: None,
        only: Collection[str] | None = None,
        remark: Callable[[], None] = lambda: None,
    ) -> None:
        self._plan = plan
        self._run = run
        self._make_pool = make_pool
        self._limits = limits or Limits()
        self._listen = listen
        self._remark = remark
        self._store = store_of(run)
        self._records = Ledger(examination.records)
        self._reused = list(examination.records)
        self._ran: list[str] = []
        self._failures: dict[str, Failure] = {}
        self._told = self._due = self._heard = 0.0
        self._failures_told = 0
        self._trouble = ""
        finished = examination.records.keys()
        asked = plan.tasks.keys() if only is None else plan.needed_by(only, finished) | finished
        self._waiting = tuple(name for name in plan.tasks if name not in asked)
        tasks = {t.name: t for t in plan if t.name in asked} if self._waiting else plan.tasks
        nodes = (Node(t.name, tuple(dict.fromkeys(n.task for n in t.needs)), t.affinity) for t in tasks.values())
        self._schedule = Schedule(nodes, examination.records, self._limits.attempts)
        self._progress = Progress(tasks, time.monotonic())
        self._live = Live(run, self._schedule)
        for name in examination.records:
            self._progress.reused(name, self._records.seconds(name))
        self._verified = examination.verified or Verified(run)
        self._publication = Publication(run, plan, self._store, self._verified)
        # The order of what was sent and what was made anew: a report that is older than a repair is no news.
        self._turn = 0
        self._stale = set(examination.stale)
        self._sent: dict[str, int] = {}
        self._mended: dict[str, int] = {}
        self._resent: Counter[str] = Counter()

    def run(self, rerun: Callable[[str], str] = lambda task: "") -> Outcome:
        """Run to the end; `rerun` gives the line that tries a failed task again.

        What finished before a Ctrl-C or an error of the pool stays, published.
        """
        self._rerun = rerun
        self._store.prepare()
        _clear_left(self._run)
        self._put_in_order()
        self._due = time.monotonic() + _SAVE
        if not self._schedule.finished:
            self._work()
            self._put_in_order()
        self._summarise()
        blocked = tuple(self._schedule.names(BLOCKED))
        failures = tuple(self._failures.values())
        return Outcome(tuple(self._ran), tuple(self._reused), failures, blocked, self._waiting, self._records)

    def _put_in_order(self) -> None:
        with telling("putting the tables in order"):
            self._publication.settle(self._records)

    def _summarise(self) -> None:
        with telling("writing the list of tasks"):
            self._publication.summarise(self._records, self._known_failures(), self._rerun)
            self._verified.save(self._finished())

    def _finished(self) -> Iterator[tuple[str, Row]]:
        return ((self._plan.fingerprints[task], self._records.row(task)) for task in self._records)

    def _known_failures(self) -> list[Failure]:
        # What failed before and was not asked for now has failed still.
        before = self._publication.failures() if self._waiting else []
        waiting = set(self._waiting)
        return [*self._failures.values(), *(f for f in before if f.task in waiting)]

    def _work(self) -> None:
        with heard_interrupts() as interrupts, ExitStack() as stack:
            try:
                pool = self._make_pool()
                stack.callback(self._end, pool)
                self._work_with(pool, interrupts)
            except BaseException:
                # First of all: little time may be left. What stopped the run matters more than what stops its
                # publication, such as a disk that is still full.
                with suppress(StoreError):
                    self._put_in_order()
                    self._summarise()
                raise

    def _end(self, pool: Pool) -> None:
        pool.close()
        with suppress(StoreError):
            self._heard = 0.0
            self._tell(pool)

    def _work_with(self, pool: Pool, interrupts: Interrupts) -> None:
        send = partial(self._send, pool)
        self._dispatch = dispatch = Dispatch(self._schedule, pool, self._progress.seconds_of, send)
        pool.want(self._schedule.count(READY))
        while True:
            interrupts.raise_again()
            if interrupts.is_draining and not dispatch.draining:
                dispatch.draining = True
                log.warning("asked to leave: what runs is finished, nothing more is begun")
            dispatch.offer()
            if self._schedule.finished:
                break
            if dispatch.draining and (not self._schedule.count(RUNNING) or interrupts.is_time_up):
                raise KeyboardInterrupt
            with meanwhile(lambda: self._show(self._look(pool), pool), _TICK, _TICK) if pool.silent else nullcontext():
                events = pool.events(_TICK)
            for event in events:
                self._take_in(event, pool)
            self._tick(pool)

    def _tick(self, pool: Pool) -> None:
        """What is done once a second, and not at every event."""
        now = time.monotonic()
        if now - self._told < _TICK:
            return
        pool.want(self._schedule.count(READY) + self._schedule.count(RUNNING))
        self._dispatch.take_back()
        self._dispatch.kill_hung(self._limits.task_seconds)
        self._tell(pool)

    def _send(self, pool: Pool, worker: str, task: str) -> None:
        if task in self._stale and self._still_valid(task):
            return
        pool.submit(worker, self._call(self._plan.tasks[task]))
        self._turn += 1
        self._sent[task] = self._turn

    def _still_valid(self, name: str) -> bool:
        # An input was computed again and came out the same: what was made from the old one stands.
        self._stale.discard(name)
        fingerprint = self._plan.fingerprints[name]
        record, _ = self._store.find(fingerprint)
        if record is None or not is_current(record, self._plan.tasks[name], self._plan, self._records):
            return False
        if self._verified.wrong_output(fingerprint, record):
            return False
        self._records[name] = record
        self._reused.append(name)
        self._schedule.succeeded(name)
        self._progress.reused(name, record.seconds)
        self._publication.add(name, record)
        return True

    def _take_in(self, event: Event, pool: Pool) -> None:
        match event:
            case Finished(worker, task, record):
                self._finish(worker, task, record)
                self._dispatch.freed(worker)
            case Raised(worker, task):
                if event.error_type == StoreError.__name__:
                    self._leave_node(event, pool)
                elif event.damaged:
                    self._send_back(event)
                else:
                    self._give_up(task, event.error_type, event.message, event.trace)
                self._dispatch.freed(worker)
            case Returned(worker, task):
                self._schedule.returned(task)
                self._dispatch.freed(worker)
            case Died():
                self._lose(event)
            case Joined(worker):
                self._dispatch.joined(worker)
            case Left(worker):
                self._dispatch.left(worker)

    def _finish(self, worker: str, task: str, record: Record) -> None:
        self._records[task] = record
        self._ran.append(task)
        self._sent.pop(task, None)
        if task in self._mended:
            self._turn += 1
            self._mended[task] = self._turn
        self._schedule.succeeded(task)
        self._progress.finished(task, record.seconds)
        self._live.finished(worker, task, record.seconds, record.device)
        self._verified.note_outputs(self._plan.fingerprints[task], record)
        self._publication.add(task, record)
        if record.shrunk:
            log.warning("%s ran out of memory and went on with %s", task, dict(record.shrunk))

    def _leave_node(self, event: Raised, pool: Pool) -> None:
        """A worker could not write: that costs its machine, unless the driver cannot write either."""
        self._store.probe()
        self._schedule.returned(event.task)
        if not pool.exclude(event.worker, event.message):
            raise StoreError(event.message)

    def _lose(self, event: Died) -> None:
        self._dispatch.gone(event.worker)
        loss = self._schedule.lost(event.worker, event.cause == "memory", charged=event.cause != "freed")
        level = logging.INFO if event.cause == "freed" and not loss.again else logging.WARNING
        log.log(level, "%s is gone (%s); again: %s", event.worker, event.reason, ", ".join(loss.again) or "nothing")
        for task in loss.given_up:
            attempts = self._limits.attempts
            times = "once" if attempts == 1 else f"{attempts} times"
            always_memory = self._schedule.memory_kills_of(task) == attempts
            what = "Its machine ran out of memory" if always_memory else "It lost its worker"
            said = f"{what} {times}{'; the last time' * (attempts > 1)}: {event.reason}"
            said += f". To give it more memory, {MORE_MEMORY}" if always_memory else ""
            self._note_failure(task, "WorkerLost", said, event.reason)

    def _send_back(self, event: Raised) -> None:
        """A task could not read an input: its producer runs again, unless that was mended since the task was sent."""
        damaged = {damage.fingerprint: damage for damage in event.damaged}
        needed = dict.fromkeys(need.task for need in self._plan.tasks[event.task].needs)
        producers = {n: d for n in needed if (d := damaged.get(self._plan.fingerprints[n])) is not None}
        for producer, damage in producers.items():
            if self._schedule.state_of(producer) == DONE and self._is_damaged(producer, damage, event.task):
                self._make_anew(producer, event)
        self._resent[event.task] += 1
        if self._resent[event.task] > _MOST_RESENT * self._limits.attempts:
            self._give_up(event.task, event.error_type, event.message, event.trace)
        else:
            self._schedule.sent_back(event.task)

    def _is_damaged(self, producer: str, damage: Damage, reader: str) -> bool:
        """Whether what `producer` stored is damaged now, as `reader` says that it was."""
        if self._mended.get(producer, -1) > self._sent.get(reader, 0):
            return False
        record = self._records[producer]
        if damage.sha256 in {stored.sha256 for stored in record.outputs.values()}:
            return False  # the reader had an older record: what it read is what stands there by now
        fingerprint = self._plan.fingerprints[producer]
        self._verified.forget_record(fingerprint, record)
        return self._store.find(fingerprint)[0] is None or bool(self._verified.wrong_output(fingerprint, record))

    def _make_anew(self, producer: str, event: Raised) -> None:
        log.warning("%s; %r is computed again", event.message, producer)
        self._store.discard(self._plan.fingerprints[producer])
        self._records.pop(producer, None)
        self._publication.withdraw(producer)
        self._progress.reopened(producer)
        self._mended[producer] = -1
        if not self._schedule.reopen(producer):
            self._note_failure(producer, event.error_type, event.message, event.trace)

    def _give_up(self, task: str, error_type: str, message: str, trace: str) -> None:
        self._schedule.raised(task)
        self._note_failure(task, error_type, message, trace)

    def _note_failure(self, task: str, error_type: str, message: str, trace: str) -> None:
        function = self._plan.tasks[task].function.name
        attempts = self._schedule.attempts_of(task)
        self._failures[task] = Failure(task, function, attempts, error_type, message, trimmed(trace))
        log.error("%s gave up: %s: %s", task, error_type, message)

    def _look(self, pool: Pool) -> Snapshot:
        """Where the run stands."""
        for task in self._schedule.new_given_up():
            self._progress.gave_up(task)
        failed, blocked = self._schedule.count(FAILED), self._schedule.count(BLOCKED)
        running = self._schedule.count(RUNNING)
        busy = tuple((task, node, seconds) for task, _, node, seconds, _ in self._live.busy(pool, self._dispatch))
        return self._progress.snapshot(time.monotonic(), running, len(pool.workers), failed, blocked, busy)

    def _show(self, snapshot: Snapshot, pool: Pool) -> None:
        """Show where the run stands; every few seconds also in a file, for `intriguing status`."""
        self._listen(snapshot)
        if (now := time.monotonic()) - self._heard > _HEARTBEAT:
            self._heard = now
            with self._going_on():
                self._live.write(snapshot, pool, self._dispatch, list(self._failures.values()))

    def _tell(self, pool: Pool) -> None:
        """What is told and put in order between two tasks."""
        self._told = now = time.monotonic()
        snapshot = self._look(pool)
        self._show(snapshot, pool)
        self._remark()
        pool.report(snapshot)
        with self._going_on():
            self._tell_failures()
        if now > self._due:
            with self._going_on():
                self._publication.compact(self._records)
            self._verified.save(self._finished())
            # In a large run this takes seconds: at most a fiftieth of the time goes into it.
            self._due = time.monotonic() + max(_SAVE, 50 * (time.monotonic() - now))

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """What is told and compacted on the way is done again at the end: an error there does not end the run."""
        try:
            yield
        except StoreError as error:
            if str(error) != self._trouble:
                log.warning("%s; the run goes on", str(error).rstrip("."))
            self._trouble = str(error)

    def _tell_failures(self) -> None:
        if len(self._failures) > self._failures_told:
            self._publication.list_failures(self._known_failures(), self._rerun)
            self._failures_told = len(self._failures)

    def _call(self, task: Task) -> Call:
        return Call(
            task=task.name,
            function=task.function.code,
            fingerprint=self._plan.fingerprints[task.name],
            parameters=as_plain(task.parameters),
            inputs={k: tuple(self._reference(o) for o in sequence(v)) for k, v in task.inputs.items()},
            resources={k: self._resource(r) for k, r in task.resources.items()},
            shrink=task.shrink,
            # Its first loss for memory may have been its neighbours' fault.
            halvings=max(0, self._schedule.memory_kills_of(task.name) - 1),
            attempt=self._schedule.attempts_of(task.name),
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


def prune(run: Place) -> tuple[int, int, int]:
    """Remove from the store what the plan of `run` does not name.

    Returns how many folders went, their bytes, and how many stay because something is in them that no record names.
    The caller has locked the folder.

    Raises:
        StoreError: the folder holds no run.
        CorruptError: plan.json was changed after it was written: what it names is not what the run needs.
    """
    with explaining(run):
        if seal.PLAN.is_broken(folder_at(run).read(PLAN)):
            raise CorruptError(
                f"{run}/{PLAN} was changed after it was written, so nothing is removed. Run the spec again: it is "
                "written anew."
            )
    store, verified = store_of(run), Verified(run)
    gone = store.begun() - set(owned_plan(run)["fingerprints"].values())
    size = sum(store.discard(fingerprint) for fingerprint in sorted(gone))
    verified.forget_outputs(gone)
    verified.save()
    kept = len(store.begun() & gone)
    return len(gone) - kept, size, kept


def _clear_left(run: Place) -> None:
    """Remove the temporary files that a killed process left; from the folder itself, where reports are written too,
    only those that nobody can be writing any more. (The store and the tables see to their own.)

    The time is that of the disk or store, which this driver's lock was written at: clocks may differ.
    """
    folder = folder_at(run)
    with suppress(FileNotFoundError):
        folder.clear("", folder.look(LOCK)[1] / 1e9 - _OLD)
    folder.clear("live")
