"""One plan, several pools: what comes out is the same, and what goes wrong is told."""

import logging
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from intriguing.engine.examination import examine
from intriguing.engine.pools.inline import InlinePool
from intriguing.engine.pools.pool import answer
from intriguing.engine.storage.lock import locked
from intriguing.engine.task import Code, Output, Plan, Task
from intriguing.engine.worker import Call
from intriguing.errors import LockedError
from tests.engine.driving import execute, ray_pool
from tests.engine.toy import LEAVE, RANGE, flip, toy_plan


def read(run, table):
    return pq.read_table(run / "tables" / table).sort_by("id").to_pydict()


def test_a_plan_runs_to_its_end_and_publishes_its_tables(tmp_path):
    outcome = execute(toy_plan(), tmp_path)
    assert outcome.complete
    assert len(outcome.ran) == 9
    assert read(tmp_path, "scaled")["value"] == [3 * i * i for i in range(40)]
    assert pq.read_table(tmp_path / "tables" / "totals")["total"].to_pylist() == [sum(i * i for i in range(40))]


def test_a_finished_plan_runs_nothing_and_asks_for_no_pool(tmp_path):
    execute(toy_plan(), tmp_path)
    outcome = execute(toy_plan(), tmp_path, lambda: pytest.fail("a pool was started"))
    assert outcome.complete
    assert outcome.ran == ()
    assert len(outcome.reused) == 9


def test_one_shard_more_computes_its_own_tasks_and_what_reads_it(tmp_path):
    execute(toy_plan(4), tmp_path)
    outcome = execute(toy_plan(5), tmp_path)
    assert sorted(outcome.ran) == ["range/4", "scale/4", "total"]
    assert len(read(tmp_path, "numbers")["id"]) == 50


def test_a_smaller_plan_takes_its_rows_out_of_the_tables_and_keeps_them_in_the_store(tmp_path):
    execute(toy_plan(4), tmp_path)
    execute(toy_plan(2), tmp_path)
    assert read(tmp_path, "numbers")["id"] == list(range(20))
    assert execute(toy_plan(4), tmp_path).ran == ()


def test_strict_inline_gives_the_same_tables(tmp_path):
    execute(toy_plan(), tmp_path / "a")
    execute(toy_plan(), tmp_path / "b", lambda: InlinePool(tmp_path / "b", strict=True))
    assert read(tmp_path / "a", "scaled") == read(tmp_path / "b", "scaled")


def test_a_task_that_leaves_the_working_folder_reads_its_inputs_and_writes_nothing_elsewhere(tmp_path, monkeypatch):
    """A model whose forward called os.chdir("/") had its tables and plan.json written there."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    made = Task("range", RANGE, {"start": 0, "stop": 5})
    leaves = Task(
        "leave",
        LEAVE,
        {"folder": str(elsewhere)},
        {"numbers": [Output("range", "numbers")]},
        publish={"numbers": "numbers"},
    )
    assert execute(Plan([made, leaves]), Path("run")).complete
    assert read(tmp_path / "run", "numbers")["id"] == [0, 1, 2, 3, 4]
    assert Path.cwd() == tmp_path
    assert not any(elsewhere.iterdir())


def test_a_task_that_raises_fails_alone_blocks_its_users_and_is_listed(tmp_path):
    outcome = execute(toy_plan(do="raise"), tmp_path)
    assert [f.task for f in outcome.failures] == ["range/1"]
    assert sorted(outcome.blocked) == ["scale/1", "total"]
    failed = pq.read_table(tmp_path / "tables" / "failures").to_pylist()
    trace = failed[0].pop("traceback")
    assert trace.startswith("Traceback (most recent call last):")
    assert 'toy.py", line' in trace
    assert trace.endswith("ValueError: this one always raises")
    assert failed == [
        {
            "task": "range/1",
            "function": "tests.engine.toy:make_range",
            "attempts": 1,
            "error_type": "ValueError",
            "message": "this one always raises",
            "rerun_command": "again range/1",
        }
    ]


def test_a_task_that_ends_the_process_fails_alone(tmp_path):
    """A `sys.exit` in a user's model ended the whole run without a word."""
    outcome = execute(toy_plan(do="exit"), tmp_path)
    [failure] = outcome.failures
    assert (failure.task, failure.error_type) == ("range/1", "SystemExit")
    assert failure.message == "its code ended the process (exit code 3)"
    assert "range/2" in outcome.ran


def test_an_error_that_is_no_exception_fails_its_task_alone(tmp_path):
    """`asyncio.CancelledError` of a user's code ended the whole run with a traceback."""
    outcome = execute(toy_plan(do="cancel"), tmp_path)
    [failure] = outcome.failures
    assert (failure.task, failure.error_type) == ("range/1", "CancelledError")
    assert failure.message == "no longer wanted"
    assert "range/2" in outcome.ran


def test_an_interrupt_in_this_process_stops_the_run(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        execute(toy_plan(do="interrupt"), tmp_path)


@pytest.mark.parametrize(("is_ray_s", "ends"), [(False, False), (True, True)])
def test_where_ray_ends_a_worker_its_task_did_not_fail(is_ray_s, ends, monkeypatch):
    error = SystemExit(1)
    if is_ray_s:
        error.ray_terminate_msg = b"The process receives a SIGTERM."  # type: ignore[attr-defined]

    def run_call(*_):
        raise error

    monkeypatch.setattr("intriguing.engine.pools.pool.run_call", run_call)
    call = Call("t", Code("m:f"), "0" * 40, {})
    if ends:
        with pytest.raises(SystemExit):
            answer(call, None, None, "w")
    else:
        assert answer(call, None, None, "w").message == "its code ended the process (exit code 1)"


def test_a_failure_is_cleared_when_its_task_succeeds(tmp_path):
    marker = str(tmp_path / "once")
    assert not execute(toy_plan(do="raise", marker=marker), tmp_path / "run").complete
    outcome = execute(toy_plan(do="raise", marker=marker), tmp_path / "run")
    assert sorted(outcome.ran) == ["range/1", "scale/1", "total"]
    assert pq.read_table(tmp_path / "run" / "tables" / "failures").num_rows == 0


@pytest.mark.parametrize("whose", ["device", "Python", "torch"])
def test_out_of_memory_halves_the_batch_and_the_record_says_so(whose, tmp_path, caplog):
    short = {"batch": 64, "limit": 20, "whose": whose}
    plan = Plan(replace(t, parameters=short) if t.name == "scale/1" else t for t in toy_plan())
    outcome = execute(plan, tmp_path)
    assert outcome.complete
    assert outcome.records["scale/1"].shrunk == {"batch": 16}
    assert "scale/1 ran out of memory and went on with {'batch': 16}" in caplog.text


@pytest.mark.parametrize("whose", ["Python", "torch"])
def test_a_task_for_which_no_memory_is_left_says_what_to_do(whose, tmp_path):
    """It said "MemoryError: MemoryError"."""
    short = {"batch": 64, "limit": 0, "whose": whose}
    plan = Plan(replace(t, parameters=short) if t.name == "scale/1" else t for t in toy_plan())
    outcome = execute(plan, tmp_path)
    [failure] = outcome.failures
    assert "No memory was left for it (" in failure.message
    assert "run fewer workers or other programs at once, or make its work smaller" in failure.message
    assert set(outcome.ran) == set(plan.tasks) - {"scale/1"}


def test_a_truncated_shard_is_found_named_and_computed_again(tmp_path, caplog):
    plan = toy_plan()
    execute(plan, tmp_path)
    shard = tmp_path / "store" / plan.fingerprints["range/2"] / "numbers.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    found = examine(plan, tmp_path)
    assert str(shard) in found.damaged[0]
    assert "has 100 bytes where" in found.damaged[0]
    outcome = execute(plan, tmp_path)
    assert outcome.ran == ("range/2",)
    assert read(tmp_path, "numbers")["id"] == list(range(40))


def test_a_changed_byte_is_found_when_the_shard_is_read_and_its_task_runs_again(tmp_path, caplog):
    plan = toy_plan()
    execute(plan, tmp_path)
    flip(tmp_path / "store" / plan.fingerprints["range/2"] / "numbers.parquet")
    (tmp_path / "store" / plan.fingerprints["scale/2"] / "record.json").unlink()
    outcome = execute(plan, tmp_path)
    assert outcome.complete
    assert sorted(outcome.ran) == ["range/2", "scale/2"]
    assert "was changed after it was written" in caplog.text


def test_a_second_driver_on_one_folder_is_refused(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(LockedError, match=r"in use by another driver \(process \d+ on"),
        locked(tmp_path),
    ):
        pass


@pytest.mark.ray
def test_ray_gives_the_same_tables(tmp_path, ray_started):
    execute(toy_plan(), tmp_path / "inline")
    outcome = execute(toy_plan(), tmp_path / "ray", ray_pool(tmp_path / "ray"))
    assert outcome.complete
    for table in ("numbers", "scaled"):
        assert read(tmp_path / "ray", table) == read(tmp_path / "inline", table)


@pytest.mark.ray
def test_workers_that_do_not_see_the_run_folder_give_the_same_tables(tmp_path, ray_started):
    from intriguing.engine.pools.on_ray import RayPool

    execute(toy_plan(), tmp_path / "inline")
    outcome = execute(toy_plan(), tmp_path / "ray", lambda: RayPool(tmp_path / "ray", 2, carry=True))
    assert outcome.complete
    for table in ("numbers", "scaled"):
        assert read(tmp_path / "ray", table) == read(tmp_path / "inline", table)


@pytest.mark.ray
def test_a_damaged_input_of_a_far_worker_is_made_again(tmp_path, ray_started, caplog):
    from intriguing.engine.pools.on_ray import RayPool

    plan = toy_plan()
    execute(plan, tmp_path)
    flip(tmp_path / "store" / plan.fingerprints["range/2"] / "numbers.parquet")
    (tmp_path / "store" / plan.fingerprints["scale/2"] / "record.json").unlink()
    outcome = execute(plan, tmp_path, lambda: RayPool(tmp_path, 1, carry=True))
    assert sorted(outcome.ran) == ["range/2", "scale/2"]


@pytest.mark.ray
def test_a_killed_worker_is_replaced_and_its_task_runs_again(tmp_path, ray_started, caplog):
    plan = toy_plan(do="kill", bad=0, marker=str(tmp_path / "once"))
    outcome = execute(plan, tmp_path / "run", ray_pool(tmp_path / "run"))
    assert outcome.complete
    assert outcome.records["range/0"].attempts == 2
    assert "is gone" in caplog.text


@pytest.mark.ray
def test_a_task_that_always_kills_its_worker_is_quarantined_and_the_rest_goes_on(tmp_path, ray_started, caplog):
    outcome = execute(toy_plan(do="kill"), tmp_path, ray_pool(tmp_path), attempts=2)
    assert [(f.task, f.attempts, f.error_type) for f in outcome.failures] == [("range/1", 2, "WorkerLost")]
    assert sorted(outcome.blocked) == ["scale/1", "total"]
    assert "scale/3" in outcome.ran


@pytest.mark.ray
def test_a_hung_worker_is_killed_and_its_task_runs_again(tmp_path, ray_started, caplog):
    caplog.set_level(logging.WARNING)
    plan = toy_plan(do="hang", marker=str(tmp_path / "once"))
    outcome = execute(plan, tmp_path / "run", ray_pool(tmp_path / "run"), task_seconds=12)
    assert outcome.complete
    assert "no sign of life within 12 s" in caplog.text


@pytest.mark.ray
def test_too_large_a_demand_is_refused_with_what_the_cluster_has(tmp_path, ray_started):
    from intriguing.engine.pools.on_ray import RayPool
    from intriguing.errors import ClusterError

    pool = RayPool(tmp_path, workers=1, gpus=1, start_timeout=2)
    pool.want(1)
    with pytest.raises(ClusterError, match=r"1 CPU, 1 GPU\) could start within 2 s; the cluster has \{'CPU'"):
        while True:
            assert not pool.events(0.2)
    pool.close()
