"""What a status shows of a run that is at work."""

import json
import os
import time
from pathlib import Path

import pytest

from intriguing.basics.folders.saved_plan import read_status
from intriguing.engine.pools.inline import InlinePool
from intriguing.engine.pools.pool import answer
from intriguing.engine.storage.lock import locked
from intriguing.sweep.status import status_of
from tests.engine.driving import execute
from tests.engine.simulated import SimulatedPool
from tests.engine.toy import toy_plan


@pytest.fixture(autouse=True)
def every_task_is_short(monkeypatch):
    """However long a busy machine takes for one: what is queued where follows from it."""
    monkeypatch.setattr("intriguing.engine.dispatch.SHORT", float("inf"))


def test_a_status_names_workers_machines_slow_tasks_and_failures(tmp_path, monkeypatch):
    monkeypatch.setattr("intriguing.engine.driver._TICK", 0.0)
    monkeypatch.setattr("intriguing.engine.driver._HEARTBEAT", -1.0)
    seen, busy = [], []

    def behave(worker, call):
        seen.append(read_status(tmp_path))
        if call.task == "scale/0":
            busy.extend(row[:3] for row in seen[-1]["busy"])
        return

    pool = SimulatedPool(tmp_path, {"w0": "h0", "w1": "h0", "w2": "h1"}, behave)
    execute(toy_plan(8, do="raise"), tmp_path, lambda: pool)
    last = seen[-1]
    assert (last["workers"], last["nodes"]) == (3, [["H0", 2, "cpu"], ["H1", 1, "cpu"]])
    assert [failure[:2] for failure in last["failures"]] == [["range/1", "ValueError"]]
    assert sorted(busy) == [["range/6", "w0", "H0"], ["range/7", "w1", "H0"], ["scale/0", "w2", "H1"]]
    took = dict(last["slowest"])
    assert len(took) == 10  # of the 12 that ended by then
    assert took.keys() <= set(toy_plan(8).tasks) - {"range/1", "scale/1", "total"}
    assert list(took.values()) == sorted(took.values(), reverse=True)
    assert any(status["failures"] for status in seen[:-5])  # told while the run goes on


def test_what_runs_in_the_drivers_own_thread_is_told_while_it_runs(tmp_path, monkeypatch):
    """Nothing was told until a task had ended, and nobody could tell a long one from one that hangs."""
    monkeypatch.setattr("intriguing.engine.driver._TICK", 0.01)
    monkeypatch.setattr("intriguing.engine.driver._HEARTBEAT", -1.0)
    monkeypatch.chdir(tmp_path)
    heard, elsewhere = [], tmp_path / "elsewhere"
    elsewhere.mkdir()

    def waiting(call, *rest, **options):
        os.chdir(elsewhere)  # as a task's model may
        for told in (lambda: heard and heard[-1].busy, lambda: read_status(tmp_path / "run").get("busy")):
            until = time.monotonic() + 120
            while not (told() and told()[0][0] == call.task) and time.monotonic() < until:
                time.sleep(0.01)
            assert told()[0][0] == call.task
        os.chdir(tmp_path)
        return answer(call, *rest, **options)

    monkeypatch.setattr("intriguing.engine.pools.inline.answer", waiting)
    outcome = execute(toy_plan(2), Path("run"), lambda: InlinePool(Path("run")), listen=heard.append)
    assert outcome.complete and not any(elsewhere.iterdir())


def test_the_table_of_failures_is_written_while_the_run_goes_on(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr("intriguing.engine.driver._TICK", 0.0)
    monkeypatch.setattr("intriguing.engine.driver._HEARTBEAT", -1.0)
    seen = []

    def behave(worker, call):
        path = tmp_path / "tables" / "failures" / "failures.parquet"
        seen.append(pq.read_table(path)["task"].to_pylist() if path.exists() else None)
        return

    execute(toy_plan(8, do="raise"), tmp_path, lambda: SimulatedPool(tmp_path, {"w0": "h"}, behave))
    assert ["range/1"] in seen


def test_a_status_of_a_run_that_is_not_at_work_shows_nobody(tmp_path):
    execute(toy_plan(), tmp_path)
    assert status_of(tmp_path)["live"] == {}
    with locked(tmp_path):
        assert status_of(tmp_path)["live"]["workers"] == 1


def test_rows_that_no_driver_writes_are_left_out(tmp_path):
    (tmp_path / "live").mkdir()
    good = ["task", "worker", "machine", 4, "models"]
    odd = {"busy": [["t"], good, [*good[:3], "4", ""], [1, 2, 3, 4, 5]], "nodes": "x", "workers": -1}
    odd["failures"] = [["a", "b", "c"]] * 200
    (tmp_path / "live" / "status.json").write_text(json.dumps(odd))
    status = read_status(tmp_path)
    assert (status["busy"], status["nodes"], status["workers"]) == ([good], [], 0)
    assert len(status["failures"]) == 100
