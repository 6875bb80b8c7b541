"""Real workers: long tasks, signs of life, machines that cannot run workers, and memory."""

import pytest

from intriguing.engine.task import Plan
from intriguing.errors import ClusterError
from tests.engine.driving import execute, ray_pool
from tests.engine.fault_tasks import sleeping
from tests.engine.toy import toy_plan

pytestmark = [pytest.mark.ray, pytest.mark.slow]


class Broken:
    """A worker on a machine that lacks a package."""

    def __init__(self, *arguments):
        raise ModuleNotFoundError("No module named 'intriguing'")

    def hello(self, token):
        return {}


def test_short_tasks_behind_a_long_one_are_taken_back_by_the_other_worker(tmp_path, ray_started, monkeypatch):
    """All are taken to be short, and the long one ends once the others have: what stayed behind it would not begin."""
    monkeypatch.setattr("intriguing.engine.progress.progress.Progress.seconds_of", lambda self, task: 0.0)
    run, ends = tmp_path / "run", [str(tmp_path / f"b{i}") for i in range(3)]
    short = [sleeping(f"a{i}", 0.05, number=i) for i in range(6)]
    behind = [sleeping(f"b{i}", 0.05, number=60 + i, mark=ends[i]) for i in range(3)]
    plan = Plan([*short, sleeping("long", 5, number=50, awaits=ends), *behind])
    outcome = execute(plan, run, ray_pool(run))
    assert outcome.complete
    assert {record.attempts for record in outcome.records.values()} == {1}


def test_a_long_task_that_gives_signs_of_life_is_let_live_and_a_mute_one_is_not(tmp_path, ray_started):
    plan = Plan([sleeping("alive", 16, number=1, beats=True), sleeping("mute", 250, number=2)])
    outcome = execute(plan, tmp_path, ray_pool(tmp_path), task_seconds=12, attempts=1)
    assert outcome.ran == ("alive",)
    [failure] = outcome.failures
    assert "no sign of life within 12 s" in failure.message


@pytest.mark.parametrize(
    ("do", "error_type", "message"),
    [("interrupt", "KeyboardInterrupt", "asked by nobody"), ("cancel", "CancelledError", "no longer wanted")],
)
def test_an_error_that_is_no_exception_costs_no_worker(tmp_path, ray_started, do, error_type, message):
    """Ray takes a KeyboardInterrupt for a cancelled call: a model that raised it cost three workers."""
    outcome = execute(toy_plan(do=do), tmp_path, ray_pool(tmp_path))
    [failure] = outcome.failures
    assert (failure.task, failure.attempts) == ("range/1", 1)
    assert (failure.error_type, failure.message) == (error_type, message)
    assert "range/2" in outcome.ran


def test_a_machine_that_cannot_start_workers_is_left_out_with_the_last_line_of_the_error(
    tmp_path, ray_started, monkeypatch
):
    monkeypatch.setattr("intriguing.engine.pools.on_ray.pool.Worker", Broken)
    with pytest.raises(
        ClusterError, match=r"can run workers. \S+: no worker could start \(ModuleNotFoundError: No module"
    ):
        execute(Plan([sleeping("s", 0)]), tmp_path, ray_pool(tmp_path))


def test_a_machine_with_another_torch_is_left_out_and_named(tmp_path, ray_started, monkeypatch):
    from intriguing.engine.pools.on_ray.actor import versions

    ours = versions() | {"torch": "9.9"}
    monkeypatch.setattr("intriguing.engine.pools.on_ray.pool.versions", lambda: ours)
    with pytest.raises(ClusterError, match=r"it has torch [\d.]+, this driver 9.9: install the same everywhere"):
        execute(Plan([sleeping("s", 0)]), tmp_path, ray_pool(tmp_path))
