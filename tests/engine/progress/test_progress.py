"""Progress in the user's units."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intriguing.engine.progress.progress import Progress, rate_in_words
from intriguing.engine.task import Function, Task


def test_a_line_tells_done_total_rate_failures_and_what_is_left():
    fast, slow = Function("x:fast", 1), Function("x:slow", 1)
    tasks = [Task(f"s{i}", fast, amount=100, noun="searches") for i in range(4)]
    tasks += [Task("t", slow)]
    progress = Progress({t.name: t for t in tasks}, started=0.0)
    progress.reused("s0", 20.0)
    progress.snapshot(now=20.0, running=1, workers=2)
    progress.finished("s1", 20.0)
    line = progress.snapshot(now=20.0, running=1, workers=2).line()
    assert line == "2/5 tasks, searches 200/400 (5/s), 0 failed, about 20 s left and 1 task of a kind not seen yet"
    progress.gave_up("t")
    line = progress.snapshot(now=20.0, running=1, workers=2, failed=1).line()
    assert line == "2/5 tasks, searches 200/400 (5/s), 1 failed, about 20 s left"


def test_a_line_tells_what_is_under_way_and_its_rate_since_it_began():
    """A sweep of thirty kinds logged a screenful each time, with rates of what had ended minutes ago."""
    nouns = ("models", "searches", "scans")
    tasks = [Task(f"{noun}{i}", Function(f"x:{noun}", 1), amount=10, noun=noun) for noun in nouns for i in range(2)]
    progress = Progress({t.name: t for t in tasks}, started=0.0)
    for name in ("models0", "models1"):
        progress.finished(name, 5.0)
    progress.snapshot(now=990.0, running=2, workers=2)
    progress.finished("searches0", 2.0)
    line = progress.snapshot(now=1000.0, running=2, workers=2).line()
    assert line.startswith("3/6 tasks, searches 10/20 (50/min), 0 failed")


@pytest.mark.parametrize(
    ("rate", "words"), [(1612.3, "1,612/s"), (42.18, "42.2/s"), (0.0677, "4.06/min"), (0.01, "36/h"), (1e-4, "0.36/h")]
)
def test_a_rate_in_words_has_a_unit_in_which_it_can_be_read(rate, words):
    assert rate_in_words(rate) == words


def test_before_anything_ended_no_time_is_promised():
    progress = Progress({"t": Task("t", Function("x:y", 1))}, started=0.0)
    assert progress.snapshot(now=1.0, running=1, workers=1).seconds_left is None


def test_long_trainings_that_come_first_say_nothing_of_the_many_short_tasks_after_them():
    """Two minutes were told where 25 seconds were left."""
    training, short = Function("x:train", 1), Function("x:short", 1)
    tasks = [Task(f"m{i}", training) for i in range(3)] + [Task(f"s{i}", short) for i in range(20)]
    progress = Progress({t.name: t for t in tasks}, started=0.0)
    progress.finished("m0", 10.0)
    assert progress.snapshot(10.0, 1, 1).seconds_left is None
    progress.finished("s0", 0.5)
    assert progress.snapshot(10.5, 1, 1).seconds_left == 2 * 10.0 + 19 * 0.5


def test_a_task_that_runs_again_counts_once():
    """A damaged output was told as "images 80/40 ... about -1 h 59 min left"."""
    tasks = [Task(f"a{i}", Function("x:y", 1), amount=40, noun="images") for i in range(2)]
    progress = Progress({t.name: t for t in tasks}, started=0.0)
    progress.reused("a0", 7.0)
    progress.reopened("a0")
    assert progress.snapshot(1.0, 1, 1).line() == "0/2 tasks, 0 failed, about 14 s left"
    progress.finished("a0", 7.0)
    progress.finished("a0", 7.0)
    shown = progress.snapshot(14.0, 1, 1)
    assert (shown.tasks_done, shown.counts["images"].done, shown.seconds_left) == (1, 40, 7.0)


EVENT = st.tuples(st.sampled_from(("reused", "finished", "reopened", "gave_up")), st.integers(0, 4), st.floats(0, 1e4))


@settings(deadline=None, max_examples=50)
@given(st.lists(EVENT, max_size=60), st.integers(0, 3))
def test_done_never_exceeds_the_total_and_the_time_left_is_never_negative(events, workers):
    tasks = [Task(f"t{i}", Function(f"x:{i % 2}", 1), amount=i, noun=("images", "scans")[i % 2]) for i in range(5)]
    progress = Progress({t.name: t for t in tasks}, started=0.0)
    done, ever = set(), False
    for kind, number, seconds in events:
        if kind in ("reopened", "gave_up"):
            getattr(progress, kind)(f"t{number}")
            done -= {number} if kind == "reopened" else set()
        else:
            getattr(progress, kind)(f"t{number}", seconds)
            done.add(number)
            ever = True
        shown = progress.snapshot(1.0, 1, workers)
        assert shown.tasks_done == len(done)
        assert shown.counts["images"].done == sum(i for i in done if i % 2 == 0) <= shown.counts["images"].total
        assert shown.seconds_left is None or ever
        assert (shown.seconds_left or 0) >= 0
        assert " -" not in shown.line()
    if done == set(range(5)):
        assert shown.seconds_left == 0
