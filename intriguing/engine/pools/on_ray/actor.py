"""What runs in a Ray actor."""

import os
import platform
import time
from collections.abc import Mapping

import ray
from ray.experimental import internal_kv

from intriguing.basics.folders.folder import Folder
from intriguing.basics.process import liveness
from intriguing.basics.process.streams import keep_streams_open
from intriguing.basics.text.log_lines import log_plainly
from intriguing.engine.paths import extend_path
from intriguing.engine.pools.last_words import log_of_this_process
from intriguing.engine.pools.pool import Finished, Raised, answer
from intriguing.engine.sameness import what_runs_here
from intriguing.engine.storage.store import CarriedStore
from intriguing.engine.worker import Call, Resources, store_of

Files = Mapping[str, bytes]
CarriedFiles = Mapping[str, Files]

_BEAT = 5.0


class Worker:
    """What runs in an actor: one call after another, with the resources that earlier calls left loaded."""

    def __init__(self, name: str, run: Folder, path: list[str], key: str) -> None:
        keep_streams_open()
        log_plainly()
        extend_path(path)
        self._name = name
        self._run = run
        self._store = store_of(run)
        self._resources = Resources()
        self._key = key
        self._beaten = time.monotonic()
        liveness.listen(self._beat)

    def hello(self, token: str) -> dict[str, str]:
        """Which versions run here, where, and whether this node sees the run folder."""
        sees = self._run.sees(token)
        place = {"host": platform.node(), "pid": str(os.getpid()), "node": ray.get_runtime_context().get_node_id()}
        return versions() | place | {"sees_run": "yes" if sees else "", "log": log_of_this_process()}

    def run(self, call: Call) -> Finished | Raised:
        """Run one call; its results are in the run folder when this returns."""
        self._beat()
        return answer(call, self._store, self._resources, self._name, stops_by_interrupt=False)

    def run_carried(self, call: Call, fingerprints: list[str], *files: Files) -> tuple[Finished | Raised, CarriedFiles]:
        """Run one call where the run folder cannot be seen: inputs come with it, results go back with the answer."""
        self._beat()
        store = CarriedStore(dict(zip(fingerprints, files, strict=True)), self._store.by_content)
        return answer(call, store, self._resources, self._name, stops_by_interrupt=False), store.written

    def _beat(self) -> None:
        """Leave a sign of life where the driver finds it, every few seconds at most."""
        now = time.monotonic()
        if now - self._beaten >= _BEAT:
            self._beaten = now
            internal_kv._internal_kv_put(self._key, str(now), overwrite=True)


def versions() -> dict[str, str]:
    """What must be the same everywhere, Ray's own version included."""
    return what_runs_here() | {"ray": ray.__version__}
