"""The pool on Ray, without a driver: actors that are let go."""

import time

import pytest

from intriguing.engine.on_ray import RayPool
from intriguing.engine.pool import Died, Finished, Joined, Left
from intriguing.engine.task import Plan
from intriguing.engine.worker import Call
from tests.engine.fault_tasks import sleeping

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def until(pool, done, seconds=60):
    """The events up to the first that is `done`."""
    events, end = [], time.monotonic() + seconds
    while not any(map(done, events)):
        assert time.monotonic() < end, events
        events += pool.events(0.2)
    return events


def call(number):
    plan = Plan([sleeping(f"s{number}", 0, number=number)])
    [task] = plan
    return Call(task.name, task.function.code, plan.fingerprints[task.name], task.parameters)


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


def test_an_actor_that_idles_is_told_of_before_it_ends_and_runs_what_it_was_handed_meanwhile(pool, monkeypatch):
    monkeypatch.setattr("intriguing.engine.on_ray.pool._IDLE", 0.0)
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


def test_a_call_for_an_actor_that_was_just_ended_is_told_of_by_its_end(pool, monkeypatch):
    """A worker that left and was dropped in one look took the task that came next with it, for good."""
    monkeypatch.setattr("intriguing.engine.on_ray.pool._IDLE", 0.0)
    pool._look()
    [idle] = [name for name, actor in pool._actors.items() if actor.leaves_because]
    pool._look()
    assert idle not in pool._actors
    pool.submit(idle, call(1))
    assert [type(event) for event in pool.events(0) if event.worker == idle] == [Left, Died]
