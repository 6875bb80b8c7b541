"""The Ray pool: one actor per GPU, fraction of a GPU, or CPU.

Ray's own retries stay at 0: the scheduler counts attempts. Actors that see the run folder write what they compute, and
Ray carries receipts only; the others send their files with the answer. So a result on a lost node is in the store or is
computed again.

Machines are looked at every few seconds. Each gets as many actors as it holds and the ready tasks need; what the
machines that are up cannot hold is asked for by actors that no machine holds yet, which an autoscaler sees.
"""

import logging
import platform
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.experimental import internal_kv
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from intriguing.basics.folders.folder import Place, folder_at
from intriguing.engine.interrupts import kept_handlers
from intriguing.engine.paths import users_path
from intriguing.engine.pools.fleet import Fleet
from intriguing.engine.pools.last_words import Witness
from intriguing.engine.pools.losses import address_in, is_out_of_memory, last_line, report_loss
from intriguing.engine.pools.on_ray.actor import CarriedFiles, Worker, versions
from intriguing.engine.pools.on_ray.carried import Carried
from intriguing.engine.pools.on_ray.cluster import (
    abandon,
    answers,
    connect,
    in_time,
    largest_resources,
    machines,
    pending_machines,
)
from intriguing.engine.pools.on_ray.metrics import Metrics
from intriguing.engine.pools.pool import Died, Event, Finished, Joined, Left, Raised, Returned
from intriguing.engine.progress.progress import Snapshot
from intriguing.engine.sameness import difference, what_runs_here
from intriguing.engine.worker import Call, store_of
from intriguing.errors import ClusterError, StoreError

log = logging.getLogger(__name__)


_LOOK = 5.0
_SAY = 10.0
_IDLE = 120.0
_FEW = 16
_CLOSE = 10.0
_SILENT = 30.0
_LOCAL_START, _CLUSTER_START = 120.0, 900.0


@dataclass
class _Actor:
    """An actor as the driver sees it; `node` is "" until known, `log` unless on this machine; calls oldest first."""

    handle: Any
    node: str
    process: str = ""
    log: str = ""
    greeting: Any = None
    calls: dict[Any, str] = field(default_factory=dict)
    is_far: bool = False
    leaves_because: str = ""
    idle_since: float = 0.0


class RayPool:
    """Actors on the cluster that RAY_ADDRESS names, on one that runs on this machine, or on one that is started now.

    A cluster counts as running when it answers within 3 seconds, one that RAY_ADDRESS names within 15.

    Args:
        run: the run folder. Nodes that see it read and write it themselves.
        workers: at most how many actors; by default one per GPU, or per `gpus` of one, or per CPU where there is none.
        gpus: how much of a GPU each actor holds; by default 1 where the cluster has GPUs or can start some, else 0.
        start_timeout: seconds to wait for the first actor, and for one to come back when all are gone; by default 15
            minutes on a cluster, where machines may have to be set up first, and 2 on this machine.
        carry: whether inputs and results travel over Ray; by default where a node does not see the run folder.

    Raises:
        ClusterError: RAY_ADDRESS names a cluster that does not answer; from `events`, no worker could start in time, or
            none can.
    """

    depth = 2
    silent = False

    def __init__(
        self,
        run: Place,
        workers: int | None = None,
        gpus: float | None = None,
        start_timeout: float | None = None,
        carry: bool = False,
    ) -> None:
        self._run = folder_at(run.resolve() if isinstance(run, Path) else run)
        self._store = store_of(self._run)
        self._carry_always = carry
        self._carried = Carried(self._store)
        self._owns_ray, is_cluster = connect(workers)
        self._timeout = start_timeout or (_CLUSTER_START if is_cluster else _LOCAL_START)
        self._token = f".seen-by-{uuid.uuid4().hex}"
        self._run.write(self._token, b"")
        self._class = ray.remote(Worker)  # exported once: 1 ms an actor, not 60
        self._limit = workers
        self._gpus_are_given = gpus is not None
        self._fleet = Fleet(gpus or 0.0)
        self._actors: dict[str, _Actor] = {}
        self._greetings: dict[Any, str] = {}
        self._calls: dict[Any, str] = {}
        self._events: list[Event] = []
        self._wanted = 0
        self._spawned = 0
        self._looked = self._said = -1e9
        self._alive = self._answered = time.monotonic()
        self._metrics = Metrics(self._run.name)
        self._witness = Witness()
        ours = what_runs_here()
        log.info("workers must have %s", ", ".join(f"{name} {what}" for name, what in ours.items()))

    @property
    def workers(self) -> list[str]:
        """The actors that can be given a call."""
        return [name for name, actor in self._actors.items() if actor.greeting is None and not actor.leaves_because]

    def node_of(self, worker: str) -> str:
        """The machine of an actor."""
        actor = self._actors.get(worker)
        return actor.node if actor else ""

    def node_name(self, worker: str) -> str:
        """The host name of an actor's machine."""
        return self._fleet.name_of(self.node_of(worker))

    def submit(self, worker: str, call: Call) -> None:
        """Queue `call` on the actor, unless its end waits among the events."""
        actor = self._actors.get(worker)
        if actor is None:
            return
        if actor.is_far:
            needed = call.needs
            files = [self._carried.reference(fingerprint, call.outputs_of(fingerprint)) for fingerprint in needed]
            ref = actor.handle.run_carried.remote(call, needed, *files)
        else:
            ref = actor.handle.run.remote(call)
        actor.calls[ref] = call.task
        self._calls[ref] = worker

    def events(self, timeout: float) -> list[Event]:
        """Wait for answers, losses and new actors, and give all that there are."""
        if time.monotonic() - self._looked >= _LOOK:
            self._look()
        for ref in self._ready(0.0 if self._events else timeout):
            if ref in self._greetings:
                self._greet(ref)
            elif ref in self._calls:
                self._answer(ref)
        self._check_alive()
        events, self._events = self._events, []
        return events

    def recall(self, worker: str, task: str) -> None:
        """Take a queued call back. Ray drops it only when its turn comes, so that is not waited for.

        Should it have begun this very moment, it is run twice: what is stored is the same.
        """
        actor = self._actors.get(worker)
        for ref in [ref for ref, held in actor.calls.items() if held == task] if actor else ():
            ray.cancel(ref)
            self._events.append(Returned(worker, self._forget(ref)))

    def want(self, tasks: int) -> None:
        """Let there be an actor for each of `tasks`, as far as machines and `workers` allow."""
        grows = tasks > self._wanted and len(self._actors) < tasks
        self._wanted = tasks
        if grows and (not self._actors or time.monotonic() - self._looked > 1.0):
            self._look()

    def beat(self, worker: str) -> str:
        """What the actor last left as a sign of life."""
        return (internal_kv._internal_kv_get(self._key(worker)) or b"").decode() if answers() else ""

    def exclude(self, worker: str, reason: str) -> bool:
        """End all actors on the machine of `worker`, and start none there any more."""
        if worker not in self._actors:
            return True  # it was ended with its machine's others
        node = self.node_of(worker)
        self._fleet.exclude(node, reason)
        if not self._fleet.hopeful:
            return False
        log.error("%s is left out: %s", self._fleet.name_of(node), reason)
        for name in [name for name, actor in self._actors.items() if actor.node == node]:
            self._bury(name, f"on {self._fleet.name_of(node)}, which is left out: {reason}", "freed")
        self._looked = -1e9
        return True

    def report(self, snapshot: Snapshot) -> None:
        """Give the counts to Ray's metrics, which Prometheus reads."""
        self._metrics.report(snapshot, len(self.workers))

    def kill(self, worker: str, reason: str) -> None:
        """End the actor at once; another takes its place."""
        if worker not in self._actors:
            return
        self._bury(worker, f"on {self._fleet.name_of(self.node_of(worker))}: {reason}", "lost")

    def close(self) -> None:
        """End the actors, and Ray if it was started here; where it does not answer any more, leave it."""
        with suppress(StoreError):
            self._run.remove("", [self._token])
        if not in_time(self._end_actors, _CLOSE):
            log.warning("Ray does not answer: its actors are left to end by themselves")
            abandon()
        elif self._owns_ray:
            with kept_handlers():
                ray.shutdown()
        self._actors.clear()

    def _end_actors(self) -> None:
        for actor in self._actors.values():
            ray.kill(actor.handle)
        internal_kv._internal_kv_del(self._key(""), del_by_prefix=True)

    def _key(self, worker: str) -> str:
        return f"intriguing{self._token}/{worker}"

    def _ready(self, timeout: float) -> list[Any]:
        """The calls and greetings that ended, in the order in which they were made."""
        waiting = [*self._greetings, *self._calls]
        if not waiting:
            time.sleep(min(timeout, 0.1))
            return []
        ready, _ = ray.wait(waiting, num_returns=1, timeout=timeout)
        if not ready:
            return []
        if len(waiting) > _FEW:  # a look costs as much for one as for all: a moment later there are more
            time.sleep(min(0.05, 2e-5 * len(waiting)))
        return ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]

    def _look(self) -> None:
        """See which machines there are, and start or end actors accordingly."""
        self._looked = now = time.monotonic()
        if not answers():
            if now - self._answered > _SILENT:
                raise ClusterError(
                    f"The cluster's head has not answered for {now - self._answered:.0f} s. What is finished is kept: "
                    "start the cluster again, then give the same command again."
                )
            return
        self._answered = now
        self._fleet.see(machines())
        self._decide_gpus()
        self._let_go()
        target = max(1, self._wanted) if self._limit is None else min(self._limit, max(1, self._wanted))
        staying = {name: actor for name, actor in self._actors.items() if not actor.leaves_because}
        held = Counter(actor.node for actor in staying.values())
        for name in [n for n, a in staying.items() if a.greeting is not None and self._is_misplaced(a, held, target)]:
            held[self._actors[name].node] -= 1
            self._drop(name)
        missing = target - held.total()
        for node in self._fleet.room(held):
            if missing <= 0:
                return
            self._spawn(node)
            missing -= 1
        # What no machine holds: an autoscaler starts machines for actors that wait, up to as many as there are.
        for _ in range(min(missing, max(1, self._fleet.size) - held[""])):
            self._spawn("")

    def _is_misplaced(self, actor: _Actor, held: Mapping[str, int], target: int) -> bool:
        """Whether an actor that has not started waits in vain: its machine is gone or full, or it is not needed."""
        if not actor.node:
            return sum(held.values()) > target
        machine = self._fleet.machines.get(actor.node)
        if machine is None or actor.node in self._fleet.excluded:
            return True
        return held[actor.node] > machine.fits(self._fleet.gpus)

    def _decide_gpus(self) -> None:
        """Ask for GPUs once there are any, or an autoscaler can start some: none yet is not none."""
        if self._gpus_are_given or self._fleet.gpus:
            return
        if any(m.gpus >= 1 for m in self._fleet.machines.values()) or largest_resources().get("GPU"):
            self._fleet.gpus = 1.0
            for name in [name for name, actor in self._actors.items() if not actor.leaves_because]:
                self._leave(name, "workers with a GPU take its place")

    def _let_go(self) -> None:
        """End the actors that were told to leave and are done, and tell others: their machine leaves, or they idle.

        Telling and ending are two looks: what the driver hands out before it hears of the leaving is still run.
        """
        now = time.monotonic()
        for name in [name for name, actor in self._actors.items() if actor.leaves_because and not actor.calls]:
            self._end(name, self._actors[name].leaves_because, "freed")
        spare = len(self.workers) - max(1, self._wanted)
        for name, actor in list(self._actors.items()):
            machine = self._fleet.machines.get(actor.node)
            is_idle = actor.greeting is None and not actor.calls and now - actor.idle_since > _IDLE
            if actor.leaves_because:
                continue
            if machine is not None and machine.leaving:
                self._leave(name, "its machine leaves")
            elif spare > 0 and is_idle:
                spare -= 1
                self._leave(name, "it had nothing to do")

    def _leave(self, name: str, why: str) -> None:
        if self._actors[name].greeting is not None:
            self._drop(name)  # nobody knows of it yet
            return
        self._actors[name].leaves_because = why
        self._events.append(Left(name))

    def _spawn(self, node: str) -> None:
        name = f"worker-{self._spawned}"
        self._spawned += 1
        strategy = NodeAffinitySchedulingStrategy(node, soft=False) if node else "SPREAD"
        options = {"num_cpus": 1, "num_gpus": self._fleet.gpus, "max_restarts": 0, "max_task_retries": 0}
        made = self._class.options(**options, scheduling_strategy=strategy)  # type: ignore[attr-defined]
        actor = _Actor(made.remote(name, self._run, users_path(), self._key(name)), node)
        actor.greeting = actor.handle.hello.remote(self._token)
        self._actors[name] = actor
        self._greetings[actor.greeting] = name

    def _greet(self, ref: Any) -> None:
        name = self._greetings.pop(ref)
        actor = self._actors[name]
        try:
            hello = _fetch(ref)
        except Exception as error:  # Ray's, or what an import on that machine raised
            self._failed_to_start(name, error)
            return
        actor.greeting, actor.idle_since = None, time.monotonic()
        actor.node, actor.process = hello["node"], hello["pid"]
        actor.log = hello["log"] if hello["host"] == platform.node() else ""
        differs = difference(hello, versions())
        if differs or actor.node in self._fleet.excluded:
            self._drop(name)
            if differs and actor.node not in self._fleet.excluded:
                log.error("%s is left out: it has %s; install the same everywhere", hello["host"], differs)
                self._fleet.exclude(actor.node, f"it has {differs}: install the same everywhere")
            return
        self._fleet.started(actor.node)
        if self._carry_always or not hello["sees_run"]:
            actor.is_far = True
            log.info("%s does not see %s: inputs and results travel over Ray", hello["host"], self._run)
        log.info("%s runs on %s (process %s)", name, hello["host"], hello["pid"])
        self._events.append(Joined(name))

    def _failed_to_start(self, name: str, error: Exception) -> None:
        text = str(error)
        node = self._actors[name].node or self._fleet.at(address_in(text))
        self._drop(name)
        if node and node not in self._fleet.machines:
            return  # it left meanwhile
        where, why = self._fleet.name_of(node) or "a machine", last_line(text)
        if is_out_of_memory(error):
            log.warning("a worker could not start on %s, which is short of memory", where)
            self._fleet.rest(node)
            return
        log.warning("a worker could not start on %s (%s)", where, why)
        if node not in self._fleet.excluded and self._fleet.failed_to_start(node, f"no worker could start ({why})"):
            log.error("%s is left out: no worker could start there (%s)", where, why)

    def _answer(self, ref: Any) -> None:
        worker = self._calls[ref]
        actor = self._actors[worker]
        try:
            answered = _fetch(ref)
        except Exception as error:  # all that is no answer of the task's own: Ray's errors, and answers it cannot read
            self._lose(worker, error)
            return
        task = self._forget(ref)
        actor.idle_since = time.monotonic()
        if isinstance(answered, tuple):
            answered = self._adopt(worker, task, *answered)
        self._events.append(answered)

    def _adopt(self, worker: str, task: str, event: Finished | Raised, written: CarriedFiles) -> Finished | Raised:
        for fingerprint, files in written.items():  # a StoreError here is the driver's own, and ends the run
            first = self._store.adopt(fingerprint, files)
            event = replace(event, record=first) if first is not None and isinstance(event, Finished) else event
        self._carried.forget({d.fingerprint for d in event.damaged} if isinstance(event, Raised) else set(written))
        return event

    def _forget(self, ref: Any) -> str:
        return self._actors[self._calls.pop(ref)].calls.pop(ref)

    def _lose(self, worker: str, error: BaseException) -> None:
        node = self.node_of(worker)
        actor, name = self._actors[worker], self._fleet.name_of(node)
        signs = self._witness.signs(actor.log) if actor.log else None
        reports = [report_loss(e, name, actor.process, signs) for e in (error, *self._other_errors(worker))]
        report = next((r for r in reports if r.cause != "lost"), reports[0])
        leaves = node in self._fleet.machines and self._fleet.machines[node].leaving
        self._bury(worker, report.sentence, "freed" if leaves else report.cause)

    def _other_errors(self, worker: str) -> list[Exception]:
        """What else came of the actor's calls; what finished before its end is told here, before its loss is."""
        errors = []
        for ref in list(self._actors[worker].calls):
            if ray.wait([ref], timeout=0)[0]:
                try:
                    answered = _fetch(ref)
                except Exception as error:
                    errors.append(error)
                else:
                    task = self._forget(ref)
                    is_far = isinstance(answered, tuple)
                    self._events.append(self._adopt(worker, task, *answered) if is_far else answered)
        return errors

    def _bury(self, worker: str, reason: str, cause: Any) -> None:
        """End an actor, and look soon for where another could take its place."""
        self._end(worker, reason, cause)
        self._looked = min(self._looked, time.monotonic() - _LOOK + 0.2)

    def _end(self, worker: str, reason: str, cause: Any) -> None:
        """End an actor, and tell it where the driver knows the actor: whatever it handed there goes to others."""
        joined = self._actors[worker].greeting is None
        self._drop(worker)
        if joined:
            self._events.append(Died(worker, reason, cause))

    def _drop(self, name: str) -> None:
        """End an actor that the driver does not know, or will be told of, and forget it."""
        actor = self._actors.pop(name)
        with suppress(Exception):
            ray.kill(actor.handle)
        self._greetings.pop(actor.greeting, None)
        for ref in actor.calls:
            self._calls.pop(ref, None)

    def _check_alive(self) -> None:
        now = time.monotonic()
        if any(actor.greeting is None for actor in self._actors.values()):
            self._alive = now
            return
        excluded = self._fleet.excluded.keys() & self._fleet.machines.keys()
        if excluded and not self._fleet.hopeful and not self._greetings:
            raise ClusterError(f"No machine of the cluster can run workers. {self._fleet.why_excluded()}.")
        is_over, is_due = now - self._alive > self._timeout, now - self._said > _SAY
        if not (is_over or is_due) or not answers():
            return  # of a head that is gone `_look` tells: all else that is asked of it ends the process after a minute
        if is_over:
            raise ClusterError(self._nothing_fits())
        if is_due:
            self._said = now
            log.info("waiting: %s, for at most %.0f s more", self._state(), self._timeout - (now - self._alive))

    def _state(self) -> str:
        up = [m for m in self._fleet.machines.values() if m.fits(self._fleet.gpus)]
        pending = pending_machines()
        if not up and not pending:
            return "no node is up, or being set up, that could hold a worker"
        said = f"{len(up)} of {len(up) + len(pending)} nodes up"
        counts = Counter(pending)
        return ", ".join([said, *(f"{n} {what}" for what, n in counts.items())])

    def _nothing_fits(self) -> str:
        has = {k: v for k, v in ray.cluster_resources().items() if k in ("CPU", "GPU")}
        broken = f" {self._fleet.why_excluded()}." if self._fleet.excluded else ""
        return (
            f"No worker (1 CPU, {self._fleet.gpus:g} GPU) could start within {self._timeout:g} s; "
            f"the cluster has {has}, {self._state()}.{broken} Add nodes, free them, "
            "ask for less with --workers and --gpus-per-worker, or wait longer (compute.start_seconds)."
        )


def _fetch(ref: Any) -> Any:
    return ray.get(ref)
