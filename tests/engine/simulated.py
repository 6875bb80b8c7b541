"""A pool without processes: any number of workers on any number of machines, whose answers a test decides about."""

from collections import deque

from intriguing.engine.pools.pool import Died, Joined, Left, Returned, answer
from intriguing.engine.worker import Resources, store_of


class SimulatedPool:
    """Runs each call when it is asked for events, the oldest of every worker first, unless `behave` says what happens.

    `machines` gives the machine of each worker. `behave` is asked before a call is run, with worker and call: an event
    happens in its place, None has it run. `log` lists what was submitted, as (worker, task).
    """

    def __init__(self, run, machines, behave=lambda worker, call: None, depth=2):
        self.depth, self.silent = depth, False
        self.machines = dict(machines)
        self.behave = behave
        self.log, self.recalled, self.excluded, self.wanted = [], [], [], []
        self.beats = {}
        self.held = {worker: deque() for worker in machines}
        self.hanging = set()
        self._store = store_of(run)
        self._events = []

    @property
    def workers(self):
        return list(self.held)

    def node_of(self, worker):
        return self.machines[worker]

    def node_name(self, worker):
        return self.machines[worker].upper()

    def submit(self, worker, call):
        self.log.append((worker, call.task))
        if worker in self.held:
            self.held[worker].append(call)

    def events(self, timeout):
        for worker in [w for w, calls in self.held.items() if calls and w not in self.hanging]:
            if worker in self.held:
                self._run_next(worker)
        events, self._events = self._events, []
        return events

    def _run_next(self, worker):
        call = self.held[worker].popleft()
        event = self.behave(worker, call)
        if event is None:
            event = answer(call, self._store, Resources(), worker)
        self._events.append(event)
        if isinstance(event, Died):
            self._replace(worker)

    def _replace(self, worker):
        self.held[worker].clear()
        self._events.append(Joined(worker))

    def recall(self, worker, task):
        self.recalled.append((worker, task))
        for call in [c for c in self.held[worker] if c.task == task and c is not self.held[worker][0]]:
            self.held[worker].remove(call)
            self._events.append(Returned(worker, task))

    def want(self, tasks):
        self.wanted.append(tasks)

    def beat(self, worker):
        return self.beats.get(worker, "")

    def exclude(self, worker, reason):
        if worker not in self.held:
            return True
        node = self.machines[worker]
        self.excluded.append(node)
        for name in [w for w in self.held if self.machines[w] == node]:
            del self.held[name]
            self._events.append(Died(name, reason, "freed"))
        return bool(self.held)

    def leave(self, worker):
        self._events.append(Left(worker))

    def report(self, snapshot):
        pass

    def kill(self, worker, reason):
        self.hanging.discard(worker)
        self._events.append(Died(worker, reason))
        self._replace(worker)

    def close(self):
        pass
