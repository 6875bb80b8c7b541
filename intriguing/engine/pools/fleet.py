"""The machines of a cluster: how many workers each may hold, where the next ones go, and which were given up."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

START_TRIES = 3
"""How often a worker may fail to start on a machine before that is left out."""

REST = 15.0
"""Seconds in which no worker is started on a machine that was short of memory."""


@dataclass(frozen=True)
class Machine:
    """A machine that is up: its identity, name, address, what it offers, and whether it is about to leave."""

    id: str
    name: str
    address: str = ""
    cpus: float = 0.0
    gpus: float = 0.0
    leaving: bool = False

    def fits(self, gpus: float) -> int:
        """How many workers of one CPU and `gpus` GPUs it holds; a fraction never straddles two GPUs."""
        if not gpus:
            return int(self.cpus)
        per_gpu = int(self.gpus) * int(1 / gpus + 1e-9) if gpus < 1 else int(self.gpus / gpus + 1e-9)
        return min(int(self.cpus), per_gpu)


class Fleet:
    """The machines that are up, and what is known of each.

    `gpus` is what a worker asks for.
    """

    def __init__(self, gpus: float = 0.0) -> None:
        self.gpus = gpus
        self.machines: dict[str, Machine] = {}
        self.excluded: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._tries: Counter[str] = Counter()
        self._resting: dict[str, float] = {}

    def see(self, machines: Iterable[Machine]) -> None:
        """These machines are up now."""
        self.machines = {m.id: m for m in machines}
        self._names |= {m.id: m.name for m in self.machines.values()}

    def name_of(self, node: str) -> str:
        """The name of a machine, also of one that is gone."""
        return self._names.get(node, "")

    def at(self, address: str) -> str:
        """The machine with this address; "" where there is none."""
        return next((m.id for m in self.machines.values() if address and m.address == address), "")

    @property
    def usable(self) -> list[Machine]:
        """The machines that can hold a worker."""
        now = time.monotonic()
        return [m for m in self.hopeful if self._resting.get(m.id, now) <= now]

    @property
    def hopeful(self) -> list[Machine]:
        """The machines that can hold a worker now or in a while."""
        up = self.machines.values()
        return [m for m in up if not m.leaving and m.id not in self.excluded and m.fits(self.gpus)]

    @property
    def size(self) -> int:
        """How many workers all usable machines hold."""
        return sum(m.fits(self.gpus) for m in self.usable)

    def room(self, held: Mapping[str, int]) -> Iterator[str]:
        """Machines for further workers, one at a time, the emptiest first; `held` workers are there or on their way."""
        free = {m.id: m.fits(self.gpus) - held.get(m.id, 0) for m in self.usable}
        while free and max(free.values()) > 0:
            node = max(free, key=free.__getitem__)
            free[node] -= 1
            yield node

    def failed_to_start(self, node: str, why: str) -> bool:
        """A worker could not start there; True when the machine is left out for that, from now on."""
        self._tries[node] += 1
        if self._tries[node] >= START_TRIES:
            self.exclude(node, why)
        return node in self.excluded

    def started(self, node: str) -> None:
        """A worker started there: what failed before is forgotten."""
        self._tries.pop(node, None)

    def rest(self, node: str) -> None:
        """Start nothing on a machine for a while: it is short of memory."""
        self._resting[node] = time.monotonic() + REST

    def exclude(self, node: str, why: str) -> None:
        """Leave a machine out, for this reason."""
        self.excluded[node] = why

    def why_excluded(self) -> str:
        """What is wrong with the machines that are up and left out, in sentences."""
        names = sorted((self.name_of(node) or node or "a machine", why) for node, why in self.excluded.items())
        return "; ".join(f"{name}: {why}" for name, why in names)
