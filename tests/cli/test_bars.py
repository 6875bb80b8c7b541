"""The bars that a terminal shows while a run goes on."""

import io

from rich.console import Console

from intriguing.cli.bars import Bars
from intriguing.engine.progress.progress import Count, Snapshot


def test_bars_show_tasks_counts_and_the_time_left_and_command_no_terminal():
    shown = io.StringIO()
    counts = {"tasks": Count(3, 8), "searches": Count(1_200, 4_000, 55.5), "ima\x1b[31mges": Count(0, 10)}
    with Bars(Console(file=shown, force_terminal=True, width=120, color_system=None)) as bars:
        busy = (("model/mnist/cnn/0", "node7", 72.4), ("search/a\x1b[31m", "node8", 0.2))
        bars.show(Snapshot(3, 8, 5, 1, counts, 65.0, blocked=2, busy=busy))
        bars._shown.refresh()
        text = shown.getvalue()
    assert "3/8 1 failed, 2 blocked, about 1 min 05 s left" in text
    assert "1,200/4,000 55.5/s" in text
    assert "\x1b[31m" not in text
    assert "ima\\x1b[31mges" in text
    assert "at work: model/mnist/cnn/0 (node7, 1 min 12 s), search/a\\x1b[31m (node8) and 3 more" in text


def test_on_one_machine_its_name_is_not_told_and_where_nothing_runs_nothing():
    one = Snapshot(3, 8, 1, 0, {}, None, busy=(("model/mnist/cnn/0", "here", 2.0),))
    assert one.at_work() == "model/mnist/cnn/0 (2 s)"
    assert Snapshot(3, 8, 0, 0, {}, None).at_work() == ""
