"""Runs on an object store that speaks S3's protocol: the same tables as on a disk, whatever goes wrong on the way."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from intriguing.basics.folders import bucket as bucket_module
from intriguing.basics.folders.bucket import place_at
from intriguing.basics.folders.bucket_conditions import Conditions, UnknownConditionError
from intriguing.engine.driver import prune
from intriguing.engine.storage.far_store import FarStore
from intriguing.engine.storage.lock import is_locked, locked
from intriguing.engine.storage.store import Record
from intriguing.engine.verify import verify
from intriguing.engine.worker import store_of
from intriguing.errors import StoreError
from tests.buckets import every, only
from tests.engine.driving import execute
from tests.engine.storage.bucket_driver import TASKS, drive, plan_of
from tests.engine.toy import toy_plan


def few(shards=2):
    return toy_plan(shards=shards)


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory):
    run = tmp_path_factory.mktemp("disk") / "run"
    assert execute(few(), run).complete
    return run


def tables_of(run):
    """Every published file but `tasks`, by name, as rows."""
    names = [n for n in run.tree("tables") if not n.startswith("tables/tasks/")]
    return {name: pq.read_table(io.BytesIO(run.read(name))).to_pydict() for name in names}


def tables_on(disk):
    files = [f for f in disk.glob("tables/*/*.parquet") if f.parent.name != "tasks"]
    return {str(f.relative_to(disk)): pq.read_table(f).to_pydict() for f in files}


def assert_whole(run):
    """No record is there without the outputs that it names, whole."""
    store = FarStore(run)
    for fingerprint in store.fingerprints():
        record, wrong = store.find(fingerprint)
        assert record is not None, wrong
        for output in record.outputs:
            store.read(fingerprint, output)


@pytest.mark.slow
def test_a_run_gives_the_tables_of_a_local_one_and_is_continued(uri, server, on_disk):
    assert drive(uri, few()).complete
    run = place_at(uri)
    assert tables_of(run) == tables_on(on_disk)
    assert drive(uri, few()).ran == ()
    more = drive(uri, few(3))
    assert sorted(more.ran) == ["range/2", "scale/2", "total"]
    assert drive(uri, few()).ran == ()
    assert tables_of(run) == tables_on(on_disk)
    assert verify(run).damaged == ()
    with locked(run):
        count, size, kept = prune(run)
    assert (count, kept) == (3, 0)
    assert size > 0
    assert FarStore(run).begun() == set(few().fingerprints.values())
    assert not is_locked(run)


def test_a_run_is_copied_from_a_disk_to_a_bucket_and_back_and_goes_on(uri, server, on_disk, tmp_path):
    run = place_at(uri)
    for file in filter(Path.is_file, on_disk.rglob("*")):
        run.write(str(file.relative_to(on_disk)), file.read_bytes())
    assert drive(uri, few()).ran == ()
    assert drive(uri, few(3)).ran == ("range/2", "scale/2", "total")
    for name in run.tree(""):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(run.read(name))
    assert execute(few(3), tmp_path).ran == ()
    assert verify(tmp_path).damaged == verify(run).damaged == ()
    assert len(store_of(tmp_path).files(few(3).fingerprints["range/2"], ["numbers"])) == 2


def test_an_output_is_one_request_and_the_record_is_the_last(uri, server):
    drive(uri, few())
    for fingerprint in few().fingerprints.values():
        puts = [p.rpartition("/")[2] for m, p in server.faults.seen if m == "PUT" and f"/store/{fingerprint}/" in p]
        assert puts[-1] == "record.json"
        assert len(puts) == len(set(puts))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("broken", lambda: every(20)),
        ("cut_put", lambda: every(9, only("PUT"))),
        ("cut_get", lambda: every(7, only("GET", ".json"))),
        ("slow", lambda: lambda m, p: 0.02 if m != "PUT" else 0.1),
    ],
)
def test_a_store_that_fails_for_a_moment_changes_nothing(kind, fault, uri, server, on_disk):
    setattr(server.faults, kind, fault())
    outcome = drive(uri, few())
    assert outcome.complete
    server.faults.clear()
    assert tables_of(place_at(uri)) == tables_on(on_disk)
    assert drive(uri, few()).ran == ()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["record.json", ".parquet", "plan.json"])
def test_a_store_that_fails_for_long_ends_the_run_which_is_continued(ending, uri, server, on_disk, monkeypatch):
    monkeypatch.setattr(bucket_module, "PAUSES", ())
    passed = [3 if ending != "plan.json" else 0]

    def broken(method, path):
        if method == "PUT" and path.endswith(ending):
            passed[0] -= 1
            return passed[0] < 0
        return False

    server.faults.broken = broken
    with pytest.raises(StoreError, match="Run the same command to continue"):
        drive(uri, few())
    server.faults.clear()
    assert_whole(place_at(uri))
    outcome = drive(uri, few())
    assert outcome.complete
    assert tables_of(place_at(uri)) == tables_on(on_disk)


def start(*arguments):
    command = [sys.executable, "-m", "tests.engine.storage.bucket_driver", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "after"), [("record.json", 3), (".bin", 2)])
def test_a_driver_that_is_killed_between_two_objects_leaves_nothing_half_written(ending, after, uri, server):
    process = start(uri)
    seen = [0]

    def kill(method, path):
        seen[0] += method == "PUT" and path.endswith(ending)
        if seen[0] == after:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        return False

    server.faults.cut_put = kill
    process.communicate(timeout=200)
    assert process.returncode == -signal.SIGKILL
    server.settle()
    server.faults.clear()
    run = place_at(uri)
    assert_whole(run)
    begun = FarStore(run).fingerprints()
    assert 0 < len(begun) < 2 * TASKS
    assert len(drive(uri, plan_of(TASKS)).ran) == 2 * TASKS - len(begun)
    assert sorted(r["id"][0] for n, r in tables_of(run).items() if "/copies/" in n) == list(range(TASKS))
    assert verify(run).damaged == ()


@pytest.mark.parametrize("conditions", [True, False])
def test_outputs_of_two_drivers_are_never_mixed(conditions, uri, server, monkeypatch):
    """On a condition, the first record stays and the second driver takes it; else the last one stands there."""
    if conditions:
        pytest.importorskip("boto3")
    else:
        monkeypatch.setattr(Conditions, "of", lambda folder: None)
    one, other = FarStore(place_at(uri)), FarStore(place_at(uri))
    fingerprint, outputs = "f" * 40, ("first", "second")
    write = one._run.write

    def write_then_let_the_other_work(name, content):
        monkeypatch.setattr(one._run, "write", write)
        write(name, content)
        other.write(fingerprint, dict.fromkeys(outputs, b"the other's"), Record("task", "x:y", {}))

    monkeypatch.setattr(one._run, "write", write_then_let_the_other_work)
    record = one.write(fingerprint, dict.fromkeys(outputs, b"mine"), Record("task", "x:y", {}))
    assert record == one.find(fingerprint)[0]
    whose = b"the other's" if conditions else b"mine"
    assert [one.read(fingerprint, output) for output in outputs] == [whose, whose]


@pytest.mark.parametrize("there", ["damaged", "missing", "of other inputs", "no record"])
def test_a_record_that_is_no_longer_right_is_replaced(there, uri, server):
    pytest.importorskip("boto3")
    store, fingerprint = FarStore(place_at(uri)), "f" * 40
    old = store.write(fingerprint, {"out": b"old"}, Record("task", "x:y", {}, inputs={"a/b": "1"}))
    inputs = {"a/b": "2" if there == "of other inputs" else "1"}
    if there == "damaged":
        store._run.write(f"store/{fingerprint}/{old.outputs['out'].file}", b"odd")
    elif there == "missing":
        store._run.remove(f"store/{fingerprint}", [old.outputs["out"].file])
    elif there == "no record":
        store._run.write(f"store/{fingerprint}/record.json", b"{")
    new = store.write(fingerprint, {"out": b"new"}, Record("task", "x:y", {}, inputs=inputs))
    assert store.find(fingerprint)[0] == new
    assert store.read(fingerprint, "out") == b"new"
    again = store.write(fingerprint, {"out": b"newer"}, Record("task", "x:y", {}, inputs=inputs))
    assert again == new


def test_a_store_that_fails_when_asked_on_a_condition_is_written_without(uri, server, monkeypatch):
    def refuse(*arguments):
        raise UnknownConditionError("NotImplemented")

    monkeypatch.setattr(Conditions, "write", refuse)
    store = FarStore(place_at(uri))
    store.write("f" * 40, {"out": b"one"}, Record("task", "x:y", {}))
    store.write("f" * 40, {"out": b"two"}, Record("task", "x:y", {}))
    assert store.read("f" * 40, "out") == b"two"


@pytest.mark.slow
def test_two_drivers_at_work_at_once_both_end_and_the_tables_are_whole(uri, server):
    pytest.importorskip("boto3")
    drivers = [start(uri, "--no-lease") for _ in range(2)]
    ended = [driver.communicate(timeout=200) for driver in drivers]
    assert [d.returncode for d in drivers] == [0, 0], ended
    run = place_at(uri)
    assert_whole(run)
    assert drive(uri, plan_of(TASKS)).complete
    # The first record stays, so both publish one table, and a copy is of the mark that is published.
    both = {driver.pid for driver in drivers}
    tables = tables_of(run)
    for i in range(TASKS):
        marks, copies = (
            next(r["who"] for n, r in tables.items() if n.startswith(f"tables/{table}/") and r["id"] == [i])
            for table in ("marks", "copies")
        )
        assert marks == copies
        assert marks[0] in both
    assert verify(run).damaged == ()


@pytest.mark.slow
def test_a_record_that_did_not_change_is_not_opened_again(uri, server):
    """The index of records and looks, which spares a driver that comes back a request per task."""
    drive(uri, few())
    server.faults.seen.clear()
    assert drive(uri, few()).ran == ()
    opened = [path for method, path in server.faults.seen if method == "GET" and "/store/" in path]
    assert opened == []
    run, fingerprint = place_at(uri), few().fingerprints["range/1"]
    name = f"store/{fingerprint}/record.json"
    time.sleep(1.1)  # the server tells times in seconds
    run.write(name, run.read(name).replace(b'"attempts": 1', b'"attempts": 7'))
    server.faults.seen.clear()
    assert drive(uri, few()).ran == ("range/1",)
    opened = {path.split("/")[-2] for method, path in server.faults.seen if path.endswith("record.json")}
    assert opened == {few().fingerprints[name] for name in ("range/1", "scale/1", "total")}
    index = json.loads(run.read("live/records.json"))
    assert set(index["rows"]) == set(few().fingerprints.values())
    run.write("live/records.json", b"[]")
    assert drive(uri, few()).ran == ()


@pytest.mark.slow
def test_damage_in_a_bucket_is_named_and_computed_again(uri, server):
    drive(uri, few())
    run = place_at(uri)
    shard = next(n for n in run.tree("store") if few().fingerprints["range/1"] in n and n.endswith(".parquet"))
    content = bytearray(run.read(shard))
    content[40] ^= 255
    time.sleep(1.1)  # the server tells times in seconds
    run.write(shard, bytes(content))
    assert any(shard in said for said in verify(run).damaged)
    assert drive(uri, few()).ran == ("range/1",)
    assert verify(run).damaged == ()


def test_what_is_not_the_run_s_stays(uri, server):
    run = place_at(uri)
    run.write("notes.txt", b"mine")
    with pytest.raises(StoreError, match="is not empty and holds no run: it has 'notes.txt'"), locked(run):
        pass
    run.remove("", ["notes.txt"])
    drive(uri, few(3))
    fingerprint = few(3).fingerprints["range/2"]
    mine = [f"store/{fingerprint}/mine.parquet", "tables/numbers/mine.parquet", "notes.txt"]
    for name in mine:
        run.write(name, b"mine")
    drive(uri, few())
    with locked(run):
        assert prune(run)[2] == 1
    assert all(run.read(name) == b"mine" for name in mine)


REFUSED = b"<Error><Code>InvalidAccessKeyId</Code><Message>No such key</Message></Error>"


def test_what_is_wrong_with_a_bucket_is_a_sentence(server, monkeypatch, tmp_path):
    with pytest.raises(StoreError, match="There is no bucket 'nowhere' for s3://nowhere/run: make it"):
        place_at(server.uri("nowhere/run"))
    with pytest.raises(StoreError, match="The store of s3://b/run cannot be reached"):
        place_at("s3://key:secret@b/run?endpoint_override=127.0.0.1%3A1&scheme=http")
    there = server.bucket()
    server.faults.denied = only("GET")
    with pytest.raises(
        StoreError, match=r"may not be used \(access denied\).*must allow to list, read, write and delete"
    ):
        place_at(server.uri(f"{there}/run"))
    for name, value in {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(StoreError, match=r"Keys come from AWS_ACCESS_KEY_ID .*: none are set here"):
        place_at(server.uri(f"{there}/run", key=""))
    server.faults.answer = REFUSED
    with pytest.raises(StoreError, match="The store refuses the key for s3://.*Keys come from AWS_ACCESS_KEY_ID"):
        place_at(server.uri(f"{there}/run"))
    server.faults.answer = REFUSED.replace(b"InvalidAccessKeyId", b"RequestTimeTooSkewed")
    with pytest.raises(StoreError, match=r"refuses requests from this machine's clock, which says 20.*: set it"):
        place_at(server.uri(f"{there}/run"))
    server.faults.clear()
    server.faults.denied = only("PUT")
    with pytest.raises(StoreError, match="access denied"), locked(place_at(server.uri(f"{there}/run"))):
        pass


@pytest.mark.ray
@pytest.mark.parametrize("carry", [False, True])
def test_workers_on_ray_write_to_the_bucket(carry, uri, server, ray_started, on_disk):
    from intriguing.engine.pools.on_ray import RayPool

    run = place_at(uri)
    outcome = drive(uri, few(), lambda: RayPool(run, 2, carry=carry))
    assert outcome.complete
    assert tables_of(run) == tables_on(on_disk)
    assert not [name for name in run.files("") if name.startswith(".seen-by")]
    assert verify(run).damaged == ()


def test_nobody_ever_reads_something_half_written(uri, server):
    server.faults.slow = lambda m, p: 0.03 if m == "PUT" else 0.0
    ended = threading.Event()
    wrong = []

    def watch():
        run = place_at(uri)
        while not ended.is_set():
            try:
                assert_whole(run)
                tables_of(run)
            except FileNotFoundError:
                pass
            except Exception as error:
                wrong.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert drive(uri, few()).complete
    finally:
        ended.set()
        watcher.join()
    assert wrong == []
