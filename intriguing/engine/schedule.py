"""The scheduler: a pure state machine. No clock, no input or output, no knowledge of what runs the tasks.

    waiting ──> ready ──> running ──> done
                  ^          │ lost worker, attempts left: back to ready
                  └──────────┤
                             └──> failed ──> everything that needs it: blocked

The same machine drives one process under a debugger, a cluster, and a simulation of a thousand workers. Tasks are
numbers inside, in arrays: a million take some 200 MB, and no step of a task looks at all workers or all tasks.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush

WAITING, READY, RUNNING, DONE, FAILED, BLOCKED = "waiting", "ready", "running", "done", "failed", "blocked"

_STATES = (WAITING, READY, RUNNING, DONE, FAILED, BLOCKED)
_CODE = {state: code for code, state in enumerate(_STATES)}
_WAITING, _READY, _RUNNING, _DONE, _FAILED, _BLOCKED = range(6)
# Which tasks may run beside others: any; with nothing else on their worker; with nothing else on their machine.
_PLAIN, _ALONE, _QUIET = range(3)
_SERVED_KEPT = 8
_MOST_ATTEMPTS = 255


@dataclass(frozen=True, slots=True)
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


class Schedule:
    """Which task runs next, and what to do when one ends.

    Tasks come out in the order given, except that a worker is first offered tasks whose affinity it served before. A
    task that raised is not tried again: it would raise again. A task whose worker was lost is, up to `max_attempts`
    times, then alone on its worker; one that ran a machine out of memory twice waits in `quiet` for a machine of its
    own. Only the oldest task of a lost worker is charged, since those queued behind it never began.

    Args:
        nodes: the tasks, those that are needed before those that need them.
        done: names of tasks that are finished already.
        max_attempts: how often a task may lose its worker, or have to be made anew; at most 255.
    """

    def __init__(self, nodes: Iterable[Node], done: Collection[str] = (), max_attempts: int = 3) -> None:
        self.max_attempts = min(max_attempts, _MOST_ATTEMPTS)
        self._names: list[str] = []
        self._at: dict[str, int] = {}
        self._needs: list[tuple[int, ...]] = []
        self._users: defaultdict[int, array[int]] = defaultdict(lambda: array("l"))
        self._affinity: list[str] = []
        self._state = bytearray()
        self._attempts = bytearray()
        self._missing = array("l")
        self._counts = [0] * len(_STATES)
        self._ready: list[int] = []
        self._alone: list[int] = []
        self._quiet: list[int] = []
        self._ready_by_affinity: defaultdict[str, list[int]] = defaultdict(list)
        self._running: defaultdict[str, list[int]] = defaultdict(list)
        self._holder: dict[int, str] = {}
        self._served: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._solo: set[int] = set()
        self._quiet_ready = 0
        self._memory_kills: Counter[int] = Counter()
        self._given_up: list[int] = []
        self._add(nodes, done)

    def _add(self, nodes: Iterable[Node], done: Collection[str]) -> None:
        interned: dict[tuple[int, ...], tuple[int, ...]] = {}
        for i, node in enumerate(nodes):
            needs = tuple(self._at[need] for need in node.needs)
            self._at[node.name] = i
            self._names.append(node.name)
            self._needs.append(interned.setdefault(needs, needs) if len(needs) > 1 else needs)
            self._affinity.append(node.affinity)
            for need in needs:
                self._users[need].append(i)
            missing = sum(self._state[need] != _DONE for need in needs)
            self._missing.append(missing)
            self._attempts.append(0)
            state = _DONE if node.name in done else _WAITING if missing else _READY
            self._state.append(state)
            self._counts[state] += 1
            if state == _READY:
                self._push(i)

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing can be started."""
        return not (self._counts[_READY] or self._counts[_RUNNING])

    @property
    def quiet(self) -> int:
        """How many ready tasks wait for a machine of their own (see `take`)."""
        return self._quiet_ready

    @property
    def open(self) -> int:
        """How many ready tasks a worker without work could be given."""
        return self._counts[_READY] - self.quiet

    @property
    def state(self) -> dict[str, str]:
        """Every task's state, in plan order."""
        return {name: _STATES[code] for name, code in zip(self._names, self._state, strict=True)}

    def count(self, state: str) -> int:
        """How many tasks are in `state`."""
        return self._counts[_CODE[state]]

    def names(self, state: str) -> list[str]:
        """The tasks in `state`, in plan order."""
        code = _CODE[state]
        return [name for name, own in zip(self._names, self._state, strict=True) if own == code]

    def state_of(self, name: str) -> str:
        """The state of `name`."""
        return _STATES[self._state[self._at[name]]]

    def attempts_of(self, name: str) -> int:
        """How often `name` was begun, as far as it is charged for it."""
        return self._attempts[self._at[name]]

    def memory_kills_of(self, name: str) -> int:
        """How often a machine ran out of memory while it ran `name`."""
        return self._memory_kills[self._at[name]]

    def running_on(self, worker: str) -> tuple[str, ...]:
        """The tasks that `worker` holds, oldest first."""
        return tuple(self._names[i] for i in self._running.get(worker, ()))

    def held_by(self, worker: str) -> int:
        """How many tasks `worker` holds."""
        return len(self._running.get(worker, ()))

    def served_by(self, worker: str) -> tuple[str, ...]:
        """The affinities that `worker` served last: what it most likely holds loaded."""
        return tuple(self._served.get(worker, ()))

    def new_given_up(self) -> list[str]:
        """The tasks that failed, or were blocked, since this was last asked."""
        new, self._given_up = self._given_up, []
        return [self._names[i] for i in new]

    def take(self, worker: str, quiet: bool = False) -> str | None:
        """The next task for `worker`, which now runs it; None when there is none for it at present.

        A task that lost a worker before runs alone, so that it can take no other down with it. `quiet` asks for one
        that needs a machine of its own: the caller sees to it that nothing else runs there.
        """
        held = self._running[worker]
        if any(i in self._solo for i in held):
            return None
        i = self._first_of(self._quiet, _QUIET) if quiet else self._pop(worker, alone=not held)
        if i is None:
            return None
        self._set(i, _RUNNING)
        self._attempts[i] += 1
        held.append(i)
        self._holder[i] = worker
        affinity = self._affinity[i]
        if affinity:
            served = self._served[worker]
            served.pop(affinity, None)
            served[affinity] = None
            if len(served) > _SERVED_KEPT:
                del served[next(iter(served))]
        return self._names[i]

    def succeeded(self, name: str) -> None:
        """`name` finished: tasks that waited for nothing else are ready now."""
        i = self._at[name]
        self._release(i)
        self._set(i, _DONE)
        for user in self._users.get(i, ()):
            self._missing[user] -= 1
            if not self._missing[user] and self._state[user] == _WAITING:
                self._make_ready(user)

    def raised(self, name: str) -> None:
        """`name` raised an error of its own: it failed, and everything that needs it is blocked."""
        i = self._at[name]
        self._release(i)
        self._fail(i)

    def returned(self, name: str) -> None:
        """`name` was taken back before it began: it is ready as if it had never been handed out."""
        i = self._at[name]
        self._release(i)
        self._attempts[i] -= 1
        self._wait_again(i)

    def lost(self, worker: str, out_of_memory: bool = False, charged: bool = True) -> Loss:
        """`worker` is gone: its oldest task is charged an attempt, the others are not.

        `charged` False: the worker was ended for no fault of its task.
        """
        held = self._running.pop(worker, [])
        self._served.pop(worker, None)
        again, given_up = [], []
        for position, i in enumerate(held):
            del self._holder[i]
            if position == 0 and charged:
                self._solo.add(i)
                self._memory_kills[i] += out_of_memory
            else:
                self._attempts[i] -= 1
            if self._attempts[i] >= self.max_attempts:
                self._fail(i)
                given_up.append(self._names[i])
            elif self._wait_again(i):
                again.append(self._names[i])
        return Loss(tuple(again), tuple(given_up))

    def sent_back(self, name: str) -> bool:
        """`name` could not read what it needs, which is made anew or was by now: it waits for that and is tried again.

        False where a task that it needs has failed: it is blocked then.
        """
        i = self._at[name]
        self._release(i)
        self._attempts[i] -= 1
        return self._wait_again(i)

    def reopen(self, producer: str) -> bool:
        """What `producer`, which is done, stored is damaged: it runs again, and what waits or is ready waits for it.

        False where it was made anew `max_attempts` times: it has failed then, and everything that needs it is blocked.
        """
        i = self._at[producer]
        for user in self._users.get(i, ()):
            self._missing[user] += 1
            if self._state[user] == _READY:
                self._set(user, _WAITING)
        self._memory_kills.pop(i, None)
        if self._attempts[i] >= self.max_attempts:
            self._fail(i)
            return False
        return self._wait_again(i)

    def _wait_again(self, i: int) -> bool:
        states = {self._state[need] for need in self._needs[i]}
        if states & {_FAILED, _BLOCKED}:
            self._block(i)
            return False
        if self._missing[i]:
            self._set(i, _WAITING)
        else:
            self._make_ready(i)
        return True

    def _pop(self, worker: str, alone: bool) -> int | None:
        for affinity in reversed(self._served[worker]):
            heap = self._ready_by_affinity.get(affinity)
            i = self._first_of(heap) if heap else None
            if i is not None:
                return i
        if alone and self._drop_stale(self._alone, _ALONE):
            plain = self._drop_stale(self._ready)
            if not plain or self._alone[0] < self._ready[0]:
                return heappop(self._alone)
        return self._first_of(self._ready)

    def _first_of(self, heap: list[int], kind: int = _PLAIN) -> int | None:
        return heappop(heap) if self._drop_stale(heap, kind) else None

    def _drop_stale(self, heap: list[int], kind: int = _PLAIN) -> bool:
        """Take off the top what is no longer ready, or waits elsewhere by now; whether anything is left."""
        while heap and (self._state[heap[0]] != _READY or self._kind(heap[0]) != kind):
            heappop(heap)
        return bool(heap)

    def _kind(self, i: int) -> int:
        if i not in self._solo:
            return _PLAIN
        return _QUIET if self._memory_kills.get(i, 0) > 1 else _ALONE

    def _make_ready(self, i: int) -> None:
        self._set(i, _READY)
        self._push(i)

    def _push(self, i: int) -> None:
        kind = self._kind(i)
        heappush((self._ready, self._alone, self._quiet)[kind], i)
        if kind == _PLAIN and self._affinity[i]:
            heappush(self._ready_by_affinity[self._affinity[i]], i)

    def _release(self, i: int) -> None:
        worker = self._holder.pop(i, None)
        if worker is not None:
            self._running[worker].remove(i)

    def _fail(self, i: int) -> None:
        self._set(i, _FAILED)
        self._given_up.append(i)
        self._block_users(i)

    def _block(self, i: int) -> None:
        self._set(i, _BLOCKED)
        self._given_up.append(i)
        self._block_users(i)

    def _block_users(self, i: int) -> None:
        stack = list(self._users.get(i, ()))
        while stack:
            user = stack.pop()
            if self._state[user] in (_WAITING, _READY):
                self._set(user, _BLOCKED)
                self._given_up.append(user)
                stack.extend(self._users.get(user, ()))

    def _set(self, i: int, state: int) -> None:
        if self._memory_kills and self._kind(i) == _QUIET:  # this changes only while a task runs or is done
            self._quiet_ready += (state == _READY) - (self._state[i] == _READY)
        self._counts[self._state[i]] -= 1
        self._counts[state] += 1
        self._state[i] = state
