"""A run that is opened: its tables, filters, activations, and other readers of its files."""

import json
import shutil
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import fs

import intriguing as ig
from intriguing import tables
from intriguing.cli import call as command
from intriguing.errors import CorruptError, InputError, StoreError, UnknownNameError
from intriguing.results import opening
from intriguing.results.files import table_files
from tests.keys import duplicates
from tests.synthetic_run import SyntheticRun, make_run

WRITTEN = ["examples", "models", "topk", "unit_scores", "rotation_tests", "distortions", "adversarial", "transfer"]


WRITTEN += ["word_rows", "word_tests", "word_verdicts", "word_vectors", "word_norms", "tasks"]


def test_a_run_is_opened_by_string_path_or_uri_and_knows_its_spec(one_set):
    for path in (one_set, str(one_set), one_set.as_uri()):
        run = ig.open_run(path)
        assert run.path == str(path)
        assert run.spec["blind_spots"] == {"searches": 24, "grades": ["best"]}
        assert (run.name, run.tasks) == ("synthetic", 42)
        assert run.table("models").num_rows == 2


def test_a_plan_larger_than_any_is_told_by_its_size_and_not_read_to_its_end(one_set, monkeypatch):
    size = (one_set / "plan.json").stat().st_size
    monkeypatch.setattr(opening, "LARGEST_PLAN", size)
    assert ig.open_run(one_set).name == "synthetic"
    monkeypatch.setattr(opening, "LARGEST_PLAN", size - 1)
    with pytest.raises(CorruptError, match=f"it has more than {size - 1:,} bytes"):
        ig.open_run(one_set)


def test_a_folder_without_a_plan_is_no_run(tmp_path):
    with pytest.raises(StoreError, match=r"has no plan\.json.*intriguing run SPEC --out FOLDER"):
        ig.open_run(tmp_path)


def test_a_path_that_does_not_exist_is_no_run(tmp_path):
    with pytest.raises(StoreError, match="does not exist"):
        ig.open_run(tmp_path / "nowhere")


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        ig.open_run(tmp_path / "file")


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', '{"spec": 3}'])
def test_a_damaged_plan_is_called_so(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(CorruptError, match=r"plan\.json cannot be read"):
        ig.open_run(tmp_path)


def test_reading_imports_neither_torch_nor_ray(one_set):
    code = (
        "import sys, intriguing as ig; r = ig.open_run(sys.argv[1]); r.transfer_matrix(); r.sql('from models');"
        "assert not {'torch', 'ray'} & set(sys.modules), 'heavy imports'"
    )
    subprocess.run([sys.executable, "-c", code, str(one_set)], check=True)


def test_a_run_is_read_from_an_object_store_and_keeps_its_secrets(one_set, tmp_path, capsys):
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        address = {"endpoint_override": f"http://127.0.0.1:{port}", "allow_bucket_creation": True}
        store = fs.S3FileSystem(access_key="key", secret_key="secret", **address)
        store.create_dir("bucket")
        fs.copy_files(str(one_set), "bucket/my run", destination_filesystem=store)
        options = f"?endpoint_override=127.0.0.1%3A{port}&scheme=http"
        run = ig.open_run(f"s3://key:secret@bucket/my%20run{options}")
        assert run.path == "s3://bucket/my%20run"
        assert run.transfer_matrix().equals(ig.open_run(one_set).transfer_matrix())
        assert run.sql("select count(*) as n from models").n[0] == 2
        assert run.table("activations", model="007").num_rows == 80
        uri = f"s3://key:secret@bucket/my%20run{options}"
        assert command(["status", uri]) == 0
        assert "tasks done" in capsys.readouterr().out
        assert command(["report", uri, "--out", str(tmp_path / "page.html")]) == 0
        assert (tmp_path / "page.html").read_text().count("<section") > 3
        with pytest.raises(StoreError, match="'s3://bucket/nowhere' is not the folder of a run"):
            ig.open_run(f"s3://key:secret@bucket/nowhere{options}")
    finally:
        server.stop()


def test_local_files_are_listed_as_arrow_lists_them(tmp_path):
    folder = tmp_path / "models"
    assert table_files(fs.LocalFileSystem(), str(folder)) == []
    folder.mkdir()
    (tmp_path / "aside").write_bytes(b"")
    (folder / "zzz-0123456789abcdef.parquet").write_bytes(b"")
    (folder / "a-0123456789abcdef.parquet").symlink_to(tmp_path / "aside")
    (folder / "folder-0123456789abcdef.parquet").mkdir()
    (folder / "gone-0123456789abcdef.parquet").symlink_to(tmp_path / "nowhere")
    (folder / "notes.txt").write_bytes(b"")
    expected = table_files(fs.LocalFileSystem(), str(folder), recursive=True)
    assert table_files(fs.LocalFileSystem(), str(folder)) == expected and len(expected) == 2


def test_tables_lists_what_has_files(one_set):
    assert ig.open_run(one_set).tables() == [n for n in tables.TABLES if n in {*WRITTEN, "activations"}]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_table_has_the_schema_of_tables_and_a_unique_key(two_sets, name):
    table = ig.open_run(two_sets).table(name)
    assert table.num_rows
    assert table.schema.equals(tables.named(name).schema)
    assert duplicates(table, tables.named(name).key) == 0


def test_a_table_without_rows_is_empty_and_has_its_schema(one_set):
    failures = ig.open_run(one_set).table("failures")
    assert failures.num_rows == 0
    assert failures.schema.equals(tables.FAILURES.schema)
    assert list(ig.open_run(one_set).pandas("failures", columns=["message", "task"]).columns) == ["message", "task"]


def test_an_unknown_table_or_column_names_the_nearest(one_set):
    run = ig.open_run(one_set)
    with pytest.raises(UnknownNameError, match="Did you mean 'distortions'"):
        run.table("distortion")
    with pytest.raises(UnknownNameError, match="Did you mean 'status'"):
        run.table("distortions", statu="found")
    with pytest.raises(UnknownNameError, match="Did you mean 'label'"):
        run.table("distortions", columns=["lable"])


def test_columns_come_in_the_order_asked_for(one_set):
    assert ig.open_run(one_set).table("distortions", columns=["status", "l2"]).column_names == ["status", "l2"]


def test_a_name_that_a_table_lacks_is_told_with_those_that_it_has(one_set, caplog):
    """`pandas(..., model="mpl")` gave an empty frame without a word."""
    run = ig.open_run(one_set)
    there = run.table("models")["model"].to_pylist()
    assert len(run.pandas("models", model=there[0])) and not caplog.records
    assert len(run.pandas("models", model="mpl")) == 0
    assert "There is no model named 'mpl'." in caplog.text and there[0] in caplog.text


def test_filters_keep_the_rows_that_match(two_sets):
    run = ig.open_run(two_sets)
    every = run.pandas("distortions")
    some = run.pandas("distortions", dataset="glyphs", model="007", status=["found", "misclassified"])
    expected = every[every.dataset.eq("glyphs") & every.model.eq("007") & every.status.isin(["found", "misclassified"])]
    assert len(some) == len(expected) > 0
    assert sorted(some.search_id) == sorted(expected.search_id)


def test_a_filter_of_zero_finds_zeros(one_set):
    assert ig.open_run(one_set).table("rotation_tests", alpha=0.0).num_rows > 0


def test_a_filter_of_none_keeps_missing_values(one_set):
    run = ig.open_run(one_set)
    assert set(run.pandas("distortions", l2=None).status) == {"misclassified", "not_found", "bad_output"}
    assert run.table("distortions", prediction=[None, 3]).num_rows > run.table("distortions", prediction=3).num_rows


def test_a_filter_of_the_wrong_type_is_explained(one_set):
    with pytest.raises(InputError, match="Column 'model' is string: it cannot equal 7"):
        ig.open_run(one_set).table("models", model=7)


def test_pandas_keeps_labels_that_may_be_missing_whole(one_set):
    frame = ig.open_run(one_set).pandas("distortions")
    assert frame.prediction.dtype == pd.Int64Dtype()
    assert frame.prediction.isna().sum() == 6
    assert frame.label.dtype == np.int64
    assert list(frame.columns) == tables.DISTORTIONS.schema.names


def test_a_truncated_shard_is_named(tmp_path):
    root = make_run(tmp_path / "run", words=False)
    shard = sorted((root / "tables" / "distortions").glob("*.parquet"))[-1]
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(CorruptError, match=rf"'distortions'.*{shard.name}.*run the same command again"):
        ig.open_run(root).table("distortions")
    with pytest.raises(CorruptError, match="run the same command again"):
        ig.open_run(root).sql("select * from distortions")


def test_files_still_being_published_are_not_read(tmp_path):
    root = make_run(tmp_path / "run", words=False)
    (root / "tables" / "models" / ".part-9.parquet").write_bytes(b"half")
    (root / "tables" / "models" / "part-9.parquet.tmp").write_bytes(b"half")
    assert ig.open_run(root).table("models").num_rows == 2


def test_activations_are_read_one_layer_at_a_time(two_sets):
    run = ig.open_run(two_sets)
    chosen = {"dataset": "second set", "model": "007"}
    hidden, logits = (run.table("activations", layer=layer, **chosen) for layer in ("hidden", "logits"))
    assert hidden.schema.field("vector").type == pa.list_(pa.float32(), 16)
    assert logits.schema.field("vector").type == pa.list_(pa.float16(), 12)
    assert hidden.num_rows == logits.num_rows == 80
    assert set(logits["layer"].to_pylist()) == {"logits"}
    assert run.table("activations", layer="hidden", example_id=[3, 70], **chosen)["example_id"].to_pylist() == [3, 70]


def test_ambiguous_activations_list_the_choices(two_sets):
    with pytest.raises(InputError, match=r"Several stored layers match.*'model': '007'.*'layer': 'logits'"):
        ig.open_run(two_sets).table("activations", dataset="glyphs")


def test_activations_of_a_layer_that_is_not_stored_list_the_choices(two_sets):
    with pytest.raises(InputError, match=r"No stored layer matches.*'layer': 'hidden'"):
        ig.open_run(two_sets).table("activations", layer="conv")


def test_activations_need_no_selector_where_there_is_one_layer(tmp_path):
    root = make_run(tmp_path / "run", words=False, models=("FC10",), layers=("hidden",))
    assert ig.open_run(root).table("activations").num_rows == 80
    shutil.rmtree(root / "tables" / "activations")
    assert ig.open_run(root).table("activations").num_rows == 0


@pytest.mark.parametrize("name", WRITTEN)
def test_pandas_polars_and_duckdb_read_a_table_alone(two_sets, name):
    folder = two_sets / "tables" / name
    ours = ig.open_run(two_sets).table(name)
    assert len(pd.read_parquet(folder)) == len(pl.read_parquet(folder)) == ours.num_rows
    # A quote in the path is doubled, as SQL wants it.
    relation = duckdb.sql(f"select * from read_parquet('{str(folder).replace(chr(39), chr(39) * 2)}/*.parquet')")
    assert len(relation.df()) == ours.num_rows
    if "model" in ours.column_names:
        assert set(pd.read_parquet(folder).model) == {"FC10", "007"}
        assert pl.read_parquet(folder)["model"].dtype == pl.String


def test_every_table_but_activations_is_read_alone_and_activations_a_layer_at_a_time(two_sets):
    layers = ig.open_run(two_sets).activation_layers()
    assert len(layers) == 8
    assert set(zip(layers.layer, layers.units, layers.dtype, strict=True)) == {
        ("hidden", 16, "float32"),
        ("logits", 12, "float16"),
    }
    for row in layers.itertuples():
        frame = pd.read_parquet(row.folder)
        assert len(frame) == pl.read_parquet(row.folder).height == 80
        keys = ["dataset", "model", "model_seed", "layer"]
        assert set(frame[keys].itertuples(index=False, name=None)) == {tuple(getattr(row, key) for key in keys)}
        assert {len(vector) for vector in frame.vector} == {row.units}
    # A quote in the path is doubled, as SQL wants it.
    everything = f"'{str(two_sets).replace(chr(39), chr(39) * 2)}/tables/activations/*/*.parquet'"
    assert duckdb.sql(f"select count(*) as n from read_parquet({everything})").df().n[0] == 8 * 80


def test_a_run_without_activations_lists_no_layers(tmp_path):
    layers = ig.open_run(SyntheticRun(tmp_path / "run").write("plan")).activation_layers()
    assert len(layers) == 0
    assert list(layers.columns) == ["dataset", "model", "model_seed", "layer", "units", "dtype", "folder"]


def test_the_first_rows_come_with_how_many_there_are(one_set):
    run = ig.open_run(one_set)
    frame, total = run.head("distortions", 5)
    assert (len(frame), total) == (5, 48)
    assert frame.equals(run.pandas("distortions").head(5))
    for rows in (0, 1, total - 1, total, total + 7):  # from one file or from several
        assert run.head("distortions", rows)[0].equals(run.pandas("distortions").head(rows))
    assert run.head("failures")[1] == 0
    assert list(run.head("failures")[0].columns) == tables.FAILURES.schema.names
    with pytest.raises(InputError, match="-1 rows were asked for"):
        run.head("distortions", -1)


@pytest.mark.parametrize("models", [["007", "FC10"], [{"name": "007"}, {"name": "FC10"}], {"007": {}, "FC10": {}}])
def test_models_come_in_the_order_of_the_spec(tmp_path, models):
    writer = SyntheticRun(tmp_path / "run")
    writer.write("plan", "model_rows")
    content = json.loads((tmp_path / "run" / "plan.json").read_text())
    content["spec"]["models"] = models
    (tmp_path / "run" / "plan.json").write_text(json.dumps(content))
    assert ig.open_run(tmp_path / "run").models() == [("007", 1), ("FC10", 1)]


def test_a_path_beside_the_run_s_folder_is_told_which_runs_are_near(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name / "tables").mkdir(parents=True)
        (tmp_path / name / "plan.json").write_text("{}")
    for path in ("a/tables", "a/plan.json", "a/tables/nothing"):
        with pytest.raises(StoreError, match=rf"It lies in the run '{tmp_path}/a'\.$"):
            ig.open_run(tmp_path / path)
    with pytest.raises(StoreError, match=rf"Runs in it: '{tmp_path}/a', '{tmp_path}/b'\.$"):
        ig.open_run(tmp_path)
