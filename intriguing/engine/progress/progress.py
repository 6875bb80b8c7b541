"""Progress: how many images, searches and so on are done, how many per second, and how long the rest will take."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from intriguing.engine.progress.time_left import Estimate
from intriguing.engine.task import Task


@dataclass(frozen=True)
class Count:
    """Something that is counted: how many are done, of how many, and per second since it began (0 before that)."""

    done: int
    total: int
    rate: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """Where a run stands: tasks by state, counts by noun, and the seconds left (None while nothing is known).

    `failed` tasks gave up, `blocked` ones need what these should have made. `busy`: task, machine and seconds so far of
    some that are at work, the longest first. `unknown` tasks are not in the seconds left: none of their kind has ended.
    `least_left`: seconds that are left at least, where more is not known.
    """

    tasks_done: int
    tasks_total: int
    running: int
    failed: int
    counts: dict[str, Count]
    seconds_left: float | None
    blocked: int = 0
    busy: tuple[tuple[str, str, float], ...] = ()
    unknown: int = 0
    least_left: float = 0.0

    def line(self) -> str:
        """One line for a log: the tasks, what is under way (neither unbegun nor done), failures and the time left."""
        parts = [f"{self.tasks_done:,}/{self.tasks_total:,} tasks"]
        for noun, count in self.counts.items():
            if noun != "tasks" and 0 < count.done < count.total:
                rate = f" ({rate_in_words(count.rate)})" if count.rate else ""
                parts.append(f"{noun} {count.done:,}/{count.total:,}{rate}")
        return ", ".join([*parts, self.remark()])

    def remark(self) -> str:
        """What there is to say beside the counts: failures, and the time that is left."""
        parts = [f"{self.failed} failed" + (f", {self.blocked} blocked" if self.blocked else "")]
        if self.seconds_left is not None:
            besides = f" and {self.unknown:,} tasks of kinds not seen yet" if self.unknown > 1 else ""
            besides = " and 1 task of a kind not seen yet" if self.unknown == 1 else besides
            parts.append(f"about {duration(self.seconds_left)} left{besides}")
        elif self.least_left >= 1:
            parts.append(f"at least {duration(self.least_left)} left")
        return ", ".join(parts)

    def at_work(self, most: int = 3) -> str:
        """What runs at present, and where if on several machines: "model/mnist/cnn/0 (12 s), ... and 5 more"."""
        several = len({machine for _, machine, _ in self.busy}) > 1
        told = []
        for task, machine, seconds in self.busy[:most]:
            notes = [*([machine] if several else []), *([duration(seconds)] if seconds >= 1 else [])]
            told.append(f"{task} ({', '.join(notes)})" if notes else task)
        more = max(self.running, len(self.busy)) - len(told)
        return ", ".join(told) + (f" and {more:,} more" if told and more > 0 else "")


class Progress:
    """Counts tasks as they end. Times are the clock's readings, passed in so that this can be tested.

    A task counts once, however often it ends: one that has to run again (`reopened`) is not done until it has.

    Args:
        tasks: the tasks by name.
        started: when the run began.
    """

    def __init__(self, tasks: Mapping[str, Task], started: float) -> None:
        self._tasks = tasks
        self._started = started
        self._total: Counter[str] = Counter()
        for task in tasks.values():
            self._total[task.noun] += task.amount
        self._estimate = Estimate(tasks)
        self._done: Counter[str] = Counter()
        self._fresh: Counter[str] = Counter()
        self._looked = started
        self._began: dict[str, float] = {}
        self._busy: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._ended: set[str] = set()
        self._given_up: set[str] = set()

    def reused(self, task: str, seconds: float = 0.0) -> None:
        """`task` was found finished; it took `seconds` when it ran."""
        self._end(task, seconds)

    def finished(self, task: str, seconds: float) -> None:
        """`task` finished now, in `seconds`."""
        self._end(task, seconds)
        noun = self._tasks[task].noun
        self._began.setdefault(noun, max(self._started, self._looked - seconds))
        self._fresh[noun] += self._tasks[task].amount

    def reopened(self, task: str) -> None:
        """`task` has to run again: its outputs are damaged."""
        if task in self._ended:
            of = self._tasks[task]
            self._ended.remove(task)
            self._done[of.noun] -= of.amount
            self._estimate.opened(task)

    def gave_up(self, task: str) -> None:
        """`task` failed, or is blocked by one that did: nothing of it is left to be done."""
        if task not in self._given_up and task not in self._ended:
            self._given_up.add(task)
            self._estimate.closed(task)

    def seconds_of(self, task: str) -> float | None:
        """How long tasks of the function of `task` took so far, on average; None where none has ended."""
        spent, ended = self._busy.get(self._tasks[task].function.name, (0.0, 0.0))
        return spent / ended if ended else None

    def snapshot(
        self,
        now: float,
        running: int,
        workers: int,
        failed: int = 0,
        blocked: int = 0,
        busy: tuple[tuple[str, str, float], ...] = (),
    ) -> Snapshot:
        """Where the run stands at `now`: how many tasks run, gave up (`failed`), or wait for one that did.

        A rate counts from when the first task of its kind that ended in this run began, as far as the looks tell.
        """
        self._looked = now
        counts = {noun: Count(self._done[noun], total, self._rate(noun, now)) for noun, total in self._total.items()}
        working = [(task, seconds) for task, _, seconds in busy if task]
        left = self._estimate.left(workers, working)
        seconds, unknown = (left.seconds, left.unknown) if left else (None, 0)
        done, least = len(self._ended), self._estimate.at_least(workers, working) if left is None else 0.0
        return Snapshot(done, len(self._tasks), running, failed, counts, seconds, blocked, busy, unknown, least)

    def _rate(self, noun: str, now: float) -> float:
        return self._fresh[noun] / max(now - self._began[noun], 1e-9) if noun in self._began else 0.0

    def _end(self, task: str, seconds: float) -> None:
        of = self._tasks[task]
        if task not in self._ended:
            self._ended.add(task)
            self._done[of.noun] += of.amount
            if task in self._given_up:
                self._given_up.remove(task)
            else:
                self._estimate.closed(task)
        busy = self._busy[of.function.name]
        busy[0] += seconds
        busy[1] += 1
        self._estimate.took(task, seconds)


def rate_in_words(per_second: float) -> str:
    """A rate with three digits, in the unit that makes it one or more where there is one: "1,610/s", "4.2/min"."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if (rate := per_second * seconds) >= 1:
            return f"{rate:,.0f}/{unit}" if rate >= 100 else f"{rate:.3g}/{unit}"
    return f"{per_second * 3600:.3g}/h"


def duration(seconds: float) -> str:
    """Seconds in words: "2 min 05 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
