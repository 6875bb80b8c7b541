"""Publishing: the tables folder holds the rows of the current plan, in few files."""

import os
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from intriguing.engine.driver import write_plan
from intriguing.engine.examination import examine
from intriguing.engine.live import Live
from intriguing.engine.storage import publish
from intriguing.engine.storage.publish import Publication, slug
from intriguing.engine.storage.store import Record, Store
from intriguing.engine.storage.verified import Verified
from intriguing.engine.task import Function, Plan, Task
from intriguing.errors import CorruptError, StoreError
from tests.engine.driving import execute
from tests.engine.toy import flip, toy_plan


def published(run, shards):
    function = Function("x:y", 1)
    plan = Plan([Task(f"t/{i}", function, {"i": i}, publish={"out": "things"}) for i in range(shards)])
    store = Store(run / "store")
    records = {
        t.name: store.write(plan.fingerprints[t.name], {"out": pa.table({"i": [i]})}, Record(t.name, "x:y", {}))
        for i, t in enumerate(plan)
    }
    return Publication(run, plan, store), records


def test_a_few_shards_are_linked_under_their_tasks_names(tmp_path):
    publication, records = published(tmp_path, 3)
    publication.settle(records)
    files = sorted((tmp_path / "tables" / "things").iterdir())
    assert [f.name.partition("-")[0] for f in files] == ["t.0", "t.1", "t.2"]
    assert files[0].stat().st_nlink == 2


@pytest.mark.parametrize("content", [b"", b"PAR1 of somebody's"])
def test_a_published_file_that_was_damaged_is_told_and_put_there_anew(tmp_path, caplog, content):
    """It was mended without a word."""
    publication, records = published(tmp_path, 3)
    publication.settle(records)
    assert "put there anew" not in caplog.text
    second = sorted((tmp_path / "tables" / "things").iterdir())[1]
    second.unlink()
    second.write_bytes(content)
    publication.settle(records)
    assert caplog.messages == [f"{second} is not what was computed: it is put there anew"]
    assert pq.read_table(second).to_pydict() == {"i": [1]}
    assert second.stat().st_nlink == 2
    publication.settle(records)
    assert len(caplog.messages) == 1


def test_many_shards_are_compacted_in_order_and_only_once(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "MOST_SHARDS", 5)
    monkeypatch.setattr(publish, "_PART", 4)
    publication, records = published(tmp_path, 10)
    publication.settle(records)
    folder = tmp_path / "tables" / "things"
    before = {f.name: f.stat().st_mtime_ns for f in folder.iterdir()}
    assert 1 < len(before) < 10
    assert pq.read_table(folder)["i"].to_pylist() == list(range(10))
    publication.settle(records)
    assert {f.name: f.stat().st_mtime_ns for f in folder.iterdir()} == before


def rewritten(run, plan, records):
    """Which files of a large table another plan leaves as they were, renames, and writes."""
    folder = run / "tables" / "things"
    before = {f.stat().st_ino: f.name for f in folder.iterdir()}
    publication = Publication(run, plan, Store(run / "store"))
    publication._verified = Verified(run)
    publication.settle(records)
    after = {f.stat().st_ino: f.name for f in folder.iterdir()}
    return after.keys() - before.keys(), {after[i] for i in after.keys() & before.keys() if after[i] != before[i]}


@pytest.mark.parametrize("at", [0, 150, 300])
def test_a_task_more_changes_the_part_that_it_is_in_and_no_other(tmp_path, monkeypatch, at):
    monkeypatch.setattr(publish, "MOST_SHARDS", 5)
    monkeypatch.setattr(publish, "_PART", 8)
    publication, records = published(tmp_path, 300)
    publication.settle(records)
    publication._verified.save()
    tasks = [Task(t, Function("x:y", 1), {"i": i}, publish={"out": "things"}) for i, t in enumerate(records)]
    new = Task("new", Function("x:y", 1), {"i": -1}, publish={"out": "things"})
    plan = Plan([*tasks[:at], new, *tasks[at:]])
    assert len(rewritten(tmp_path, plan, records)[0]) <= 2  # only where a part ends elsewhere now
    record = Store(tmp_path / "store").write(
        plan.fingerprints["new"], {"out": pa.table({"i": [-1]})}, Record("new", "x:y", {})
    )
    written, _ = rewritten(tmp_path, plan, {**records, "new": record})
    assert 1 <= len(written) <= 2
    rows = pq.read_table(tmp_path / "tables" / "things")["i"].to_pylist()
    assert rows == [*range(at), -1, *range(at, 300)]


def test_what_is_finished_is_compacted_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "MOST_SHARDS", 5)
    monkeypatch.setattr(publish, "_PART", 8)
    publication, records = published(tmp_path, 100)
    half = dict(list(records.items())[:50])
    for task, record in half.items():
        publication.add(task, record)
    publication.compact(half)
    names = {f.name for f in (tmp_path / "tables" / "things").iterdir()}
    assert any(name.startswith("part-") for name in names)
    assert len(names) < 40
    assert sorted(pq.read_table(tmp_path / "tables" / "things")["i"].to_pylist()) == list(range(50))
    for task in records.keys() - half.keys():
        publication.add(task, records[task])
    publication.settle(records)
    assert pq.read_table(tmp_path / "tables" / "things")["i"].to_pylist() == list(range(100))


def test_a_large_table_is_looked_through_again_only_where_something_ended_or_was_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "MOST_SHARDS", 5)
    monkeypatch.setattr(publish, "_PART", 4)
    looked, real = [], publish._files_of_cut
    monkeypatch.setattr(publish, "_files_of_cut", lambda i, cut, records: looked.append(i) or real(i, cut, records))
    publication, records = published(tmp_path, 20)
    last = records.pop("t/19")

    def rows():
        publication.settle(records)
        return pq.read_table(tmp_path / "tables" / "things")["i"].to_pylist()

    assert rows() == list(range(19))
    cuts = len(looked)
    assert cuts > 1
    assert rows() == list(range(19))
    assert len(looked) == cuts
    records["t/19"] = last
    publication.add("t/19", last)
    assert rows() == list(range(20))
    del records["t/0"]
    publication.withdraw("t/0")
    assert rows() == list(range(1, 20))
    assert looked[cuts:] == [cuts - 1, 0]


def test_a_large_shard_keeps_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "MOST_SHARDS", 5)
    monkeypatch.setattr(publish, "_PART", 8)
    publication, records = published(tmp_path, 20)
    monkeypatch.setattr(publish, "LARGE", max(r.outputs["out"].bytes for r in records.values()) - 1)
    big = {t for t, r in records.items() if r.outputs["out"].bytes > publish.LARGE}
    assert len(big) > 0
    publication.settle(records)
    files = {f.name: f for f in (tmp_path / "tables" / "things").iterdir()}
    assert {name for name in files if not name.startswith("part-")} == {
        f"{slug(t)}-{publication._plan.fingerprints[t][:16]}.parquet" for t in big
    }
    assert sorted(pq.read_table(tmp_path / "tables" / "things")["i"].to_pylist()) == list(range(20))


@pytest.mark.parametrize("most", [5, 1_000])
def test_an_output_that_an_older_version_did_not_make_has_no_file(tmp_path, monkeypatch, most):
    monkeypatch.setattr(publish, "MOST_SHARDS", most)
    publication, records = published(tmp_path, 10)
    records["t/3"] = replace(records["t/3"], outputs={})
    publication.settle(records)
    expected = publish.files_of([shard for cut in publication._cuts["things"] for shard in cut], records)
    assert {f.name for f in (tmp_path / "tables" / "things").iterdir()} == set(expected)
    assert "t/3" not in {shard.task for shards in expected.values() for shard in shards}
    assert sorted(pq.read_table(tmp_path / "tables" / "things")["i"].to_pylist()) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_shards_of_earlier_code_that_lack_a_column_are_compacted_with_later_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "MOST_SHARDS", 5)
    publication, records = published(tmp_path, 10)
    record = Record("t/4", "x:y", {})
    fingerprint = publication._plan.fingerprints["t/4"]
    records["t/4"] = publication._store.write(fingerprint, {"out": pa.table({"i": [4], "late": ["x"]})}, record)
    publication.settle(records)
    rows = pq.read_table(tmp_path / "tables" / "things").to_pylist()
    assert [row["i"] for row in rows] == list(range(10))
    assert [row["late"] for row in rows] == [None] * 4 + ["x"] + [None] * 5


def test_a_damaged_shard_is_named_when_it_is_compacted_and_hashed_by_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "MOST_SHARDS", 5)
    publication, records = published(tmp_path, 10)
    write_plan(tmp_path, publication._plan, {"name": "things"})
    fingerprint = publication._plan.fingerprints["t/4"]
    for task, record in records.items():
        publication._verified.note_outputs(publication._plan.fingerprints[task], record)
    shard = tmp_path / "store" / fingerprint / "out.parquet"
    before = shard.stat()
    flip(shard)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk leaves it
    assert examine(publication._plan, tmp_path, publication._verified).damaged == ()
    with pytest.raises(CorruptError, match=f"{fingerprint}.*Run the same command again: it is computed anew"):
        publication.settle(records)
    [damaged] = examine(publication._plan, tmp_path, Verified(tmp_path)).damaged
    assert "'t/4' is computed again" in damaged


def test_an_error_of_what_is_told_and_compacted_on_the_way_does_not_end_the_run(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("intriguing.engine.driver._TICK", 0.0)
    monkeypatch.setattr("intriguing.engine.driver._HEARTBEAT", -1.0)
    monkeypatch.setattr("intriguing.engine.driver._SAVE", -1.0)
    failing = [True]

    def refuse(self, *_):
        if failing:
            raise StoreError(f"The disk is full ({type(self).__name__}).")

    for owner, method in ((Publication, "compact"), (Live, "write"), (Publication, "list_failures")):
        monkeypatch.setattr(owner, method, refuse)
    monkeypatch.setattr(Publication, "summarise", lambda *_: failing.clear())
    outcome = execute(toy_plan(do="raise"), tmp_path)
    assert len(outcome.ran) == 6
    assert "The disk is full (Publication); the run goes on" in caplog.text
    assert "The disk is full (Live); the run goes on" in caplog.text


def test_what_another_plan_published_is_taken_out_and_what_is_the_users_stays(tmp_path):
    publication, records = published(tmp_path, 2)
    ours = f"x-{0:016x}.parquet"
    gone = ["distortions", "activations/cnn/layer", "things"]
    kept = ["results", "results/deeper", "distortions/copy", "things/copy"]
    for folder in gone + kept:
        (tmp_path / "tables" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "tables" / folder / ours).write_bytes(b"")
    mine = [tmp_path / "tables" / folder / "mine.parquet" for folder in ("things", "unit_scores", "transfer")]
    mine += [tmp_path / "tables" / folder / ours for folder in kept]
    for path in mine[:3]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "tables" / "transfer" / ours).write_bytes(b"")
    (tmp_path / "tables" / "models").mkdir()  # empty, and so perhaps the user's
    publication.settle(records)
    files = {p for p in (tmp_path / "tables").rglob("*") if p.is_file()}
    assert files == {
        *mine,
        *(
            tmp_path / "tables" / "things" / f"t.{i}-{f[:16]}.parquet"
            for i, f in enumerate(publication._plan.fingerprints.values())
        ),
    }
    assert (tmp_path / "tables" / "models").is_dir()
    assert not (tmp_path / "tables" / "activations").exists()


def test_where_links_cannot_be_made_files_are_copied(tmp_path, monkeypatch):
    def no_links(*_, **__):
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    publication, records = published(tmp_path, 2)
    publication.settle(records)
    assert pq.read_table(tmp_path / "tables" / "things")["i"].to_pylist() == [0, 1]


def test_names_of_any_kind_become_file_names():
    assert slug("search/a b/007/'x'") == "search.a.b.007.x"
    assert slug("///") == "unnamed"
    assert len(slug("x" * 300)) == 80
