"""The Ray pool: one actor per GPU, fraction of a GPU, or CPU. The only module that imports ray.

Ray's own retries stay at 0: the scheduler counts attempts. Actors that see the run folder write what they compute, and
Ray carries receipts only; the others send their files with the answer. So a result on a lost node is in the store or is
computed again.
"""

import logging
import os
import platform
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default; unset, it warns
import ray
from ray.exceptions import RayActorError, RayError
from ray.job_config import JobConfig

from intriguing.basics.version import __version__
from intriguing.engine.interrupts import kept_handlers
from intriguing.engine.paths import extend_path, package_folder, users_path
from intriguing.engine.pool import Died, Event, Finished, Raised, answer
from intriguing.engine.ray_address import find_cluster
from intriguing.engine.store import CarriedStore
from intriguing.engine.worker import Call, Resources, store_of
from intriguing.errors import ClusterError, StoreError

log = logging.getLogger(__name__)


Files = Mapping[str, bytes]
CarriedFiles = Mapping[str, Files]

_CARRIED_KEPT = 64


class _Worker:
    """What runs in an actor: one call after another, with the resources that earlier calls left loaded."""

    def __init__(self, name: str, run: str, path: list[str]) -> None:
        extend_path(path)
        self._name = name
        self._store = store_of(Path(run))
        self._resources = Resources()

    def hello(self, token: str) -> dict[str, str]:
        """Which versions run here, where, and whether this node sees the run folder."""
        sees = (self._store.root.parent / token).exists()
        return _versions() | {"node": platform.node(), "pid": str(os.getpid()), "sees_run": "yes" if sees else ""}

    def run(self, call: Call) -> Finished | Raised:
        """Run one call; its results are in the run folder when this returns."""
        return answer(call, self._store, self._resources, self._name)

    def run_carried(self, call: Call, fingerprints: list[str], *files: Files) -> tuple[Finished | Raised, CarriedFiles]:
        """Run one call where the run folder cannot be seen: inputs come with it, results go back with the answer."""
        store = CarriedStore(dict(zip(fingerprints, files, strict=True)))
        return answer(call, store, self._resources, self._name), store.written


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "ray": ray.__version__, "intriguing": __version__}


class RayPool:
    """Actors on the cluster that RAY_ADDRESS names, on one that runs on this machine, or on one that is started now.

    A cluster counts as running when it answers within 3 seconds.

    Args:
        run: the run folder. Nodes that see it read and write it themselves.
        workers: how many actors; by default one per GPU, or per `gpus` of one, or per CPU where there is no GPU.
        gpus: how much of a GPU each actor holds; by default 1 where the cluster has GPUs, else 0.
        start_timeout: seconds to wait for the first actor, and for one to come back when all are gone.
        carry: whether inputs and results travel over Ray; by default where a node does not see the run folder.

    Raises:
        ClusterError: RAY_ADDRESS names a cluster that does not answer, nothing of that size fits the cluster, or the
            versions differ.
    """

    depth = 2

    def __init__(
        self,
        run: Path,
        workers: int | None = None,
        gpus: float | None = None,
        start_timeout: float = 120.0,
        carry: bool = False,
    ) -> None:
        self._run = Path(run).resolve()
        self._store = store_of(self._run)
        self._carry_always = carry
        self._far: set[str] = set()
        self._carried: OrderedDict[str, Any] = OrderedDict()
        self._timeout = start_timeout
        self._owns_ray = _connect(workers)
        self._token = f".seen-by-{uuid.uuid4().hex}"
        (self._run / self._token).touch(exist_ok=False)
        total = ray.cluster_resources()
        self._gpus = (1.0 if total.get("GPU") else 0.0) if gpus is None else gpus
        fits = total.get("GPU", 0.0) / self._gpus if self._gpus else total.get("CPU", 1.0)
        self._actors: dict[str, Any] = {}
        self._pending: dict[Any, str] = {}
        self._refs: dict[Any, tuple[str, str]] = {}
        self._events: deque[Event] = deque()
        self._idle_since = time.monotonic()
        for i in range(workers or max(1, int(fits))):
            self._spawn(f"worker-{i}")
        try:
            self._wait_for_first()
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> list[str]:
        """The actors that answered, in the order of their names."""
        starting = set(self._pending.values())
        return [name for name in self._actors if name not in starting]

    def submit(self, worker: str, call: Call) -> None:
        """Queue `call` on the actor."""
        actor = self._actors[worker]
        if worker in self._far:
            needed = call.needs
            ref = actor.run_carried.remote(call, needed, *(self._carry(fingerprint) for fingerprint in needed))
        else:
            ref = actor.run.remote(call)
        self._refs[ref] = (worker, call.task)

    def next_event(self, timeout: float) -> Event | None:
        """Wait for an answer, a death, or the timeout."""
        if self._events:
            return self._events.popleft()
        waiting = [*self._refs, *self._pending]
        ready, _ = ray.wait(waiting, num_returns=1, timeout=timeout) if waiting else ([], [])
        for ref in ready:
            if ref in self._pending:
                self._greet(ref)
            else:
                return self._answer(ref)
        self._check_alive()
        return None

    def kill(self, worker: str, reason: str) -> None:
        """End the actor at once and start another of its name."""
        ray.kill(self._actors[worker])
        self._bury(worker, reason)

    def close(self) -> None:
        """End the actors, and Ray if it was started here."""
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors.clear()
        (self._run / self._token).unlink(missing_ok=True)
        if self._owns_ray:
            ray.shutdown()

    def _spawn(self, name: str) -> None:
        actor = ray.remote(_Worker).options(  # type: ignore[call-overload]
            num_cpus=1, num_gpus=self._gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self._actors[name] = actor.remote(name, str(self._run), users_path())
        self._pending[self._actors[name].hello.remote(self._token)] = name

    def _wait_for_first(self) -> None:
        log.info("waiting for the first of %d workers, for at most %g s", len(self._pending), self._timeout)
        while not self.workers:
            ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=self._timeout)
            if not ready:
                raise ClusterError(self._nothing_fits())
            self._greet(ready[0])

    def _nothing_fits(self) -> str:
        has = {k: v for k, v in ray.cluster_resources().items() if k in ("CPU", "GPU")}
        return (
            f"No worker (1 CPU, {self._gpus:g} GPU) could start within {self._timeout:g} s; the cluster has {has}. "
            "Add nodes, free them, or ask for less with --workers and --gpus-per-worker."
        )

    def _greet(self, ref: Any) -> None:
        name = self._pending.pop(ref)
        try:
            hello = _fetch(ref)
        except RayActorError as error:
            log.warning("%s died while it started (%s); starting another", name, _first_line(error))
            time.sleep(0.5)
            self._spawn(name)
            return
        for what, here in _versions().items():
            if hello[what] != here:
                raise ClusterError(
                    f"Node {hello['node']} has {what} {hello[what]}, this driver {here}: install the same everywhere."
                )
        if self._carry_always or not hello["sees_run"]:
            self._far.add(name)
            log.info("%s does not see %s: inputs and results travel over Ray", hello["node"], self._run)
        log.info("%s runs on %s (process %s)", name, hello["node"], hello["pid"])

    def _answer(self, ref: Any) -> Event | None:
        worker, task = self._refs.pop(ref)
        try:
            answered = _fetch(ref)
            if not isinstance(answered, tuple):
                return answered
            event, written = answered
            for fingerprint, files in written.items():
                self._store.adopt(fingerprint, files)
            for fingerprint in event.damaged if isinstance(event, Raised) else ():
                self._carried.pop(fingerprint, None)
            return event
        except StoreError as error:
            return Raised(worker, task, type(error).__name__, str(error))
        except RayActorError as error:
            self._bury(worker, _first_line(error))
            return self._events.popleft()
        except RayError as error:
            return Raised(worker, task, type(error).__name__, _first_line(error), str(error))

    def _carry(self, fingerprint: str) -> Any:
        """The files of `fingerprint` in Ray's object store, put there once for several calls."""
        if fingerprint not in self._carried:
            self._carried[fingerprint] = ray.put(self._store.files(fingerprint))
            while len(self._carried) > _CARRIED_KEPT:
                self._carried.popitem(last=False)
        self._carried.move_to_end(fingerprint)
        return self._carried[fingerprint]

    def _bury(self, worker: str, reason: str) -> None:
        # What finished before the end is told first, so that the loss is charged to the task that was running.
        for ref in [ref for ref, held in self._refs.items() if held[0] == worker]:
            if ray.wait([ref], timeout=0)[0] and _succeeded(ref):
                event = self._answer(ref)
                if event is not None:
                    self._events.append(event)
        self._refs = {ref: held for ref, held in self._refs.items() if held[0] != worker}
        self._pending = {ref: name for ref, name in self._pending.items() if name != worker}
        self._far.discard(worker)
        self._events.append(Died(worker, reason))
        self._spawn(worker)

    def _check_alive(self) -> None:
        if self.workers:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > self._timeout:
            raise ClusterError(f"All workers are gone. {self._nothing_fits()}")


def _connect(workers: int | None) -> bool:
    """Connect to Ray; True when it was started here and so is ours to stop."""
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    cluster = find_cluster()
    if cluster.problem and cluster.is_named:
        raise ClusterError(
            f"{cluster.problem}. Start the cluster, correct or unset RAY_ADDRESS (then Ray is started here), or run "
            "with --executor inline."
        )
    if cluster.is_usable:
        log.info("connecting to the Ray cluster at %s", cluster.address)
        if "://" in cluster.address:
            _start(f"Ray at {cluster.address} cannot be used", address=cluster.address)
        else:
            _start(f"Ray at {cluster.address} cannot be used", address=cluster.address, job_config=_job(), **quiet)
        return True
    if cluster.problem:
        log.warning("%s; that cluster is not used", cluster.problem)
    log.info("starting Ray on this machine")
    cpus = max(workers or 0, os.cpu_count() or 1)
    _start(
        "Ray cannot be started on this machine (--executor inline needs none)",
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        job_config=_job(),
        **quiet,
    )
    return True


def _start(otherwise: str, **options: Any) -> None:
    try:
        with kept_handlers():
            ray.init(**options)
    except Exception as error:  # Ray raises whatever went wrong, up to bare Exception
        with suppress(Exception):
            ray.shutdown()
        raise ClusterError(f"{otherwise}: {_first_line(error)}") from error


class _Fixed(list[str]):
    """A list that Ray cannot add to."""

    def extend(self, more: Any) -> None:
        """Leave `more` out."""


def _job() -> JobConfig:
    """What workers find first on their path: no folder but the one that this package lies in, and that only if needed.

    Ray would put the working folder and the script's before all others, so that a `pandas.py` that lies there runs.
    """
    job = JobConfig()
    job._py_driver_sys_path = _Fixed(package_folder())
    return job


def _fetch(ref: Any) -> Any:
    return ray.get(ref)


def _succeeded(ref: Any) -> bool:
    try:
        ray.get(ref)
    except RayError:
        return False
    return True


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
