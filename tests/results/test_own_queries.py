"""The package's own queries: DuckDB reads the files itself, and Arrow where that cannot be relied on."""

import copy
import pickle

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import intriguing as ig
from intriguing import tables
from intriguing.errors import CorruptError, StoreError
from intriguing.results import run as module
from intriguing.results.queries import named_in
from tests.synthetic_run import SyntheticRun, make_run


def by_arrow(monkeypatch):
    """How often Arrow had to answer."""
    asked = []
    answer = module.answer
    monkeypatch.setattr(module, "answer", lambda *given: asked.append(given[1]) or answer(*given))
    return asked


@pytest.mark.parametrize("name", [name for name in tables.TABLES if name != "activations"])
def test_both_readers_give_the_same_rows(two_sets, monkeypatch, name):
    run = ig.open_run(two_sets)
    asked = by_arrow(monkeypatch)
    found = run.own_query(f"select * from {name} order by all")
    assert not asked
    pd.testing.assert_frame_equal(found, run.sql(f"select * from {name} order by all"))


def test_a_file_from_before_a_column_was_there_is_read_by_arrow(tmp_path, monkeypatch):
    root = SyntheticRun(tmp_path / "run").write("plan", "failures")
    file = next((root / "tables" / "failures").glob("*.parquet"))
    rows = pq.read_table(file)
    traced = rows.set_column(rows.schema.get_field_index("traceback"), "traceback", pa.array(["where it was"]))
    pq.write_table(traced, file.with_name(f"z-{'0' * 16}.parquet"))
    pq.write_table(rows.drop_columns(["traceback"]), file)
    asked = by_arrow(monkeypatch)
    assert ig.open_run(root).own_query("select traceback from failures where traceback is not null").size == 1
    assert asked
    file.rename(file.with_name(f"zz-{'0' * 16}.parquet"))  # now the newer file comes first
    assert len(ig.open_run(root).own_query("select traceback from failures")) == 2


def test_a_folder_whose_name_is_a_pattern_is_not_taken_for_another(tmp_path):
    for name, models in (("run1", ("other",)), ("run[1]", ("FC10", "007"))):
        make_run(tmp_path / name, models=models, layers=("hidden",))
    found = ig.open_run(tmp_path / "run[1]").own_query("select distinct model from models order by 1")
    assert found["model"].tolist() == ["007", "FC10"]


def test_damage_and_later_versions_are_told_as_ever(tmp_path):
    run = ig.open_run(make_run(tmp_path / "run", layers=("hidden",)))
    file = next((tmp_path / "run" / "tables" / "models").glob("*.parquet"))
    rows = pq.read_table(file)
    pq.write_table(rows.replace_schema_metadata((rows.schema.metadata or {}) | {b"schema_version": b"99"}), file)
    with pytest.raises(StoreError, match="version 99"):
        run.own_query("select model from models")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(CorruptError, match="Table|table"):
        run.own_query("select model from models")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
def test_a_run_that_was_asked_something_can_be_copied(two_sets, copied):
    run = ig.open_run(two_sets)
    asked = "select count(*) as n from found_searches"
    found = run.own_query(asked)
    pd.testing.assert_frame_equal(copied(run).own_query(asked), found)


def test_answers_follow_files_that_are_published_later(tmp_path, monkeypatch):
    run = ig.open_run(SyntheticRun(tmp_path / "run").write("plan", "searched"))
    asked = by_arrow(monkeypatch)
    count = "select count(*) as n from found_searches"
    [before] = {run.own_query(count)["n"].item() for _ in range(3)}  # the second time they are kept
    file = next((tmp_path / "run" / "tables" / "distortions").glob("*.parquet"))
    pq.write_table(pq.read_table(file), file.with_name(f"z-{'0' * 16}.parquet"))
    added = sum(status == "found" for status in pq.read_table(file)["status"].to_pylist())
    assert {run.own_query(count)["n"].item() for _ in range(3)} == {before + added}
    file.with_name(f"z-{'0' * 16}.parquet").unlink()
    assert run.own_query(count)["n"].item() == before
    assert not asked


def test_searches_that_do_not_fit_in_memory_are_read_for_every_query(two_sets, monkeypatch):
    run = ig.open_run(two_sets)
    asked = by_arrow(monkeypatch)
    count = "select count(*) as n from found_searches"
    expected = run.own_query(count)["n"].item()
    monkeypatch.setattr("intriguing.results.queries.FOUND_SEARCHES", "select error('out of memory')")
    assert [run.own_query(count)["n"].item() for _ in range(3)] == [expected] * 3
    assert not asked


def test_a_name_of_a_table_within_quotes_is_a_value():
    query = "select * from rays where kind = 'adversarial'"
    assert named_in(query, own=True) == ["rays"]
    assert named_in(query) == ["adversarial", "rays"]
    assert named_in("select 1 from found_searches", own=True) == ["distortions"]


def test_it_reads_nothing_beside_the_run_s_tables(one_set, tmp_path):
    (tmp_path / "x.csv").write_text("a\n1\n")
    with pytest.raises(ig.errors.InputError, match="failed"):
        ig.open_run(one_set).own_query(f"select * from read_csv('{tmp_path / 'x.csv'}'), models")
