"""Whole sweeps on real digits: the same tables whatever runs them, and nothing computed twice."""

import copy
import json
import shutil

import pyarrow.parquet as pq
import pytest

import intriguing as ig
from intriguing.errors import ModelError, SpecError, TaskFailedError, UnknownNameError
from intriguing.report import is_current
from intriguing.sweep import execute, prepare
from tests.keys import duplicates
from tests.pages import about, sheet
from tests.sweep.small import SMALL, assert_equal_tables, tables_of


def small(**changes):
    return copy.deepcopy(SMALL) | changes


def ran(outcome):
    """How many tasks of each stage ran."""
    stages = [name.partition("/")[0] for name in outcome.ran]
    return {stage: stages.count(stage) for stage in dict.fromkeys(stages)}


@pytest.fixture
def continued(finished, tmp_path):
    """Runs a changed spec in a copy of the finished run's folder."""

    def go(spec):
        out = tmp_path / "continued"
        if not out.exists():
            shutil.copytree(finished, out)
        return execute(prepare(spec, out), "inline"), out

    return go


@pytest.mark.usefixtures("without_page")
def test_strict_inline_gives_equal_tables(finished, tmp_path):
    assert execute(prepare(SMALL, tmp_path / "run"), "strict").complete
    assert_equal_tables(finished, tmp_path / "run")


@pytest.mark.usefixtures("without_page")
def test_another_shard_size_gives_equal_tables(finished, tmp_path):
    compute = SMALL["compute"] | {"rows_per_shard": 70, "searches_per_shard": 4}
    assert execute(prepare(small(compute=compute), tmp_path / "run"), "inline").complete
    assert_equal_tables(finished, tmp_path / "run")


@pytest.mark.usefixtures("without_page")
@pytest.mark.ray
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_gives_equal_tables(finished, tmp_path, ray_started, workers):
    assert execute(prepare(SMALL, tmp_path / "run"), "ray", workers=workers).complete
    assert_equal_tables(finished, tmp_path / "run")


def test_a_folder_that_was_emptied_while_a_run_was_at_work_holds_a_run_again(finished, tmp_path):
    """It had no plan.json: nobody could read it, and the same command was refused."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    spec = small(units=SMALL["units"] | {"k": 4})

    def take_away(snapshot):
        (out / "plan.json").unlink(missing_ok=True)

    assert ran(execute(prepare(spec, out), "inline", listen=take_away))
    assert len(ig.open_run(out).models()) == 2
    assert execute(prepare(spec, out), "inline").ran == ()


def test_the_same_command_again_computes_nothing(continued):
    outcome, _ = continued(SMALL)
    assert outcome.ran == ()
    assert outcome.complete


def test_one_model_more_computes_its_row_and_its_column_and_nothing_else(continued):
    models = SMALL["models"] | {"cnn": {"layers": ["fc1"], "training": {"epochs": 1}}}
    outcome, out = continued(small(models=models))
    assert outcome.complete
    # 2 activation shards, 2 bases of 1 layer in 2 shards; 2 rules in 2 shards; row of 3 and column of 2 more, by 2 by 2
    fed = {"clean": 2, "noise": 2, "transfer": 20, "rays": 20}
    assert ran(outcome) == {"model": 1, "activations": 2, "scan": 4, "top": 2, "histograms": 1, "search": 4} | fed
    assert all("cnn" in name for name in outcome.ran)
    assert list(ig.open_run(out).transfer_matrix(grade="fast", target_rule="random").columns) == [
        "softmax",
        "007",
        "cnn",
    ]


def test_a_smaller_k_leaves_no_higher_rank_and_collects_nothing_again(continued):
    outcome, out = continued(small(units={"k": 3, "rows": 300}))
    assert set(ran(outcome)) == {"scan", "top"}
    assert ig.open_run(out).pandas("topk")["rank"].max() == 3


def test_a_model_less_leaves_the_tables_and_comes_back_without_work(continued):
    outcome, out = continued(small(models={"007": SMALL["models"]["007"]}))
    assert outcome.ran == ()
    assert set(ig.open_run(out).pandas("distortions")["model"]) == {"007"}
    outcome, _ = continued(SMALL)
    assert outcome.ran == ()


def test_every_primary_key_is_unique(finished):
    checked = 0
    for folder in {p.parent for p in (finished / "tables").rglob("*.parquet")}:
        table = pq.read_table(folder)
        assert duplicates(table, json.loads(table.schema.metadata[b"primary_key"])) == 0, folder
        checked += 1
    assert checked >= 10


def test_tables_have_the_rows_that_the_spec_asks_for(finished):
    tables = tables_of(finished)
    assert len(tables["examples"]) == 10_000
    assert len(tables["distortions"]) == 2 * 2 * 10
    assert len(tables["topk"]) == 5 * 2 * (10 + 16 + 12)
    clean = tables["transfer"][tables["transfer"]["kind"] == "clean"]
    assert len(clean) == 2 * 10
    assert set(tables["topk"]["layer"]) == {"logits", "hidden1", "hidden2"}


def test_what_was_found_really_fools_its_model_and_lies_in_the_box(finished):
    run = ig.open_run(finished)
    found = run.pandas("distortions").query("status == 'found'")
    assert len(found) > 25
    images = run.pandas("adversarial").set_index(["model", "search_id"])["image"]
    assert all(x.min() >= 0 and x.max() <= 1 for x in images)
    fed = run.sql("select avg(is_error::int) as e from transfer where kind = 'minimal' and source_model = model")
    targeted = found[found["target"].notna()]
    assert (targeted["prediction"] == targeted["target"]).all()
    assert fed["e"][0] == 1.0


def test_noise_is_as_large_as_the_change_that_it_stands_beside(finished):
    rows = ig.open_run(finished).pandas("transfer").set_index(["source_model", "model", "search_id"])
    minimal, gaussian = (rows[rows["kind"] == kind]["rms"] for kind in ("minimal", "gaussian"))
    assert len(gaussian) > 50
    assert ((gaussian / minimal.loc[gaussian.index] - 1).abs() < 1e-4).all()
    assert ((rows[rows["kind"] == "amplified"]["rms"]) <= 0.1 + 1e-6).all()


def test_random_targets_are_wrong_classes_and_the_same_for_every_model(finished):
    rows = ig.open_run(finished).pandas("distortions").query("target_rule == 'random'")
    assert (rows["target"] != rows["label"]).all()
    assert (rows.groupby("example_id")["target"].nunique() == 1).all()


def test_the_page_is_written_anew_where_it_is_not_of_what_the_folder_holds_and_only_there(continued):
    _, out = continued(SMALL)
    page = out / "report.html"
    whole, old = page.read_bytes(), page.stat().st_mtime_ns
    continued(SMALL)
    assert page.stat().st_mtime_ns == old
    # A byte is wrong; a kill came between the last task of another spec and its page; a version before made it.
    for content in (whole.replace(b"007", b"006", 1), b"<html>of another spec</html>", whole[:-100]):
        page.write_bytes(content)
        assert not is_current(out)
    assert continued(SMALL)[0].ran == ()
    assert page.read_bytes() == whole and is_current(out)
    small_k = small(units={"k": 3, "rows": 300})
    continued(small_k)
    page.write_bytes(whole)
    assert continued(small_k)[0].ran == ()
    assert page.read_bytes() != whole


def test_the_report_is_one_page_with_pictures(finished):
    page = (finished / "report.html").read_text()
    assert len(about(page, "units")["images"]["mnist-sample"]["ids"]) > 50
    assert min(sheet(page, "images-0-0").size) > 28 and min(sheet(page, "strips-0").size) >= 28
    assert "007" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_user_s_model_whose_output_is_not_finite_is_refused_before_work(tmp_path):
    models = {"broken": {"architecture": "tests.sweep.user_models:not_finite", "layers": ["linear"]}}
    with pytest.raises(ModelError, match="models.broken on mnist-sample: .*finite"):
        execute(prepare(small(models=models), tmp_path / "run"), "inline")


def test_an_unknown_layer_is_refused_before_work_with_the_nearest_names(tmp_path):
    models = {"cnn": {"layers": ["fc11"]}}
    with pytest.raises(
        UnknownNameError,
        match=r"no layer named 'fc11'. Did you mean 'fc1'.*layers: conv1 \(.*, fc1 \(Sequential\), .*logits \(Linear\)",
    ):
        execute(prepare(small(models=models), tmp_path / "run"), "inline")
    assert not (tmp_path / "run" / "store").exists()


def test_a_training_option_with_a_typo_is_refused_before_work(tmp_path):
    models = {"cnn": {"layers": ["fc1"], "training": {"epoch": 3}}}
    with pytest.raises(UnknownNameError, match="models.cnn on mnist-sample: .*'epoch'. Did you mean 'epochs'"):
        execute(prepare(small(models=models), tmp_path / "run"), "inline")


def test_a_model_without_logits_is_not_attacked(tmp_path):
    source = "tests.sweep.user_models:colour_squares"
    models = {"alexnet-features": {"layers": ["features.0"], "train": False}}
    with pytest.raises(ModelError, match="it has no logits, so it cannot be attacked"):
        execute(prepare(small(models=models, datasets={source: {}}, units={"k": 2}), tmp_path / "run"), "inline")


def test_an_unknown_data_set_is_refused_with_the_nearest_names(tmp_path):
    with pytest.raises(UnknownNameError, match="'mnst'. Did you mean 'mnist'"):
        prepare(small(datasets={"mnst": {}}), tmp_path)


def test_an_unknown_architecture_is_refused_with_the_nearest_names(tmp_path):
    with pytest.raises(UnknownNameError, match="'cn'. Did you mean 'cnn'"):
        execute(prepare(small(models={"cn": {"layers": ["fc1"]}}), tmp_path), "inline")


def test_k_larger_than_n_is_refused_by_key(tmp_path):
    with pytest.raises(SpecError, match="units.k is 301, more than the 300 inputs"):
        prepare(small(units={"k": 301, "rows": 300}), tmp_path)


@pytest.mark.slow
def test_a_task_that_fails_is_raised_by_the_library_after_the_rest_is_done(tmp_path):
    models = SMALL["models"] | {
        "late": {"architecture": "tests.sweep.user_models:fails_when_trained", "layers": ["linear"]}
    }
    with pytest.raises(TaskFailedError, match="1 of .* tasks gave up .* 'model/mnist-sample/late/0'"):
        ig.run(small(models=models), tmp_path / "run", "inline")
    run = ig.open_run(tmp_path / "run")
    assert len(run.pandas("failures")) == 1
    assert set(run.pandas("distortions")["model"]) == {"softmax", "007"}
