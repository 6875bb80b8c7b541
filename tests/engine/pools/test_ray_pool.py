"""The pool on Ray, without a driver: actors that are lost or let go, and machines that come and leave."""

import time
from dataclasses import replace

import pytest
import ray
from ray.core.generated.common_pb2 import Address
from ray.exceptions import ObjectLostError, OutOfDiskError, OutOfMemoryError, RayActorError, RaySystemError

from intriguing.engine.pools.on_ray import RayPool
from intriguing.engine.pools.on_ray import pool as pool_module
from intriguing.engine.pools.pool import Died, Finished, Joined, Left
from intriguing.engine.task import Plan
from intriguing.engine.worker import Call
from intriguing.errors import ClusterError
from tests.engine.fault_tasks import sleeping

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def until(pool, done, seconds=200):
    """The events up to the first that is `done`."""
    events, end = [], time.monotonic() + seconds
    while not any(map(done, events)):
        assert time.monotonic() < end, events
        events += pool.events(0.2)
    return events


def assert_ended(handle, seconds=100):
    """Ray ends an actor behind the driver's back: a call made in the same moment may still be answered."""
    end = time.monotonic() + seconds
    with pytest.raises(RayActorError):
        while time.monotonic() < end:
            ray.get(handle.hello.remote("x"), timeout=seconds)
            time.sleep(0.1)


def call(number):
    plan = Plan([sleeping(f"s{number}", 0, number=number)])
    [task] = plan
    return Call(task.name, task.function.code, plan.fingerprints[task.name], task.parameters)


@pytest.fixture(autouse=True)
def head_that_answers(monkeypatch):
    """A head that does not answer within 3 seconds has a look put off: on a busy machine that happens to any test."""
    monkeypatch.setattr(pool_module, "answers", lambda: True)


@pytest.fixture
def pool(tmp_path, ray_started):
    """Two actors that have joined, and a demand for one."""
    made = RayPool(tmp_path, 2)
    made.want(2)
    joined = []
    while len(joined) < 2:
        joined += [event.worker for event in until(made, lambda event: isinstance(event, Joined))]
    made.want(1)
    yield made
    made.close()


@pytest.fixture
def looks_of_the_test(pool, monkeypatch):
    """From now on the pool looks when the test says so, and not whenever 5 seconds have passed."""
    monkeypatch.setattr(pool_module, "_LOOK", float("inf"))


@pytest.mark.usefixtures("looks_of_the_test")
def test_an_actor_that_idles_is_told_of_before_it_ends_and_runs_what_it_was_handed_meanwhile(pool, monkeypatch):
    monkeypatch.setattr("intriguing.engine.pools.on_ray.pool._IDLE", 0.0)
    pool._look()
    [idle] = [name for name, actor in pool._actors.items() if actor.leaves_because]
    pool.submit(idle, call(1))  # the driver has not heard of it yet
    events = until(pool, lambda event: isinstance(event, Finished))
    assert [type(event) for event in events if event.worker == idle] == [Left, Finished]
    assert idle not in pool.workers
    pool._look()
    [died] = [event for event in pool.events(0) if isinstance(event, Died)]
    assert (died.worker, died.cause, died.reason) == (idle, "freed", "it had nothing to do")
    assert len(pool.workers) == 1


@pytest.mark.usefixtures("looks_of_the_test")
def test_a_call_for_an_actor_that_was_just_ended_is_told_of_by_its_end(pool, monkeypatch):
    """A worker that left and was dropped in one look took the task that came next with it, for good."""
    monkeypatch.setattr("intriguing.engine.pools.on_ray.pool._IDLE", 0.0)
    pool._look()
    [idle] = [name for name, actor in pool._actors.items() if actor.leaves_because]
    pool._look()
    assert idle not in pool._actors
    pool.submit(idle, call(1))
    assert [type(event) for event in pool.events(0) if event.worker == idle] == [Left, Died]


def test_whatever_ray_raises_is_a_lost_worker_that_is_ended_and_replaced(pool, monkeypatch):
    kinds = (ObjectLostError("aa" * 28, Address(), ""), OutOfDiskError("the disk is full"), RaySystemError("x"))
    real = pool_module._fetch
    for number, error in enumerate((*kinds, OutOfMemoryError("no details"))):
        worker = pool.workers[0]
        handle = pool._actors[worker].handle

        def refuse(ref, error=error):
            if ref in pool._calls:  # another actor that greets meanwhile is not what this is about
                raise error
            return real(ref)

        monkeypatch.setattr(pool_module, "_fetch", refuse)
        pool.submit(worker, call(number))
        [died] = [event for event in until(pool, lambda event: isinstance(event, Died)) if isinstance(event, Died)]
        assert (died.worker, died.cause) == (worker, "memory" if number == 3 else "lost")
        assert type(error).__name__ in died.reason or number == 3
        monkeypatch.setattr(pool_module, "_fetch", real)
        assert_ended(handle)
        pool.want(2)
        if not pool.workers:
            until(pool, lambda event: isinstance(event, Joined))


@pytest.mark.usefixtures("looks_of_the_test")
def test_actors_of_a_machine_that_will_leave_finish_what_they_hold_and_end(pool, monkeypatch):
    [machine] = pool_module.machines()
    worker = pool.workers[0]
    pool.submit(worker, call(1))
    monkeypatch.setattr(pool_module, "machines", lambda: [replace(machine, leaving=True)])
    pool._look()
    assert pool.workers == []
    events = until(pool, lambda event: isinstance(event, Finished))
    assert {event.worker for event in events if isinstance(event, Left)} == {"worker-0", "worker-1"}
    pool._look()
    events += pool.events(0)
    died = {event.worker: (event.cause, event.reason) for event in events if isinstance(event, Died)}
    assert died == dict.fromkeys(("worker-0", "worker-1"), ("freed", "its machine leaves"))


def test_the_pool_asks_an_autoscaler_for_what_no_machine_holds_and_uses_machines_that_join(
    tmp_path, ray_started, monkeypatch, caplog
):
    caplog.set_level("INFO")
    [machine] = pool_module.machines()
    monkeypatch.setattr(pool_module, "machines", list)
    monkeypatch.setattr(pool_module, "pending_machines", lambda: ["setting up", "setting up"])
    monkeypatch.setattr(pool_module, "largest_resources", lambda: {"GPU": 1})
    made = RayPool(tmp_path, 2)
    try:
        made.want(5)
        made.events(0)
        assert [actor.node for actor in made._actors.values()] == [""]  # waits anywhere: that is the demand
        assert made._fleet.gpus == 1.0  # no GPU yet is not "no GPU"
        assert "waiting: 0 of 2 nodes up, 2 setting up, for at most" in caplog.text
        monkeypatch.setattr(pool_module, "machines", lambda: [replace(machine, gpus=1.0, cpus=2.0)])
        made._look()
        assert sorted(actor.node for actor in made._actors.values()) == ["", machine.id]
    finally:
        made.close()


def test_a_head_that_takes_all_its_workers_with_it_is_told_of_and_asked_nothing(pool, monkeypatch):
    """Whatever else was asked of it waited, and Ray ended the process after a minute, without a word of ours."""
    monkeypatch.setattr(pool_module, "answers", lambda: False)
    for asked in ("pending_machines", "machines", "internal_kv._internal_kv_get"):
        monkeypatch.setattr(f"intriguing.engine.pools.on_ray.pool.{asked}", lambda *_: pytest.fail("it was asked"))
    for name in list(pool._actors):
        pool.kill(name, "its machine is gone")
    pool._said = pool._alive = -1e9
    assert {type(event) for event in pool.events(0)} == {Died}
    assert pool.beat("worker-0") == ""
    monkeypatch.setattr(pool_module, "_SILENT", -1.0)
    pool._looked = -1e9
    with pytest.raises(ClusterError, match="has not answered for .* give the same command again"):
        pool.events(0)
