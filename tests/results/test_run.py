import json
import re
import shutil
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

import intriguing as ig
from intriguing import tables
from intriguing.errors import CorruptError, InputError, StoreError, UnknownNameError
from intriguing.stats.intervals import wilson
from tests.keys import duplicates
from tests.synthetic_run import NASTY, SyntheticRun, make_run

WRITTEN = ["examples", "models", "topk", "unit_scores", "rotation_tests", "distortions", "adversarial", "transfer"]
WRITTEN += ["word_rows", "word_tests", "word_verdicts", "word_vectors", "word_norms", "tasks"]


@pytest.fixture(scope="module")
def two_sets(tmp_path_factory):
    """Two data sets, two layers, a model called 007, in a folder with a space and quotes in its name."""
    root = tmp_path_factory.mktemp("runs") / "a 'run'"
    return make_run(root, datasets=("glyphs", "second set"), models=("FC10", "007"))


@pytest.fixture(scope="module")
def one_set(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "one", models=("FC10", "007"), layers=("hidden",))


# Opening


def test_a_run_is_opened_by_string_path_or_uri_and_knows_its_spec(one_set):
    for path in (one_set, str(one_set), one_set.as_uri()):
        run = ig.open_run(path)
        assert run.path == str(path)
        assert run.spec["blind_spots"] == {"searches": 24, "grades": ["best"]}
        assert (run.name, run.tasks) == ("synthetic", 42)
        assert run.table("models").num_rows == 2


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


def test_a_run_is_read_from_an_object_store_and_keeps_its_secrets(one_set):
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
        with pytest.raises(StoreError, match="'s3://bucket/nowhere' is not the folder of a run"):
            ig.open_run(f"s3://key:secret@bucket/nowhere{options}")
    finally:
        server.stop()


# Tables


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
    assert list(ig.open_run(one_set).pandas("word_norms", columns=["epoch", "seed"]).columns) == ["epoch", "seed"]


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


# Activations


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


# SQL


def test_sql_sees_every_table(two_sets):
    run = ig.open_run(two_sets)
    for name in tables.TABLES:
        count = run.sql(f"select count(*) as n from {name}").n[0]
        assert count == (run.table(name).num_rows if name != "activations" else 2 * 2 * 2 * 80)


def test_sql_joins_and_takes_parameters(one_set):
    joined = "distortions join models using (dataset, model, model_seed)"
    query = f"select label, avg(l2) as l2 from {joined} where model = ? group by 1"
    frame = ig.open_run(one_set).sql(query, ["007"])
    assert sorted(frame.label) == list(range(10))
    assert frame.l2.between(0, 28).all()


def test_sql_reads_layers_of_different_width_as_lists(two_sets):
    frame = ig.open_run(two_sets).sql("select layer, max(len(vector)) as d from activations group by 1 order by 1")
    assert frame.d.tolist() == [16, 12]


@pytest.mark.parametrize(
    "query",
    [
        "copy models to '{}'",
        "attach '{}'",
        "export database '{}'",
        "install httpfs",
        "load httpfs",
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "select * from read_blob('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        "copy models from '/etc/passwd'",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "pragma database_list; copy models to '{}'",
    ],
)
def test_sql_neither_reads_nor_writes_files(one_set, tmp_path, query, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="The query failed"):
        ig.open_run(one_set).sql(query.format(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_sql_cannot_change_a_table(one_set):
    with pytest.raises(InputError, match="The query failed"):
        ig.open_run(one_set).sql("delete from models")
    assert ig.open_run(one_set).table("models").num_rows == 2


def test_a_bad_query_gives_the_databases_own_hint(one_set):
    with pytest.raises(InputError, match="distortions"):
        ig.open_run(one_set).sql("select * from distortion")


# Other readers


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
    assert run.head("failures")[1] == 0
    assert list(run.head("failures")[0].columns) == tables.FAILURES.schema.names
    with pytest.raises(InputError, match="-1 rows were asked for"):
        run.head("distortions", -1)


@pytest.mark.parametrize(
    "query",
    [
        "select natural from rotation_tests",
        "select metric, Natural, null_mean from rotation_tests",
        "select avg(natural) as m from rotation_tests where metric = 'natural'",
        "select * from rotation_tests where natural > 1",
        "select * from rotation_tests order by natural",
    ],
)
def test_a_column_that_is_a_word_of_sql_is_named_where_the_parser_stumbles(one_set, query):
    run = ig.open_run(one_set)
    with pytest.raises(InputError, match='must stand in double quotes: "natural".'):
        run.sql(query)
    assert len(run.sql(re.sub("(?<!')[Nn]atural", '"natural"', query))) > 0


def test_other_faults_of_a_query_are_not_blamed_on_a_column(one_set):
    with pytest.raises(InputError) as failed:
        ig.open_run(one_set).sql("selec \"natural\" from rotation_tests where metric = 'natural'")
    assert "double quotes" not in str(failed.value)


# Transfer matrices


def test_a_models_own_images_fool_it_every_time(one_set):
    matrix = ig.open_run(one_set).transfer_matrix()
    assert np.diag(matrix).tolist() == [1.0, 1.0]
    assert matrix.index.tolist() == matrix.columns.tolist() == ["FC10", "007"]
    assert (matrix.index.name, matrix.columns.name) == ("source", "target")


def test_only_searches_with_status_found_enter_the_matrix(one_set):
    run = ig.open_run(one_set)
    matrix = run.transfer_matrix()
    # Of 24 searches three ended otherwise; one of those was fed to the models all the same.
    assert (matrix.attrs["n"] == 21).all(axis=None)
    assert run.table("transfer", kind="minimal", source_model="007", model="FC10").num_rows == 22


def test_error_rates_and_intervals_are_those_of_the_rows(one_set):
    run = ig.open_run(one_set)
    matrix = run.transfer_matrix(kind="gaussian")
    rows = run.pandas("transfer", kind="gaussian", source_model="007", model="FC10")
    rows = rows[rows.example_id != 5]
    k, n = rows.is_error.sum(), len(rows)
    assert matrix.loc["007", "FC10"] == k / n
    low, high = wilson(k, n)
    assert matrix.attrs["low"].loc["007", "FC10"] == low
    assert matrix.attrs["high"].loc["007", "FC10"] == high
    assert matrix.attrs["rms"]["007"] == pytest.approx(0.06)


def test_clean_images_are_one_row_and_all_of_them_count(one_set):
    matrix = ig.open_run(one_set).transfer_matrix(kind="clean")
    assert matrix.index.tolist() == ["clean"]
    assert matrix.attrs["n"].loc["clean"].tolist() == [24, 24]
    assert matrix.loc["clean"].tolist() == [0, 0]


def test_several_seeds_are_told_apart_in_the_labels(tmp_path):
    writer = SyntheticRun(tmp_path / "run", models=("FC10", "007"), seeds={"007": (2, 11)})
    writer.write("plan", "searched")
    matrix = ig.open_run(tmp_path / "run").transfer_matrix()
    assert matrix.columns.tolist() == ["FC10", "007#2", "007#11"]
    assert (np.diag(matrix) == 1).all()


def test_names_of_any_characters_are_labels(tmp_path):
    writer = SyntheticRun(tmp_path / "run", models=(NASTY, "007"))
    writer.write("plan", "searched")
    assert ig.open_run(tmp_path / "run").transfer_matrix().loc[NASTY, NASTY] == 1


def test_an_ambiguous_matrix_lists_the_data_sets(two_sets):
    run = ig.open_run(two_sets)
    with pytest.raises(InputError, match="dataset= one of 'glyphs', 'second set'"):
        run.transfer_matrix()
    assert run.transfer_matrix(dataset="second set").attrs["selection"].dataset == "second set"


def test_an_ambiguous_matrix_lists_the_rules_and_grades(tmp_path):
    writer = SyntheticRun(tmp_path / "run")
    writer.rules = (("untargeted", "best"), ("random", "best"), ("random", "fast"))
    writer.write("plan", "searched")
    run = ig.open_run(tmp_path / "run")
    with pytest.raises(InputError, match="target_rule= one of 'random', 'untargeted'"):
        run.transfer_matrix()
    with pytest.raises(InputError, match="grade= one of 'best', 'fast'"):
        run.transfer_matrix(grade=None)
    with pytest.raises(InputError, match=r"grade 'faithful'.*'best', 'fast'"):
        run.transfer_matrix(grade="faithful")
    selection = run.transfer_matrix(grade="fast").attrs["selection"]
    assert (selection.grade, selection.target_rule) == ("fast", "random")
    # The clean images are the same whatever was searched for.
    assert run.transfer_matrix(kind="clean").attrs["n"].loc["clean"].tolist() == [24, 24]


def test_a_pair_not_computed_yet_is_nan(tmp_path):
    writer = SyntheticRun(tmp_path / "run")
    writer.write("plan", "searched")
    folder = tmp_path / "run" / "tables" / "transfer"
    rows = ig.open_run(tmp_path / "run").table("transfer")
    missing = pc.and_(pc.equal(rows["source_model"], "FC10"), pc.equal(rows["model"], "007"))
    shutil.rmtree(folder)
    folder.mkdir()
    pq.write_table(rows.filter(pc.invert(missing)), folder / f"part-00000-{0:016x}.parquet")
    matrix = ig.open_run(tmp_path / "run").transfer_matrix()
    assert np.isnan(matrix.loc["FC10", "007"])
    assert matrix.attrs["n"].loc["FC10", "007"] == 0
    assert matrix.loc["007", "FC10"] < 1


def test_a_matrix_of_a_kind_without_rows_says_which_kinds_there_are(tmp_path):
    SyntheticRun(tmp_path / "run").write("plan")
    with pytest.raises(InputError, match=r"no rows of kind 'minimal'.*it has: none"):
        ig.open_run(tmp_path / "run").transfer_matrix()
    with pytest.raises(UnknownNameError, match="Did you mean 'minimal'"):
        ig.open_run(tmp_path / "run").transfer_matrix(kind="minimum")


def test_matrices_can_be_multiplied_and_put_together(one_set):
    run = ig.open_run(one_set)
    matrix = run.transfer_matrix()
    together = pd.concat([matrix, matrix * 0, run.transfer_matrix(kind="clean")])
    assert together.shape == (5, 2)


@pytest.mark.parametrize("models", [["007", "FC10"], [{"name": "007"}, {"name": "FC10"}], {"007": {}, "FC10": {}}])
def test_models_come_in_the_order_of_the_spec(tmp_path, models):
    writer = SyntheticRun(tmp_path / "run")
    writer.write("plan", "model_rows")
    content = json.loads((tmp_path / "run" / "plan.json").read_text())
    content["spec"]["models"] = models
    (tmp_path / "run" / "plan.json").write_text(json.dumps(content))
    assert ig.open_run(tmp_path / "run").models() == [("007", 1), ("FC10", 1)]


# Denominators of a matrix


@pytest.fixture(scope="module")
def targeted(tmp_path_factory):
    """A run of one targeted rule: 007 is wrong on images 0 and 1 unchanged, FC10 on 1, 2 and 3, in every table."""
    writer = SyntheticRun(tmp_path_factory.mktemp("runs") / "targeted", models=("FC10", "007"))
    writer.rules = (("random", "fast"),)
    root = writer.write("plan", "model_rows", "searched")
    wrong = {"FC10": [1, 2, 3], "007": [0, 1]}
    for name in ("distortions", "transfer"):
        for shard in (root / "tables" / name).glob("*.parquet"):
            rows = pq.read_table(shard).to_pylist()
            for row in rows:
                if row["example_id"] in wrong[row["model"]]:
                    if name == "distortions":
                        row["clean_prediction"] = (row["label"] + 1) % 10
                    elif row["kind"] == "clean":
                        row |= {"prediction": (row["label"] + 1) % 10, "is_error": True}
            pq.write_table(pa.Table.from_pylist(rows, tables.named(name).schema), shard)
    return root


@pytest.mark.parametrize(
    ("among", "counted"),
    [
        ("found", [[21, 21], [21, 21]]),
        ("source_correct", [[18, 18], [19, 19]]),
        ("target_correct", [[18, 19], [18, 19]]),
        ("both_correct", [[18, 17], [17, 19]]),
    ],
)
@pytest.mark.parametrize("kind", ["minimal", "amplified", "gaussian"])
def test_a_matrix_counts_the_images_asked_for_and_says_how_many_it_leaves_out(targeted, kind, among, counted):
    run = ig.open_run(targeted)
    matrix = run.transfer_matrix(kind, among=among)
    assert matrix.attrs["n"].to_numpy().tolist() == counted
    assert (matrix.attrs["n"] + matrix.attrs["left_out"] == 21).all(axis=None)
    assert matrix.attrs["selection"].among == among
    gone = {"source": {0, 1}, "target": {1, 2, 3}}
    out = {"found": set(), "source_correct": gone["source"], "target_correct": gone["target"]}
    out["both_correct"] = gone["source"] | gone["target"]
    rows = run.pandas("transfer", kind=kind, source_model="007", model="FC10")
    rows = rows[~rows.example_id.isin({5, *out[among]})]
    assert matrix.loc["007", "FC10"] == rows.is_error.mean()
    assert matrix.attrs["low"].loc["007", "FC10"] == wilson(rows.is_error.sum(), len(rows))[0]


def test_all_found_searches_are_the_denominator_by_default(targeted):
    run = ig.open_run(targeted)
    pd.testing.assert_frame_equal(run.transfer_matrix(), run.transfer_matrix(among="found"))
    assert run.transfer_matrix(grade="fast", target_rule="random").equals(run.transfer_matrix())


def test_a_denominator_that_there_is_not_names_the_nearest(targeted):
    with pytest.raises(UnknownNameError, match="Did you mean 'target_correct'"):
        ig.open_run(targeted).transfer_matrix(among="target_corect")
    with pytest.raises(InputError, match="plays no part for clean images"):
        ig.open_run(targeted).transfer_matrix("clean", among="target_correct")


def test_a_model_that_was_not_fed_the_unchanged_images_yet_is_not_known_to_be_right(tmp_path):
    writer = SyntheticRun(tmp_path / "run")
    root = writer.write("plan", "searched")
    folder = root / "tables" / "transfer"
    rows = ig.open_run(root).table("transfer")
    shutil.rmtree(folder)
    folder.mkdir()
    fed = pc.or_(pc.not_equal(rows["kind"], "clean"), pc.not_equal(rows["model"], "007"))
    pq.write_table(rows.filter(fed), folder / "part-0123456789abcdef.parquet")
    matrix = ig.open_run(root).transfer_matrix(among="target_correct")
    assert matrix.attrs["n"]["007"].tolist() == [0, 0]
    assert matrix.attrs["left_out"]["007"].tolist() == [21, 21]
    assert matrix["007"].isna().all()
    assert matrix.attrs["n"]["FC10"].tolist() == [21, 21]


@pytest.mark.parametrize("grade", ["faithful", "best", "fast"])
def test_a_matrix_needs_no_arguments_where_there_is_one_of_each(tmp_path, grade):
    writer = SyntheticRun(tmp_path / "run")
    writer.rules = (("untargeted", grade),)
    writer.write("plan", "searched")
    selection = ig.open_run(tmp_path / "run").transfer_matrix().attrs["selection"]
    assert (selection.grade, selection.target_rule, selection.dataset) == (grade, "untargeted", "glyphs")


def test_all_choices_that_are_open_are_listed_at_once(tmp_path):
    writer = SyntheticRun(tmp_path / "run", datasets=("a", "b"))
    writer.rules = (("untargeted", "best"), ("random", "fast"))
    writer.write("plan", "searched")
    run = ig.open_run(tmp_path / "run")
    with pytest.raises(
        InputError, match=r"values of dataset and grade and target_rule: choose dataset= one of 'a', 'b' and grade="
    ):
        run.transfer_matrix()
    with pytest.raises(
        InputError,
        match=r"no transfer rows with dataset 'a' and grade 'best' and target_rule 'random': .* one of 'untargeted'",
    ):
        run.transfer_matrix(dataset="a", grade="best", target_rule="random")
