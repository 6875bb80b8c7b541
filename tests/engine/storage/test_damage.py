"""Damage: one flipped byte, wherever it lies and whatever the file's time says, is named and computed anew."""

import json
import os
import re
import shutil
from dataclasses import asdict

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intriguing.basics.folders import seal
from intriguing.engine.driver import Driver, prune, write_plan
from intriguing.engine.examination import examine
from intriguing.engine.pools.inline import InlinePool
from intriguing.engine.storage import publish, verified
from intriguing.engine.storage.lock import locked
from intriguing.engine.storage.store import Store
from intriguing.engine.storage.verified import Verified
from intriguing.engine.verify import verify
from intriguing.errors import CorruptError, StoreError
from tests.engine.toy import toy_plan

PLAN = toy_plan(3)
TABLES = {"numbers": "id", "scaled": "id", "totals": "total"}


def run_plan(run, plan=PLAN):
    with locked(run):
        found = examine(plan, run, Verified(run))
        write_plan(run, plan, {"name": "toy"})
        return Driver(plan, run, found, lambda: InlinePool(run)).run(lambda task: "again")


def rows(run):
    return {name: pq.read_table(run / "tables" / name).sort_by(key).to_pydict() for name, key in TABLES.items()}


def flip(path, at=0.5, keep_time=False):
    """Change one byte in place, as a disk or an editor does: every hard link shows it."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(int(at * before.st_size))
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    times = (before.st_atime_ns, before.st_mtime_ns) if keep_time else (before.st_atime_ns, before.st_mtime_ns + 10**6)
    os.utime(path, ns=times)


def stored(run, task, file):
    return run / "store" / PLAN.fingerprints[task] / file


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    run_plan(run)
    return run


@pytest.fixture
def run(toy_run, tmp_path):
    return copied(toy_run, tmp_path / "run")


def copied(run, to):
    """A copy in which tables are links into the store again, and the index holds."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("live", "tables"))
    run_plan(to)
    return to


def copies(run):
    """Make every table file a copy, as where links cannot be made."""
    for path in list((run / "tables").rglob("*.parquet")):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


def test_a_byte_in_a_table_that_no_task_reads_is_named_and_computed_anew(run):
    before = rows(run)
    shard = stored(run, "scale/1", "scaled.parquet")
    flip(shard)
    found = examine(PLAN, run, Verified(run))
    assert found.damaged == (f"{shard} was changed after it was written: 'scale/1' is computed again",)
    assert run_plan(run).ran == ("scale/1",)
    assert rows(run) == before
    assert verify(run).damaged == ()


def test_what_was_made_from_a_damaged_output_stays_when_it_comes_out_the_same(run):
    flip(stored(run, "range/1", "numbers.parquet"))
    assert run_plan(run).ran == ("range/1",)


def test_a_damaged_output_of_a_damaged_input_is_computed_anew_too(run):
    before = rows(run)
    flip(stored(run, "range/1", "numbers.parquet"))
    flip(stored(run, "scale/1", "scaled.parquet"))
    assert run_plan(run).ran == ("range/1", "scale/1")
    assert rows(run) == before


def test_damage_that_left_the_time_as_it_was_is_found_by_verify_and_then_mended(run):
    before = rows(run)
    shard = stored(run, "scale/1", "scaled.parquet")
    flip(shard, keep_time=True)
    assert run_plan(run).ran == ()  # as documented: a run looks at what changed
    table = run / "tables" / "scaled" / f"scale.1-{PLAN.fingerprints['scale/1'][:16]}.parquet"
    found = verify(run)
    assert found.damaged == tuple(f"{path} was changed after it was written" for path in (shard, table))
    assert found.noted
    assert "2 damaged. Give the run's own command again: what is damaged is computed anew." in found.summary()
    assert run_plan(run).ran == ("scale/1",)
    assert verify(run).damaged == ()
    assert rows(run) == before


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_damaged_copy_of_a_table_is_replaced_without_computing(run, keep_time):
    before = rows(run)
    copies(run)
    run_plan(run)
    flip(next((run / "tables" / "scaled").iterdir()), keep_time=keep_time)
    assert len(verify(run).damaged) == 1
    assert run_plan(run).ran == ()
    assert rows(run) == before
    assert verify(run).damaged == ()


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("keep_time", [False, True])
def test_a_damaged_part_of_a_compacted_table_is_named_and_written_anew(
    toy_run, tmp_path, monkeypatch, keep_time, index
):
    monkeypatch.setattr(publish, "MOST_SHARDS", 2)
    monkeypatch.setattr(publish, "_PART", 2)
    run = copied(toy_run, tmp_path / "run")
    before = rows(run)
    part = sorted((run / "tables" / "scaled").iterdir())[0]
    if not index:
        (run / "live" / "verified.json").unlink()
        assert verify(run).damaged == ()
        (run / "live" / "verified.json").unlink()
    flip(part, at=0.1, keep_time=keep_time)
    assert verify(run).damaged == (f"{part} was changed after it was written",)
    assert run_plan(run).ran == ()
    assert rows(run) == before
    assert verify(run).damaged == ()


def test_a_part_follows_the_content_of_its_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "MOST_SHARDS", 2)
    run_plan(tmp_path)
    store, fingerprint = Store(tmp_path / "store"), PLAN.fingerprints["range/0"]
    record, other = store.find(fingerprint)[0], store.read(PLAN.fingerprints["range/1"], "numbers")
    assert record is not None
    store.write(fingerprint, {"numbers": other}, record)  # as a task that does not give the same twice
    run_plan(tmp_path)
    assert rows(tmp_path)["numbers"]["id"] == sorted([*range(10, 20), *range(10, 20), *range(20, 30)])


@settings(max_examples=15)
@given(st.data(), st.floats(0, 0.999), st.booleans(), st.booleans())
def test_any_flipped_byte_is_found_and_mended(toy_run, tmp_path_factory, data, at, keep_time, links):
    run = copied(toy_run, tmp_path_factory.mktemp("flip") / "run")
    before = rows(run)
    if not links:
        copies(run)
        run_plan(run)
    files = sorted(p for folder in ("store", "tables") for p in (run / folder).rglob("*") if p.is_file())
    path = data.draw(st.sampled_from(files))
    flip(path, at, keep_time)
    found = verify(run)
    assert any(str(path) in wrong for wrong in found.damaged)
    assert len(found.damaged) <= 2  # an output and the table file that is a link to it
    run_plan(run)
    assert verify(run).damaged == ()
    assert rows(run) == before


def test_nothing_is_hashed_twice_that_did_not_change(run, monkeypatch):
    def hashed(path):
        raise AssertionError(f"{path} was hashed again")

    monkeypatch.setattr(verified, "hash_file", hashed)
    run_plan(run)
    os.utime(stored(run, "total", "text.bin"))
    with pytest.raises(AssertionError, match="text.bin was hashed again"):
        run_plan(run)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 1}', '{"files": {"store/x": [1, 2, 3, []]}}'])
def test_the_index_is_only_a_cache(run, content):
    (run / "live" / "verified.json").write_text(content)
    flip(stored(run, "scale/1", "scaled.parquet"), keep_time=True)
    assert run_plan(run).ran == ("scale/1",)
    assert verify(run).damaged == ()


@pytest.mark.parametrize("at", [0.01, 0.3, 0.9])
def test_a_flipped_byte_of_the_plan_is_named_and_nothing_is_pruned_by_it(run, at):
    content = bytearray((run / "plan.json").read_bytes())
    digits = [m.start(1) for m in re.finditer(rb"[0-9a-f]{39}([0-9])", content)]
    place = digits[int(at * len(digits))]
    content[place] ^= 1  # another digit: a fingerprint that no task has
    (run / "plan.json").write_bytes(content)
    before = Store(run / "store").fingerprints()
    assert f"{run}/plan.json was changed after it was written" in verify(run).damaged
    with pytest.raises(CorruptError, match="nothing is removed. Run the spec again"), locked(run):
        prune(run)
    assert Store(run / "store").fingerprints() == before
    assert run_plan(run).ran == ()
    assert verify(run).damaged == ()
    with locked(run):
        assert prune(run) == (0, 0, 0)


@pytest.mark.parametrize(
    "publish",
    [3, [], {"nobody": {"numbers": "numbers"}}, {"range/0": "numbers"}, {"range/0": {"numbers": ["../.."]}}, None],
)
def test_a_plan_that_says_of_tables_what_no_run_writes_is_named(run, publish):
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps(plan | {"publish": publish}))
    assert verify(run).damaged == (f"{run}/plan.json says of tables what no run writes there",)


def test_a_flipped_byte_of_the_page_is_named(run):
    (run / "report.html").write_bytes(seal.PAGE.close(b"<html>3.14</html>"))
    assert verify(run).damaged == ()
    flip(run / "report.html", 0.1)
    assert verify(run).damaged == (f"{run}/report.html was changed after it was written",)


def test_verify_of_an_unfinished_run_names_what_is_damaged_alone(tmp_path):
    run_plan(tmp_path, toy_plan(3, do="raise"))
    found = verify(tmp_path)
    assert (found.damaged, found.missing) == ((), 3)
    assert "3 tasks are not computed yet" in found.summary()


def test_verify_names_a_table_file_that_is_missing_and_one_of_another_plan(run):
    shards = sorted((run / "tables" / "scaled").iterdir())
    shards[0].rename(shards[0].with_name(f"old-{0:016x}.parquet"))
    old = shards[0].with_name(f"old-{0:016x}.parquet")
    assert verify(run).damaged == (f"{old} is not of the run's plan", f"{shards[0]} is missing")
    run_plan(run)
    assert verify(run).damaged == ()


def test_verify_beside_a_driver_says_that_the_next_run_does_not_know(run):
    flip(stored(run, "scale/1", "scaled.parquet"), keep_time=True)
    with locked(run):
        found = verify(run)
    assert not found.noted
    assert "A run is at work there" in found.summary()


def test_verify_where_there_is_no_run_says_so(tmp_path):
    with pytest.raises(StoreError, match="holds no run"):
        verify(tmp_path)
    assert list(tmp_path.iterdir()) == []


def as_before(run):
    """Lay a run folder out as the version before this one did."""
    shutil.rmtree(run / "live")
    plan = json.loads((run / "plan.json").read_text())
    del plan["publish"]
    (run / "plan.json").write_text(json.dumps(plan, indent=1))
    store = Store(run / "store")
    for fingerprint in store.fingerprints():
        record, _ = store.find(fingerprint)
        assert record is not None
        path = run / "store" / fingerprint / "record.json"
        path.write_text(json.dumps(asdict(record), indent=1, sort_keys=True))
    for part in (run / "tables").rglob("part-*.parquet"):
        part.rename(part.with_name(f"{part.name[:11]}{0:016x}.parquet"))


@pytest.mark.parametrize("most", [1000, 2])
def test_a_run_of_the_version_before_goes_on(toy_run, tmp_path, monkeypatch, most):
    monkeypatch.setattr(publish, "MOST_SHARDS", most)
    monkeypatch.setattr(publish, "TABLES", publish.TABLES | dict.fromkeys(TABLES))
    run = copied(toy_run, tmp_path / "run")
    before = rows(run)
    as_before(run)
    found = verify(run)
    assert found.damaged == ()
    assert len(found.unknown) == (2 if most == 1000 else 4)  # tasks, failures; and a part of two tables
    flip(stored(run, "scale/1", "scaled.parquet"))
    assert len(verify(run).damaged) == (2 if most == 1000 else 1)
    assert run_plan(run).ran == ("scale/1",)
    assert rows(run) == before
    done = verify(run)
    assert (done.damaged, done.unknown) == ((), ())
