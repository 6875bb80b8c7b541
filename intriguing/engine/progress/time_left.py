"""How long the rest of a run takes, told from what its tasks took so far."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from intriguing.engine.task import Task

_PLACE = slice(1, 4)
_TRUSTED = 0.1, 10.0


@dataclass(frozen=True)
class TimeLeft:
    """Seconds that are left, and how many tasks are not in them, since none of their kind has ended yet."""

    seconds: float
    unknown: int = 0


class Estimate:
    """What tasks of every kind take, at every place.

    A task's kind is its function; its place is what its name says after the first part and before the last
    ("search/digits/cnn/0/00003": digits/cnn/0), for tasks of one model are alike: where a model's tasks took twice what
    their kinds take on average, so will those of its tasks whose kind has not been seen there.
    """

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = tasks
        self._left: dict[tuple[str, str], int] = {}
        self._spent: dict[tuple[str, str], list[float]] = {}
        self._shortest: dict[tuple[str, str], float] = {}
        for name in tasks:
            self.opened(name)

    def opened(self, task: str) -> None:
        """`task` is still to be done."""
        key = self._key(task)
        self._left[key] = self._left.get(key, 0) + 1

    def closed(self, task: str) -> None:
        """Nothing of `task` is left to be done."""
        self._left[self._key(task)] -= 1

    def took(self, task: str, seconds: float) -> None:
        """`task` ended after `seconds`."""
        key = self._key(task)
        spent = self._spent.setdefault(key, [0.0, 0.0])
        spent[0] += seconds
        spent[1] += 1
        self._shortest[key] = min(seconds, self._shortest.get(key, seconds))

    def left(self, workers: int, busy: Iterable[tuple[str, float]] = ()) -> TimeLeft | None:
        """What is left on so many workers, of which some are at work on `busy`: tasks with their seconds so far.

        None while more than half of the tasks left are of kinds of which none has ended: what one kind of task takes
        says little of another, and the trainings that come first are the longest. A task that has run for longer than
        was expected is taken to be half done. Never less than the longest task that is at work still takes.
        """
        kinds, places = self._means()
        count = sum(self._left.values())
        unknown = {key: n for key, n in self._left.items() if n and key[0] not in kinds}
        if not kinds or 2 * sum(unknown.values()) > count:
            return None
        total = sum(n * self._expected(key, kinds, places) for key, n in self._left.items() if n and key[0] in kinds)
        longest, waiting = 0.0, sum(unknown.values())
        for task, seconds in busy:
            key = self._key(task)
            expected = self._expected(key, kinds, places) if key[0] in kinds else 0.0
            rest = expected - seconds if expected > seconds else seconds
            total += rest - expected
            waiting -= key in unknown
            longest = max(longest, rest)
        return TimeLeft(max(total / max(workers, 1), longest, 0.0), max(waiting, 0))

    def at_least(self, workers: int, busy: Iterable[tuple[str, float]] = ()) -> float:
        """Seconds that the tasks left of kinds that are known take at least, on so many workers.

        What those at work (`busy`: tasks with their seconds so far) have behind them is not left.

        Each counts with the shortest of its kind and place, or of its kind where that was seen at two places or more:
        of trainings, say, the first tells nothing of the others.
        """
        seen: dict[str, list[float]] = {}
        for (kind, _), seconds in self._shortest.items():
            seen.setdefault(kind, []).append(seconds)
        kinds = {kind: min(shortest) for kind, shortest in seen.items() if len(shortest) > 1}

        def least(key: tuple[str, str]) -> float:
            return self._shortest.get(key, kinds.get(key[0], 0.0))

        total = sum(n * least(key) for key, n in self._left.items())
        total -= sum(min(seconds, least(self._key(task))) for task, seconds in busy)
        return max(total, 0.0) / max(workers, 1)

    def _means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Seconds per task of each kind, and per place how many times as long as their kinds its tasks take."""
        kinds: dict[str, list[float]] = {}
        for (kind, _), (spent, ended) in self._spent.items():
            of = kinds.setdefault(kind, [0.0, 0.0])
            of[0] += spent
            of[1] += ended
        means = {kind: spent / ended for kind, (spent, ended) in kinds.items()}
        places: dict[str, list[float]] = {}
        for (kind, place), (spent, ended) in self._spent.items():
            of = places.setdefault(place, [0.0, 0.0])
            of[0] += spent
            of[1] += ended * means[kind]
        least, most = _TRUSTED
        factors = {place: min(max(spent / usual, least), most) for place, (spent, usual) in places.items() if usual}
        return means, factors

    def _expected(self, key: tuple[str, str], kinds: Mapping[str, float], places: Mapping[str, float]) -> float:
        """Seconds of a task of this kind at this place."""
        spent, ended = self._spent.get(key, (0.0, 0.0))
        return spent / ended if ended else kinds[key[0]] * places.get(key[1], 1.0)

    def _key(self, task: str) -> tuple[str, str]:
        return self._tasks[task].function.name, "/".join(task.split("/")[:-1][_PLACE])
