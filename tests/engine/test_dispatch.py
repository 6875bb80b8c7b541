"""Who is given what, and when."""

import time

import pytest

from intriguing.engine.dispatch import SHORT, Dispatch
from intriguing.engine.pools.pool import Raised
from intriguing.engine.schedule import Node, Schedule
from intriguing.engine.worker import Damage
from tests.engine.driving import execute
from tests.engine.simulated import SimulatedPool
from tests.engine.toy import flip, toy_plan


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """What the clock says, in a list of one: it stands still until a test sets it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def dispatched(tmp_path, tasks, workers, seconds=0.1, nodes=None):
    schedule = Schedule(nodes or [Node(f"t{i}") for i in range(tasks)])
    pool = SimulatedPool(tmp_path, dict.fromkeys(workers, "h"))
    sent = []
    dispatch = Dispatch(schedule, pool, lambda task: seconds, lambda worker, task: sent.append((worker, task)))
    return schedule, pool, dispatch, sent


@pytest.mark.parametrize("seconds", [0.1, SHORT])
def test_every_worker_has_one_before_any_has_two(tmp_path, seconds):
    _, _, dispatch, sent = dispatched(tmp_path, 3, "ab", seconds)
    dispatch.offer()
    assert sent == [("a", "t0"), ("b", "t1"), ("a", "t2")]


@pytest.mark.parametrize("seconds", [None, 1.01 * SHORT])
def test_nothing_is_queued_behind_a_long_task_or_one_of_which_nothing_is_known(tmp_path, seconds):
    schedule, _, dispatch, sent = dispatched(tmp_path, 5, "ab", seconds)
    dispatch.offer()
    assert sent == [("a", "t0"), ("b", "t1")]
    schedule.succeeded("t0")
    dispatch.freed("a")
    dispatch.offer()
    assert sent[2:] == [("a", "t2")]


def test_a_call_behind_a_task_that_turned_out_long_is_taken_back_for_an_idle_worker(tmp_path, clock):
    schedule, pool, dispatch, sent = dispatched(tmp_path, 4, "ab")
    dispatch.offer()
    assert sent == [("a", "t0"), ("b", "t1"), ("a", "t2"), ("b", "t3")]
    for task in ("t1", "t3"):
        schedule.succeeded(task)
        dispatch.freed("b")
    dispatch.take_back()
    assert pool.recalled == []  # a has begun only now
    clock[0] += 2
    dispatch.take_back()
    dispatch.take_back()
    assert pool.recalled == [("a", "t2")]
    schedule.returned("t2")
    dispatch.freed("a")
    assert dispatch.seconds_busy()["a"] >= 2  # t0 did not begin anew when what waited behind it came back
    dispatch.offer()
    assert sent[4:] == [("b", "t2")]


def test_no_more_calls_are_taken_back_than_there_are_idle_workers(tmp_path, clock):
    schedule, pool, dispatch, _ = dispatched(tmp_path, 6, "abc")
    dispatch.offer()
    for task in ("t2", "t5"):
        schedule.succeeded(task)
        dispatch.freed("c")
    clock[0] += 2
    dispatch.take_back()
    assert pool.recalled == [("a", "t3")]


def test_a_worker_that_leaves_is_given_nothing_and_what_it_runs_is_awaited(tmp_path):
    schedule, pool, dispatch, sent = dispatched(tmp_path, 4, "ab")
    dispatch.offer()
    dispatch.left("a")
    assert pool.recalled == [("a", "t2")]
    schedule.returned("t2")
    dispatch.freed("a")
    schedule.succeeded("t0")
    dispatch.freed("a")
    schedule.succeeded("t1")
    dispatch.freed("b")
    dispatch.offer()
    assert sent[4:] == [("b", "t2")]


def test_a_notice_lets_what_runs_end_and_begins_nothing(tmp_path):
    _, pool, dispatch, sent = dispatched(tmp_path, 4, "a")
    dispatch.offer()
    dispatch.draining = True
    dispatch.take_back()
    assert pool.recalled == [("a", "t1")]
    dispatch.freed("a")
    dispatch.offer()
    assert sent == [("a", "t0"), ("a", "t1")]


def test_no_step_looks_at_all_workers(tmp_path, monkeypatch):
    workers = [f"w{i}" for i in range(2_000)]
    schedule, _, dispatch, _ = dispatched(tmp_path, 100, workers)
    dispatch.offer()
    asked = []
    monkeypatch.setattr(
        Schedule, "held_by", lambda self, worker, real=Schedule.held_by: asked.append(worker) or real(self, worker)
    )
    for i in range(50):
        schedule.succeeded(f"t{i}")
        dispatch.freed(f"w{i}")
        dispatch.offer()
    assert set(asked) <= {f"w{i}" for i in range(50)}


def test_a_task_that_gives_signs_of_life_is_not_hung_and_one_that_gives_none_is(tmp_path, clock):
    _, pool, dispatch, _ = dispatched(tmp_path, 2, "ab")
    pool.hanging |= {"a", "b"}
    dispatch.offer()
    for second in range(1, 40):
        clock[0] += 1
        pool.beats["a"] = str(second // 5)
        dispatch.kill_hung(10.0)
    killed = [event.worker for event in pool.events(0) if hasattr(event, "reason")]
    assert killed == ["b"]


def test_a_long_task_that_gives_signs_of_life_is_still_known_to_have_begun_long_ago(tmp_path, clock):
    schedule, pool, dispatch, _ = dispatched(tmp_path, 3, "ab")
    dispatch.offer()
    for second in range(1, 40):
        clock[0] += 1
        pool.beats["a"] = str(second)
        dispatch.kill_hung(10.0)
    assert dispatch.seconds_busy()["a"] == 39
    schedule.succeeded("t1")
    dispatch.freed("b")
    pool.beats["a"] = "40"
    dispatch.kill_hung(10.0)
    dispatch.take_back()
    assert pool.recalled == [("a", "t2")]


def test_a_sign_of_life_of_an_earlier_task_is_none_of_the_next(tmp_path, clock):
    schedule, pool, dispatch, _ = dispatched(tmp_path, 2, "a", seconds=None)
    pool.hanging.add("a")
    pool.beats["a"] = "early"
    dispatch.offer()
    clock[0] += 5
    dispatch.kill_hung(10.0)
    schedule.succeeded("t0")
    dispatch.freed("a")
    dispatch.offer()
    for seconds in (5, 5.5):
        clock[0] += seconds
        dispatch.kill_hung(10.0)
    assert [event.worker for event in pool.events(0) if hasattr(event, "reason")] == ["a"]


def test_what_is_known_of_a_worker_ends_with_it(tmp_path, clock):
    schedule, _, dispatch, _ = dispatched(tmp_path, 4, "ab")
    dispatch.offer()
    clock[0] += 1
    dispatch.left("a")
    dispatch.gone("a")
    schedule.lost("a", charged=False)
    dispatch.kill_hung(1e-9)
    dispatch.gone("b")
    schedule.lost("b", charged=False)
    held = [dispatch._idle, dispatch._room, dispatch._left, dispatch._began, dispatch._lived, dispatch._beats]
    assert not any([*held, dispatch._recalled, schedule._running, schedule._served, schedule._holder])


class Late(SimulatedPool):
    """Its workers read their inputs at once, and report one by one."""

    def events(self, timeout):
        if self._events:
            return [self._events.pop(0)]
        events = super().events(timeout)
        self._events = events[1:]
        return events[:1]


def shared_plan(readers=4):
    from intriguing.engine.task import Output, Plan, Task
    from tests.engine.toy import RANGE, TOTAL

    source = Task("p", RANGE, {"start": 0, "stop": 50}, publish={"numbers": "numbers"})
    return Plan(
        [source, *(Task(f"c/{i}", TOTAL, {"i": i}, {"numbers": [Output("p", "numbers")]}) for i in range(readers))]
    )


def test_one_damaged_input_of_many_readers_is_made_anew_once(tmp_path, monkeypatch, caplog):
    plan = shared_plan()
    monkeypatch.setattr("tests.engine.toy.total", lambda work, i: {"total": work.table("numbers").select(["id"])})
    execute(plan, tmp_path)
    shard = tmp_path / "store" / plan.fingerprints["p"] / "numbers.parquet"
    flip(shard)
    for i in range(4):
        (tmp_path / "store" / plan.fingerprints[f"c/{i}"] / "record.json").unlink()
    outcome = execute(plan, tmp_path, lambda: Late(tmp_path, {f"w{i}": "h" for i in range(4)}, depth=1))
    assert outcome.complete
    assert sorted(outcome.ran) == ["c/0", "c/1", "c/2", "c/3", "p"]
    assert caplog.text.count("is computed again") == 1
    assert outcome.records["p"].attempts == 1


def test_a_report_that_comes_while_the_input_is_made_anew_leaves_it_alone(tmp_path, monkeypatch):
    plan = shared_plan(2)
    monkeypatch.setattr("tests.engine.toy.total", lambda work, i: {"total": work.table("numbers").select(["id"])})
    execute(plan, tmp_path)
    flip(tmp_path / "store" / plan.fingerprints["p"] / "numbers.parquet")
    for i in range(2):
        (tmp_path / "store" / plan.fingerprints[f"c/{i}"] / "record.json").unlink()
    discarded = []
    monkeypatch.setattr(
        "intriguing.engine.storage.store.Store.discard", lambda self, fingerprint: discarded.append(fingerprint) or 0
    )
    pool = SimulatedPool(tmp_path, {"w0": "h", "w1": "h"}, depth=1)
    pool.hanging.add("w1")  # it has read c/1's input, and takes its time to say so

    def behave(worker, call):
        if call.task == "p":
            pool._events.append(
                Raised("w1", "c/1", "CorruptError", "x", damaged=(Damage(plan.fingerprints["p"], "0" * 64),))
            )
            pool.held["w1"].clear()
            pool.hanging.clear()
        return

    pool.behave = behave
    outcome = execute(plan, tmp_path, lambda: pool)
    assert outcome.complete
    assert discarded == [plan.fingerprints["p"]]


def test_an_input_that_the_driver_finds_whole_is_not_made_anew(tmp_path):
    """One machine's memory or cache shows other bytes: its report alone discards nothing, and ends in an error."""
    plan = toy_plan(2)

    def behave(worker, call):
        if call.task == "scale/1" and pool.node_of(worker) == "bad":
            return Raised(
                worker, call.task, "CorruptError", "x", damaged=(Damage(plan.fingerprints["range/1"], "0" * 64),)
            )
        return None

    pool = SimulatedPool(tmp_path, {"w0": "bad"}, behave)
    outcome = execute(plan, tmp_path, lambda: pool)
    assert [f.task for f in outcome.failures] == ["scale/1"]
    assert outcome.ran.count("range/1") == 1
    pool = SimulatedPool(tmp_path, {"w0": "bad", "w1": "good"}, behave)
    assert execute(plan, tmp_path, lambda: pool).complete
