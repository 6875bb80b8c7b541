"""Publishing: the tables folder holds the rows of the current plan, in few files."""

import os

import pyarrow as pa
import pyarrow.parquet as pq

from intriguing.engine import publish
from intriguing.engine.publish import Publication, slug
from intriguing.engine.store import Record, Store
from intriguing.engine.task import Function, Plan, Task


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


def test_many_shards_are_compacted_in_order_and_only_once(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "MOST_SHARDS", 5)
    monkeypatch.setattr(publish, "_GROUP", 4)
    publication, records = published(tmp_path, 10)
    publication.settle(records)
    folder = tmp_path / "tables" / "things"
    before = {f.name: f.stat().st_mtime_ns for f in folder.iterdir()}
    assert len(before) == 3
    assert pq.read_table(folder)["i"].to_pylist() == list(range(10))
    publication.settle(records)
    assert {f.name: f.stat().st_mtime_ns for f in folder.iterdir()} == before


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
