"""The scheduler: a pure state machine. No clock, no input or output, no knowledge of what runs the tasks.

    waiting ──> ready ──> running ──> done
                  ^          │ lost worker, attempts left: back to ready
                  └──────────┤
                             └──> failed ──> everything that needs it: blocked

The same machine drives one process under a debugger, a cluster, and a simulation of a thousand workers.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

WAITING, READY, RUNNING, DONE, FAILED, BLOCKED = "waiting", "ready", "running", "done", "failed", "blocked"


@dataclass(frozen=True)
class Node:
    """A task as the scheduler sees it: its name, the tasks it needs, and the resource it would like to find loaded."""

    name: str
    needs: tuple[str, ...] = ()
    affinity: str = ""


@dataclass(frozen=True)
class Loss:
    """What became of the tasks of a lost worker: those that will run again, and those that gave up."""

    again: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()


@dataclass
class Schedule:
    """Which task runs next, and what to do when one ends.

    Tasks come out in the order given, except that a worker is first offered tasks whose affinity it served before. A
    task that raised is not tried again: it would raise again. A task whose worker was lost is, up to `max_attempts`
    times; only the oldest task of a lost worker is charged, since those queued behind it never began.
    """

    nodes: Iterable[Node]
    done: Collection[str] = ()
    max_attempts: int = 3
    state: dict[str, str] = field(init=False, default_factory=dict)
    attempts: Counter[str] = field(init=False, default_factory=Counter)

    def __post_init__(self) -> None:
        self._nodes = {node.name: node for node in self.nodes}
        self._order = {name: i for i, name in enumerate(self._nodes)}
        self._names = list(self._nodes)
        self._missing: dict[str, set[str]] = {}
        self._users: dict[str, list[str]] = defaultdict(list)
        self._ready: list[int] = []
        self._ready_by_affinity: dict[str, list[int]] = defaultdict(list)
        self._running: dict[str, list[str]] = defaultdict(list)
        self._served: dict[str, dict[str, None]] = defaultdict(dict)
        self._solo: set[str] = set()
        done = set(self.done)
        self._counts: Counter[str] = Counter()
        for node in self._nodes.values():
            for need in node.needs:
                self._users[need].append(node.name)
            self._missing[node.name] = {n for n in node.needs if n not in done}
            if node.name in done:
                self._set(node.name, DONE)
            elif self._missing[node.name]:
                self._set(node.name, WAITING)
            else:
                self._make_ready(node.name)

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing can be started."""
        return not (self._counts[READY] or self._counts[RUNNING])

    def count(self, state: str) -> int:
        """How many tasks are in `state`."""
        return self._counts[state]

    def names(self, state: str) -> list[str]:
        """The tasks in `state`, in plan order."""
        return [name for name in self._names if self.state[name] == state]

    def running_on(self, worker: str) -> tuple[str, ...]:
        """The tasks that `worker` holds, oldest first."""
        return tuple(self._running.get(worker, ()))

    def take(self, worker: str) -> str | None:
        """The next task for `worker`, which now runs it; None when there is none for it at present.

        A task that lost a worker before runs alone, so that it can take no other down with it.
        """
        held = self._running[worker]
        if any(name in self._solo for name in held):
            return None
        name = self._pop(worker, alone=not held)
        if name is None:
            return None
        self._set(name, RUNNING)
        self.attempts[name] += 1
        held.append(name)
        affinity = self._nodes[name].affinity
        if affinity:
            self._served[worker].pop(affinity, None)
            self._served[worker][affinity] = None
        return name

    def succeeded(self, name: str) -> None:
        """`name` finished: tasks that waited for nothing else are ready now."""
        self._release(name)
        self._set(name, DONE)
        for user in self._users[name]:
            self._missing[user].discard(name)
            if not self._missing[user] and self.state[user] == WAITING:
                self._make_ready(user)

    def raised(self, name: str) -> None:
        """`name` raised an error of its own: it failed, and everything that needs it is blocked."""
        self._release(name)
        self._fail(name)

    def lost(self, worker: str) -> Loss:
        """`worker` is gone: its oldest task is charged an attempt, the others are not."""
        held = self._running.pop(worker, [])
        self._served.pop(worker, None)
        again, given_up = [], []
        for i, name in enumerate(held):
            if i == 0:
                self._solo.add(name)
            else:
                self.attempts[name] -= 1
            if self.attempts[name] >= self.max_attempts:
                self._fail(name)
                given_up.append(name)
            else:
                self._make_ready(name)
                again.append(name)
        return Loss(tuple(again), tuple(given_up))

    def reopen(self, name: str, producers: Collection[str]) -> list[str]:
        """`name` could not read what `producers` stored: they run again, then it does.

        Returns the producers that gave up because they were reopened `max_attempts` times.
        """
        self._release(name)
        self._set(name, WAITING)
        given_up = []
        for producer in producers:
            self._missing[name].add(producer)
            if self.state[producer] != DONE:
                continue
            if self.attempts[producer] >= self.max_attempts:
                self._fail(producer)
                given_up.append(producer)
            elif self._missing[producer]:
                self._set(producer, WAITING)
            else:
                self._make_ready(producer)
        return given_up

    def _pop(self, worker: str, alone: bool) -> str | None:
        for affinity in reversed(list(self._served[worker])):
            name = self._pop_from(self._ready_by_affinity[affinity], alone)
            if name is not None:
                return name
        return self._pop_from(self._ready, alone)

    def _pop_from(self, heap: list[int], alone: bool) -> str | None:
        skipped = []
        taken = None
        while heap and taken is None:
            index = heappop(heap)
            name = self._names[index]
            if self.state[name] != READY:
                continue
            if name in self._solo and not alone:
                skipped.append(index)
                continue
            taken = name
        for index in skipped:
            heappush(heap, index)
        return taken

    def _make_ready(self, name: str) -> None:
        self._set(name, READY)
        heappush(self._ready, self._order[name])
        affinity = self._nodes[name].affinity
        if affinity:
            heappush(self._ready_by_affinity[affinity], self._order[name])

    def _release(self, name: str) -> None:
        for held in self._running.values():
            if name in held:
                held.remove(name)
                return

    def _fail(self, name: str) -> None:
        self._set(name, FAILED)
        stack = list(self._users[name])
        while stack:
            user = stack.pop()
            if self.state[user] in (WAITING, READY):
                self._set(user, BLOCKED)
                stack.extend(self._users[user])

    def _set(self, name: str, state: str) -> None:
        old = self.state.get(name)
        if old is not None:
            self._counts[old] -= 1
        self._counts[state] += 1
        self.state[name] = state
