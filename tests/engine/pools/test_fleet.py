"""Machines that come and go, and how many workers each may hold."""

import time

import pytest

from intriguing.engine.pools.fleet import START_TRIES, Fleet, Machine


@pytest.mark.parametrize(
    ("cpus", "gpus", "share", "fits"),
    [
        (4, 0, 0.0, 4),
        (4, 1, 1.0, 1),
        (0, 0, 0.0, 0),
        (16, 2, 0.25, 8),
        (16, 2, 0.3, 6),
        (3, 2, 0.25, 3),
        (16, 4, 2, 2),
        (99, 1, 1 / 93, 93),
    ],
)  # fmt: skip
def test_a_machine_holds_what_its_cpus_and_whole_gpus_hold(cpus, gpus, share, fits):
    assert Machine("a", "a", cpus=cpus, gpus=gpus).fits(share) == fits


def fleet(*cpus):
    found = Fleet()
    found.see(Machine(f"m{i}", f"h{i}", f"10.0.0.{i}", cpus=n) for i, n in enumerate(cpus))
    return found


def test_the_emptiest_machine_is_next_and_none_holds_more_than_fits():
    assert list(fleet(1, 3).room({})) == ["m1", "m1", "m0", "m1"]
    assert list(fleet(1, 3).room({"m1": 2})) == ["m0", "m1"]
    assert list(fleet().room({})) == []


def test_a_machine_that_fails_three_starts_is_left_out_and_a_start_in_between_forgives():
    found = fleet(1, 1)
    assert [found.failed_to_start("m0", "No module") for _ in range(START_TRIES - 1)] == [False, False]
    found.started("m0")
    assert [found.failed_to_start("m0", "No module") for _ in range(START_TRIES)] == [False, False, True]
    assert [m.id for m in found.usable] == ["m1"]
    assert found.why_excluded() == "h0: No module"
    found.see([])
    assert found.name_of("m0") == "h0"


def test_a_machine_that_leaves_or_is_short_of_memory_gets_nothing_new(monkeypatch):
    found = fleet(1, 1)
    found.see([Machine("m0", "h0", cpus=1, leaving=True), Machine("m1", "h1", cpus=1)])
    found.rest("m1")
    assert (found.usable, [m.id for m in found.hopeful]) == ([], ["m1"])
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert [m.id for m in found.usable] == ["m1"]
