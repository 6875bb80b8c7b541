"""The time that is left, on runs of several kinds of tasks that are played by a clock."""

from heapq import heappop, heappush

import pytest

from intriguing.engine.progress.time_left import Estimate, TimeLeft
from intriguing.engine.task import Function, Task


def kind(name, seconds, count, place="digits/cnn/0"):
    """`count` tasks of a kind at a place, each with the seconds that it takes."""
    return {f"{name}/{place}/{i:05d}": seconds for i in range(count)}


def estimate_of(tasks):
    return Estimate({name: Task(name, Function(f"x:{name.partition('/')[0]}", 1)) for name in tasks})


def played(tasks, workers):
    """(seconds since the start, what was told, what was true) after each task, one after the other on free workers."""
    estimate, queue, events, told = estimate_of(tasks), list(tasks.items()), [], []
    now = 0.0
    running = {}
    while queue or running:
        while queue and len(running) < workers:
            task, seconds = queue.pop(0)
            running[task] = now
            heappush(events, (now + seconds, task, seconds))
        now, name, seconds = heappop(events)
        del running[name]
        estimate.took(name, seconds)
        estimate.closed(name)
        told.append((now, estimate.left(workers, [(task, now - began) for task, began in running.items()])))
    return [(at, left, now - at) for at, left in told]


SEVERAL = [("train", 9.0, 3), ("activations", 0.5, 40), ("null", 2.0, 30), ("search", 4.0, 12), ("feed", 0.2, 80)]
"""Stages of a sweep, as one model's tasks: kind, seconds of each, how many."""


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_what_is_told_is_true_or_says_what_it_leaves_out(workers):
    tasks = {}
    for name, seconds, count in SEVERAL:
        tasks |= kind(name, seconds, count)
    seen = 0
    for _, left, true in played(tasks, workers):
        if left is None:
            continue
        seen += 1
        longest = max(seconds for _, seconds, _ in SEVERAL)
        assert left.seconds <= true + longest
        if not left.unknown:
            assert left.seconds >= true - longest
    assert seen >= 80


def test_nothing_is_told_while_most_tasks_are_of_kinds_not_seen():
    tasks = kind("train", 60.0, 3) | kind("short", 0.5, 20)
    first = played(tasks, 1)[0]
    assert first[1] is None
    assert played(tasks, 1)[3][1] == TimeLeft(19 * 0.5)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("first", [60.0, 1.0])
def test_at_least_is_never_more_than_what_is_left_and_says_something_before_the_rest_is_known(workers, first):
    tasks = {}
    for place, seconds in (("digits/a/0", first), ("digits/b/0", 2.0), ("digits/c/0", 3.0)):
        tasks |= kind("train", seconds, 1, place) | kind("search", seconds / 2, 8, place)
    tasks |= kind("feed", 0.1, 90)
    estimate, rest, told = estimate_of(tasks), sum(tasks.values()), []
    for name, seconds in tasks.items():
        estimate.took(name, seconds)
        estimate.closed(name)
        rest -= seconds
        told.append(estimate.at_least(workers))
        assert told[-1] <= rest / workers + 1e-9
    assert told[0] == 0 and max(told) > 1


def test_at_least_counts_what_is_at_work_only_for_what_it_still_takes():
    """Behind a search that took 2 s, the next one had "at least 2 s left" after minutes."""
    estimate = estimate_of(kind("search", 2.0, 4))
    estimate.took("search/digits/cnn/0/00000", 2.0)
    estimate.closed("search/digits/cnn/0/00000")
    second = "search/digits/cnn/0/00001"
    assert [estimate.at_least(1, [(second, seconds)]) for seconds in (0.0, 0.5, 200.0)] == [6.0, 5.5, 4.0]


def test_a_model_that_is_slow_in_one_kind_of_task_is_taken_to_be_slow_in_the_next():
    """5 s were told where 142 were left: the bounds of the one slow network, among many of small ones."""
    quick, slow = "digits/small/0", "digits/large/0"
    tasks = kind("search", 1.0, 8, quick) | kind("search", 9.0, 8, slow)
    tasks |= kind("bound", 2.0, 4, quick) | kind("bound", 18.0, 4, slow)
    told = played(tasks, 1)
    _, left, true = told[19]  # bounds of the small network have ended, and none of the large
    assert true == 4 * 18
    assert left == TimeLeft(pytest.approx(4 * 2 * (72 / (8 * 5))))
    _, left, true = told[20]
    assert left == TimeLeft(pytest.approx(3 * 18)) and true == 3 * 18


@pytest.mark.parametrize("slower", [1000.0, 8.0, 1 / 8, 1 / 1000])
def test_a_model_is_taken_to_be_ten_times_as_slow_or_quick_at_most(slower):
    quick, slow = "digits/small/0", "digits/large/0"
    tasks = kind("search", 1.0, 9999, quick) | kind("search", slower, 1, slow) | kind("bound", 2.0, 1, quick)
    estimate = estimate_of(tasks | kind("bound", 0.0, 1, slow))
    for task, seconds in tasks.items():
        estimate.took(task, seconds)
        estimate.closed(task)
    usual = (9999 + slower) / 10_000
    assert estimate.left(1).seconds == pytest.approx(2.0 * min(max(slower / usual, 0.1), 10.0))


def test_what_is_at_work_counts_what_it_has_behind_it():
    tasks = kind("search", 10.0, 5)
    estimate = estimate_of(tasks)
    first, second, third, *_ = tasks
    estimate.took(first, 10.0)
    estimate.closed(first)
    assert estimate.left(2, [(second, 4.0), (third, 4.0)]) == TimeLeft((20 + 2 * 6) / 2)
    assert estimate.left(2, [(second, 30.0)]) == TimeLeft(30.0)  # one that takes long is taken to be half done


def test_a_task_of_an_unknown_kind_that_is_at_work_counts_by_its_own_time():
    tasks = kind("search", 1.0, 6) | kind("words", 50.0, 1)
    estimate = estimate_of(tasks)
    *searches, words = tasks
    for task in searches:
        estimate.took(task, 1.0)
        estimate.closed(task)
    assert estimate.left(2, [(words, 20.0)]) is None  # all that is left is unknown
    estimate.opened(searches[0])
    estimate.opened(searches[1])
    assert estimate.left(2) == TimeLeft(1.0, 1)
    assert estimate.left(2, [(words, 20.0)]) == TimeLeft(20.0)
