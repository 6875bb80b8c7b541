"""Transfer matrices of a run: rates, intervals, denominators, and what is open to choose."""

import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import intriguing as ig
from intriguing import tables
from intriguing.errors import InputError, UnknownNameError
from intriguing.stats.intervals import wilson
from tests.pages import change_rows
from tests.synthetic_run import NASTY, SyntheticRun


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


@pytest.fixture
def noisy(tmp_path):
    """A run whose models were fed noise of two sizes, of which 007 stands the smaller one."""
    writer = SyntheticRun(tmp_path / "run")
    writer.write("plan", "model_rows", "searched")
    keys = {"dataset": "glyphs", "source_model": "", "source_seed": -1, "model_seed": 1, "grade": "", "target_rule": ""}
    for size in (0.1, 0.3):
        for model in ("FC10", "007"):
            wrong = [size > 0.2 or (model == "FC10" and n < 6) for n in range(24)]
            columns = {"search_id": [f"noise/{size:g}/{n}" for n in range(24)], "example_id": range(24)}
            columns |= {"label": [0] * 24, "prediction": [int(w) for w in wrong], "is_error": wrong}
            more = {"model": model, "kind": "noise", "rms": 0.7 * size, "clipped_fraction": 0.4, "size": size}
            writer.add("transfer", tables.TRANSFER.build(columns, **keys, **more))
    return writer.write("examples")


def test_noise_of_fixed_sizes_is_a_row_per_size_with_its_size_after_clipping(noisy):
    matrix = ig.open_run(noisy).transfer_matrix(kind="noise")
    assert matrix.index.tolist() == ["noise 0.1", "noise 0.3"]
    assert matrix.loc["noise 0.1"].tolist() == [0.25, 0]
    assert matrix.loc["noise 0.3"].tolist() == [1, 1]
    assert matrix.attrs["rms"].tolist() == pytest.approx([0.07, 0.21], rel=1e-5)
    assert (matrix.attrs["n"] == 24).all(axis=None)


def test_noise_counts_among_images_that_the_model_fed_gets_right(noisy):
    change_rows(noisy, {"FC10": [0, 1, 2, 3]})
    run = ig.open_run(noisy)
    matrix = run.transfer_matrix(kind="noise", among="target_correct")
    assert matrix.loc["noise 0.1", "FC10"] == 2 / 20
    assert matrix.attrs["left_out"].loc["noise 0.1"].tolist() == [4, 0]
    with pytest.raises(InputError, match="plays no part for noise"):
        run.transfer_matrix(kind="noise", among="source_correct")
