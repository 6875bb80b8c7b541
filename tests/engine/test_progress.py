"""Progress in the user's units."""

from intriguing.engine.progress import Progress
from intriguing.engine.task import Function, Task


def test_a_line_tells_done_total_rate_failures_and_what_is_left() -> None:
    fast, slow = Function("x:fast", 1), Function("x:slow", 1)
    tasks = [Task(f"s{i}", fast, amount=100, noun="searches") for i in range(4)]
    tasks += [Task("t", slow)]
    progress = Progress(tasks, started=0.0)
    progress.reused("s0", 10.0)
    progress.finished("s1", 10.0)
    line = progress.snapshot(now=20.0, running=1, workers=2, failed=1).line()
    assert line == "2/5 tasks, searches 200/400 (5/s), 1 failed, about 15 s left"


def test_before_anything_ended_no_time_is_promised() -> None:
    progress = Progress([Task("t", Function("x:y", 1))], started=0.0)
    assert progress.snapshot(now=1.0, running=1, workers=1).seconds_left is None
