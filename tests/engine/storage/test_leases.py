"""A run on an object store has one driver: leases, who takes them over, and stores that know no conditions."""

import json
import os
import subprocess
import time

import pytest

from intriguing.basics.folders.bucket import place_at
from intriguing.basics.folders.bucket_conditions import Conditions, UnknownConditionError
from intriguing.engine.storage import lease
from intriguing.engine.storage.lock import is_locked, locked
from intriguing.errors import LockedError
from tests.buckets import first, only


def lease_of(host, pid, token="t", machine=""):
    """The lease that another driver left."""
    who = {"host": host, "machine": machine, "pid": pid, "since": "noon", "token": token, "renewed": 3}
    return json.dumps(who).encode()


def test_a_second_driver_is_refused_while_the_first_gives_signs_of_life(uri, server, monkeypatch):
    monkeypatch.setattr(lease, "RENEWED", 0.1)
    with locked(place_at(uri)):
        assert is_locked(place_at(uri))
        with pytest.raises(LockedError, match=r"in use by another driver \(process \d+ on "), locked(place_at(uri)):
            pass
    assert not is_locked(place_at(uri))


def test_a_lease_without_a_sign_of_life_is_taken_over(uri, server, monkeypatch, caplog):
    monkeypatch.setattr(lease, "GONE", 0.5)
    run = place_at(uri)
    run.write(".lock", lease_of("elsewhere", 1))
    caplog.set_level("INFO")
    with locked(run):
        assert "waiting: process 1 on elsewhere since noon" in caplog.text
        assert json.loads(run.read(".lock"))["pid"] == os.getpid()


def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_lease_of_a_process_of_this_machine_that_ended_is_taken_at_once(uri, server, monkeypatch):
    run = place_at(uri)
    run.write(".lock", lease_of("any name", ended(), machine=lease._machine()))
    assert not is_locked(run)
    monkeypatch.setattr(lease, "_watched", lambda *_: pytest.fail("it waited"))
    with locked(run):
        pass


@pytest.mark.parametrize("machine", ["", "another start of it"])
def test_a_process_that_this_one_cannot_see_counts_as_alive(machine, uri, server, monkeypatch):
    """Containers have the name of their machine, or one name: that no such process is seen says nothing."""
    monkeypatch.setattr(lease, "GONE", 0.5)
    run = place_at(uri)
    run.write(".lock", lease_of(lease.socket.gethostname(), ended(), machine=machine))
    assert is_locked(run)
    watched = []
    monkeypatch.setattr(lease, "_watched", lambda *_: watched.append(True) or {"token": "u", "pid": 5})
    with pytest.raises(LockedError, match=r"in use by another driver \(process 5 on"), locked(run):
        pass
    assert watched


def test_of_two_drivers_that_wait_for_a_third_the_later_does_not_take_the_run_from_the_earlier(monkeypatch):
    """It read the lease once more after it had watched the third one's, and took what stood there for that."""
    monkeypatch.setattr(lease, "GONE", 0.0)
    leases = iter([{"token": "third"}, {"token": "earlier"}])
    monkeypatch.setattr(lease, "_read", lambda _: next(leases))
    assert lease._wait_until_free(None) == "third"


@pytest.mark.parametrize("alive", [True, False])
def test_a_status_on_a_machine_whose_clock_is_ahead_looks_for_a_sign_of_life(alive, uri, server, monkeypatch):
    """It called a driver that was at work not at work."""
    monkeypatch.setattr(lease, "GONE", 30.0 if alive else 0.5)
    monkeypatch.setattr(lease, "RENEWED", 0.1)
    monkeypatch.setattr(lease, "SIGN", 60.0)
    run = place_at(uri)
    ahead = time.time() + 600
    monkeypatch.setattr(lease.time, "time", lambda: ahead)
    if not alive:
        run.write(".lock", lease_of("elsewhere", 1))
        assert not is_locked(run)
        return
    with locked(run):
        assert is_locked(place_at(uri))


def test_a_status_of_a_run_that_was_killed_long_ago_does_not_wait(uri, server, monkeypatch):
    run = place_at(uri)
    run.write(".lock", lease_of("elsewhere", 1))
    monkeypatch.setattr(lease, "_watched", lambda *_: pytest.fail("it waited"))
    later = time.time() + lease.SKEW + 60
    monkeypatch.setattr(lease.time, "time", lambda: later)
    assert not is_locked(run)


@pytest.mark.parametrize("hours", [-5, 5])
@pytest.mark.parametrize("alive", [True, False])
def test_a_clock_that_is_wrong_by_hours_lets_nobody_in_beside_another(hours, alive, uri, server, monkeypatch):
    monkeypatch.setattr(lease, "GONE", 0.5 if not alive else 60)
    monkeypatch.setattr(lease, "RENEWED", 0.1)
    now = time.time
    monkeypatch.setattr(lease.time, "time", lambda: now() + 3600 * hours)
    run = place_at(uri)
    if not alive:
        run.write(".lock", lease_of("elsewhere", 1))
        assert not is_locked(run)
        with locked(run):
            assert json.loads(run.read(".lock"))["pid"] == os.getpid()
        return
    with locked(run):
        if hours < 0:  # the lease is from the future
            assert is_locked(place_at(uri))
        with pytest.raises(LockedError, match=r"in use by another driver \(process \d+ on "), locked(place_at(uri)):
            pass


def test_a_driver_whose_lease_was_taken_says_so_and_works_on(uri, server, monkeypatch, caplog):
    monkeypatch.setattr(lease, "RENEWED", 0.05)
    run = place_at(uri)
    with locked(run):
        until = time.monotonic() + 60
        while "computed twice" not in caplog.text and time.monotonic() < until:
            run.write(".lock", lease_of("b", 2, "other"))  # again: it may come just before the first one's
            time.sleep(0.05)
    assert "process 2 on b since noon" in caplog.text
    assert json.loads(run.read(".lock"))["token"] == "other"


@pytest.mark.parametrize("gone", ["", "t"])
def test_of_two_drivers_that_see_the_run_free_at_once_one_gets_it(gone, uri, server):
    """On a slow network the second wrote its lease after the first had read its own: both went on."""
    pytest.importorskip("boto3")
    run = place_at(uri)
    if gone:
        run.write(".lock", lease_of("elsewhere", 1, gone))
    one, other = lease._Lease(run), lease._Lease(place_at(uri))
    one.take(gone)
    with pytest.raises(LockedError, match=f"process {os.getpid()} on"):
        other.take(gone)
    assert json.loads(run.read(".lock"))["token"] == one._token
    one.give_back()
    assert ".lock" not in run.files("")


def test_a_lease_whose_answer_is_lost_is_taken_all_the_same(uri, server):
    pytest.importorskip("boto3")
    server.faults.lost = first(1, only("PUT", ".lock"))
    with locked(place_at(uri)):
        puts = [path for method, path in server.faults.seen if method == "PUT" and path.endswith(".lock")]
        assert len(puts) == 2
        assert is_locked(place_at(uri))


@pytest.mark.parametrize("failing", ["read", "write"])
def test_a_store_that_knows_no_conditions_is_asked_without(failing, uri, server, monkeypatch):
    def refuse(*arguments):
        raise UnknownConditionError("NotImplemented")

    monkeypatch.setattr(Conditions, failing, refuse)
    with locked(place_at(uri)):
        assert is_locked(place_at(uri))
    monkeypatch.setattr(Conditions, "of", lambda folder: None)
    with locked(place_at(uri)):
        assert is_locked(place_at(uri))
