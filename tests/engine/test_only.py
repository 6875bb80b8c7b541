"""Some tasks alone: they run with what they need, everything else waits as it was."""

from typing import Any

import pyarrow.parquet as pq
import pytest

from intriguing.engine.driver import Driver, write_plan
from intriguing.engine.examination import examine
from intriguing.engine.pools.inline import InlinePool
from intriguing.engine.storage.ownership import read_plan
from intriguing.engine.storage.publish import LONGEST_TRACE, Failure, Publication, trimmed
from intriguing.engine.storage.store import Store
from intriguing.errors import UnknownNameError
from intriguing.sweep.runner import tasks_named
from tests.engine.toy import toy_plan


def execute(plan, run, only=None, debug=None, listen=lambda _: None):
    found = examine(plan, run)
    write_plan(run, plan, {"name": "toy"})
    pool = lambda: InlinePool(run, debug=debug)  # noqa: E731
    return Driver(plan, run, found, pool, None, listen, only=only).run(lambda task: f"alone {task}")


def failures(run):
    rows = pq.read_table(run / "tables" / "failures").to_pylist()
    return {row["task"]: row["rerun_command"] for row in rows}


def test_a_task_runs_with_what_it_needs_and_the_others_wait(tmp_path):
    plan = toy_plan()
    outcome = execute(plan, tmp_path, {"scale/1"})
    assert outcome.ran == ("range/1", "scale/1")
    assert len(outcome.waiting) == 7
    assert not outcome.failures
    assert not outcome.complete
    assert read_plan(tmp_path)["tasks"] == 9
    assert len(execute(plan, tmp_path).ran) == 7


def test_what_is_finished_stays_in_the_tables_and_in_the_plan(tmp_path):
    plan = toy_plan()
    execute(plan, tmp_path, {"scale/1"})
    outcome = execute(plan, tmp_path, {"scale/2"})
    assert outcome.ran == ("range/2", "scale/2")
    assert set(outcome.reused) == {"range/1", "scale/1"}
    assert len(pq.read_table(tmp_path / "tables" / "scaled")) == 20


def test_a_failure_that_was_not_tried_again_stays_listed(tmp_path):
    plan = toy_plan(do="raise")
    outcome = execute(plan, tmp_path)
    assert (len(outcome.failures), len(outcome.blocked)) == (1, 2)
    assert failures(tmp_path) == {"range/1": "alone range/1"}
    assert execute(plan, tmp_path, {"range/2"}).failures == ()
    assert failures(tmp_path) == {"range/1": "alone range/1"}
    trace = pq.read_table(tmp_path / "tables" / "failures")["traceback"][0].as_py()
    assert "this one always raises" in trace


def test_failed_and_blocked_are_counted_apart_everywhere(tmp_path):
    import json

    seen: list[Any] = []
    execute(toy_plan(do="raise"), tmp_path, listen=seen.append)
    assert (seen[-1].failed, seen[-1].blocked) == (1, 2)
    assert "1 failed, 2 blocked" in seen[-1].line()
    told = json.loads((tmp_path / "live" / "status.json").read_text())
    assert (told["failed"], told["blocked"]) == (1, 2)


def test_the_debugger_is_shown_the_error_with_its_frames(tmp_path):
    shown: list[BaseException] = []
    execute(toy_plan(do="raise"), tmp_path, {"range/1"}, debug=shown.append)
    [error] = shown
    assert isinstance(error, ValueError)
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    assert last is not None
    assert last.tb_frame.f_code.co_filename.endswith("toy.py")


def test_names_and_patterns_choose_tasks_and_unknown_ones_list_the_nearest():
    plan = toy_plan()
    assert tasks_named(plan, ["range/1", "sca*"]) == {"range/1", "scale/0", "scale/1", "scale/2", "scale/3"}
    with pytest.raises(UnknownNameError, match="no task named 'rnage/1'. Did you mean 'range/1'"):
        tasks_named(plan, ["rnage/1"])


def test_a_long_traceback_keeps_its_beginning_and_its_end():
    trace = "first\n" + "middle\n" * 10_000 + "last"
    kept = trimmed(trace)
    assert len(kept) <= LONGEST_TRACE
    assert kept.startswith("first\n")
    assert kept.endswith("middle\nlast")
    assert "characters are left out" in kept
    assert trimmed("short\n") == "short"


def test_a_foreign_table_of_failures_is_not_believed(tmp_path):
    publication = Publication(tmp_path, toy_plan(), Store(tmp_path / "store"))
    assert publication.failures() == []
    publication.summarise({}, [Failure("a", "f", 1, "E", "m", "t")], lambda task: "x")
    assert publication.failures() == [Failure("a", "f", 1, "E", "m", "t")]
    (tmp_path / "tables" / "failures" / "failures.parquet").write_bytes(b"PAR1 not a table")
    assert publication.failures() == []
