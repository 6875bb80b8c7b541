"""Ray clusters: connecting to one, and what its machines are."""

import atexit
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default; unset, it warns
import ray
from ray._private import ray_constants
from ray._private.state import state
from ray.experimental import internal_kv
from ray.job_config import JobConfig

from intriguing.basics.process.leaving import hurry
from intriguing.engine.interrupts import kept_handlers
from intriguing.engine.paths import package_folder
from intriguing.engine.pools.fleet import Machine
from intriguing.engine.pools.losses import first_line
from intriguing.engine.pools.ray_address import ask, find_cluster
from intriguing.errors import ClusterError

log = logging.getLogger(__name__)

_TRIES = 3
_LOOPBACK = ("127.0.0.1:", "localhost:", "[::1]:")
_QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


def machines() -> list[Machine]:
    """The machines that are up."""
    leaving: Mapping[str, int] = {}
    with suppress(Exception):  # no public call tells it; through ray:// there is none
        leaving = state.get_draining_nodes()
    return [
        Machine(
            node["NodeID"],
            node["NodeManagerHostname"],
            node["NodeManagerAddress"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["NodeID"] in leaving,
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def largest_resources() -> Mapping[str, Any]:
    """What the autoscaler could start, where there is one and it tells."""
    with suppress(Exception):
        return state.get_max_resources_from_cluster_config() or {}
    return {}


def answers() -> bool:
    """Whether the head of the cluster answers: calls of Ray wait for it, and end the process after a minute."""
    try:
        address = ray.get_runtime_context().gcs_address
    except Exception:  # through ray:// nothing tells where the head is
        return True
    return ask(address) == ""


def in_time(work: Callable[[], object], seconds: float) -> bool:
    """Do `work` in a thread, which is left behind if it takes longer than `seconds`; errors of Ray are passed over."""

    def quietly() -> None:
        with suppress(Exception):
            work()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def abandon() -> None:
    """Do not end Ray when this process ends: what does not answer would keep it waiting, and abort it."""
    atexit.unregister(ray.shutdown)
    hurry()


def pending_machines() -> list[str]:
    """How far each machine is that an autoscaler is starting ("setting up", "launching"); empty where there is none."""
    with suppress(Exception):  # autoscalers of either generation tell it, by calls that are not public
        found = _pending_in_status()
        return found if found is not None else _pending_in_state()
    return []


def _pending_in_status() -> list[str] | None:
    """What the first generation's status says; None where there is none."""
    status = internal_kv._internal_kv_get("__autoscaling_status")
    report = json.loads(status).get("autoscaler_report") if status else None
    if report is None:
        return None
    setting_up = [str(state).replace("-", " ") for _, _, state in report["pending_nodes"]]
    return setting_up + ["launching"] * sum(report["pending_launches"].values())


def _pending_in_state() -> list[str]:
    from ray.autoscaler.v2.sdk import get_cluster_status

    status = get_cluster_status(ray.get_runtime_context().gcs_address, timeout=5)
    setting_up = [(node.details or node.node_status or "setting up").lower() for node in status.pending_nodes]
    return setting_up + ["launching"] * sum(launch.count for launch in status.pending_launches)


def connect(workers: int | None) -> tuple[bool, bool]:
    """Connect to Ray; whether that is ours to end, and whether it is a cluster that others started."""
    if ray.is_initialized():
        return False, False
    cluster = find_cluster()
    if cluster.problem and cluster.is_named:
        raise ClusterError(
            f"{cluster.problem}. Start the cluster, correct or unset RAY_ADDRESS (then Ray is started here), or run "
            "with --executor inline."
        )
    if cluster.is_usable:
        log.info("connecting to the Ray cluster at %s", cluster.address)
        otherwise = f"Ray at {cluster.address} cannot be used"
        if "://" in cluster.address:
            _start(otherwise, address=cluster.address)
        else:
            is_here = cluster.address.startswith(_LOOPBACK)
            with _on_loopback() if is_here else nullcontext():
                # Ray gives its token to a cluster that it finds itself, in the same file.
                address = cluster.address if cluster.is_named else "auto"
                _start(otherwise, address=address, job_config=job_config(), **_QUIET)
        return True, True
    if cluster.problem:
        log.warning("%s; that cluster is not used", cluster.problem)
    log.info("starting Ray on this machine")
    start_here(max(workers or 0, os.cpu_count() or 1))
    return True, False


def start_here(cpus: int) -> None:
    """Start a Ray of our own with so many CPUs. It listens on the loopback alone."""
    with _on_loopback():
        _start(
            "Ray cannot be started on this machine (--executor inline needs none)",
            tries=_TRIES,
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            job_config=job_config(),
            **_QUIET,
        )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """While this lasts, Ray takes the loopback's address for this machine's: nodes bind to it and are found there.

    `ray.init` has no option for it: on Linux it puts the machine's own address in place of the loopback's. On macOS and
    Windows, where Ray has no clusters, it keeps the loopback's. This makes Ray act here as it does there.
    """
    has_clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = has_clusters


def _start(otherwise: str, tries: int = 1, **options: Any) -> None:
    try:
        with kept_handlers():
            context = ray.init(**options)
    except Exception as error:  # Ray raises whatever went wrong, up to bare Exception
        with suppress(Exception):
            ray.shutdown()
        if tries > 1 and "timed out during startup" in str(error):  # it waits for 30 seconds, on a busy machine too
            log.warning("Ray did not start in time; trying again")
            _start(otherwise, tries - 1, **options)
            return
        raise ClusterError(f"{otherwise}: {first_line(str(error)) or type(error).__name__}") from error
    if url := getattr(context, "dashboard_url", ""):
        log.info("Ray's dashboard: http://%s", url)


class _Fixed(list[str]):
    """A list that Ray cannot add to."""

    def extend(self, more: Any) -> None:
        """Leave `more` out."""


def job_config() -> JobConfig:
    """What workers find first on their path: no folder but the one that this package lies in, and that only if needed.

    Ray would put the working folder and the script's before all others, so that a `pandas.py` that lies there runs.
    """
    job = JobConfig()
    job._py_driver_sys_path = _Fixed(package_folder())
    return job
