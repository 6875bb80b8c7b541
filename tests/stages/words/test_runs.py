"""Word vectors in a sweep: the plan of folds and seeds, whole runs on every executor, existing vectors, the job."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import intriguing as ig
from intriguing.cli import call
from intriguing.errors import DataError
from intriguing.randomness import generator
from intriguing.stages.words.inspection import TextFile
from intriguing.stages.words.tasks import source_file
from intriguing.sweep import execute, prepare
from intriguing.sweep.spec import load_spec
from intriguing.tables import TABLES
from tests.keys import duplicates
from tests.sweep import planning
from tests.sweep.small import assert_equal_tables, toml

LIGHT = {"rotations": 20, "subsamples": 2, "subsample_rotations": 1, "matched_draws": 20, "pool_words": 200}
JOB = Path(__file__).parents[3] / "jobs" / "words.py"


def write_text(path, words=30_000, distinct=400):
    """Lines of 20 words, half of a line from one of 8 topics, so that something can be learnt."""
    rng = generator(0, "text of the sweep's tests")
    common = rng.zipf(1.2, (words // 20, 10)) % (distinct // 2)
    topic = rng.integers(8, size=(words // 20, 1)) + 8 * (rng.zipf(1.3, (words // 20, 10)) % (distinct // 16))
    lines = np.concatenate([common, topic + distinct // 2], axis=1)
    path.write_text("\n".join(" ".join(f"w{w}" for w in line) for line in rng.permuted(lines, axis=1).tolist()))
    return path


def write_vectors(path):
    rng = generator(0, "vectors of the sweep's tests")
    lines = [f"w{w} {' '.join(f'{x:.4f}' for x in rng.normal(size=6))}" for w in range(400)]
    path.write_text("\n".join([*lines, lines[0], "absent 1 2 3 4 5 6"]))
    return path


def words_spec(folder, **changes):
    words = {
        "corpora": {"own text": {"source": str(folder / "text 007.txt")}},
        "vectors": {"glove/6": {"source": str(folder / "glove.txt")}},
        "seeds": [0, 3],
        "training": {"vector_size": 8, "epochs": 1, "min_count": 3},
        "judging": LIGHT,
    }
    return {"name": "small words", "words": words | changes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("words")
    write_text(made / "text 007.txt")
    write_vectors(made / "glove.txt")
    return made


@pytest.fixture(scope="module")
def finished(folder):
    """An undisturbed inline run; never written to."""
    out = folder / "run"
    assert execute(prepare(words_spec(folder), out), "inline").complete
    return out


@pytest.fixture
def run(finished):
    return ig.open_run(finished)


def plan_of(**changes):
    spec = load_spec({"name": "w", "words": changes})
    assert spec.words is not None
    facts = {name: TextFile(f"/texts/{name}", f"hash of {name}") for name in (*spec.words.corpora, *spec.words.vectors)}
    return planning.plan_of(spec, texts=facts)


def new_tasks(before, after):
    known = set(before.fingerprints.values())
    return [t.name.removeprefix("words/wikipedia-sample/") for t in after if after.fingerprints[t.name] not in known]


def test_with_two_folds_the_embeddings_judge_each_other():
    plan = plan_of(conditions=["raw"])
    judge = plan.tasks["words/wikipedia-sample/judged/0/1/raw"]
    assert {role: need.task.rpartition("/")[2] for role, need in judge.inputs.items()} == {
        "vectors": "0",
        "independent": "1",
        "counts": "1",
    }
    assert sum("/vectors/" in t.name for t in plan) == 2


def test_with_more_folds_vectors_see_all_but_the_judges_own():
    plan = plan_of(folds=4, held_out=[2])
    parts = {t.name.rpartition("/")[2]: t.parameters["parts"] for t in plan if "/vectors/" in t.name}
    assert parts == {"0+1+3": [0, 1, 3], "2": [2]}


def test_seeds_and_folds_wait_for_the_text_alone():
    plan = plan_of(seeds=[0, 1, 2], folds=3)
    for task in plan:
        if "/vectors/" in task.name:
            assert [need.task for need in task.needs] == ["words/wikipedia-sample/text"]


def test_one_seed_more_trains_and_judges_that_seed_and_tests_again():
    new = new_tasks(plan_of(seeds=[0]), plan_of(seeds=[0, 9]))
    assert {name.split("/")[1] for name in new if name != "tests"} == {"9"}
    assert "tests" in new


def test_other_judges_train_nothing_again():
    new = new_tasks(plan_of(), plan_of(judging={"rotations": 1999}))
    assert {name.partition("/")[0] for name in new} == {"judged", "tests"}
    assert not any("description" in name for name in new)


def test_a_text_that_moved_is_not_read_again():
    spec = load_spec({"name": "w", "words": {}})
    plans = [planning.plan_of(spec, texts={"wikipedia-sample": TextFile(f"/{place}", "hash")}) for place in "ab"]
    assert new_tasks(*plans) == []


def test_a_corpus_has_its_own_seeds_folds_and_arguments_over_those_of_the_section():
    small = {"seeds": [7], "held_out": [0], "training": {"epochs": 9}, "judging": {"rotations": 50}}
    plan = plan_of(
        corpora={"large": {"source": "l.txt"}, "small": small}, training={"vector_size": 20, "epochs": 5}, seeds=[0, 1]
    )
    trained = plan.tasks["words/small/vectors/7/1"].parameters["training"]
    assert trained == {"vector_size": 20, "epochs": 9}
    assert sum(name.startswith("words/small/judged") and name.endswith("raw") for name in plan.tasks) == 1
    assert sum(name.startswith("words/large/judged") and name.endswith("raw") for name in plan.tasks) == 4
    assert plan.tasks["words/large/judged/0/0/raw"].parameters["judging"] == {"seed": 0}


def test_a_run_of_words_alone_has_its_tables_with_unique_keys(run):
    for name in ("word_rows", "word_tests", "word_verdicts", "word_vectors", "word_norms"):
        table = run.table(name)
        assert table.num_rows > 0, name
        assert duplicates(table, TABLES[name].key) == 0, name
    rows = run.pandas("word_rows")
    own = rows[rows["corpus"] == "own text"]
    assert len(own) == 2 * 2 * 3 * (5 * 2 * 8)  # seeds, folds, conditions; bases, ends, directions
    assert set(own["basis"]) == {"natural", "haar", "gaussian", "pca", "varimax"}
    assert run.pandas("models").empty


def test_every_embedding_is_tested_and_their_pool(run):
    tests = run.pandas("word_tests").query("corpus == 'own text' and control == 'trained'")
    assert set(zip(tests["seed"], tests["fold"], strict=True)) == {(0, 0), (0, 1), (3, 0), (3, 1), (-1, -1)}
    assert (tests["p_holm"] >= tests["p_two"]).all()
    assert set(tests["condition"]) == {"raw", "l2", "centred"}


def test_existing_vectors_are_judged_once_under_their_own_name(run):
    rows = run.pandas("word_rows").query("corpus == 'glove/6'")
    assert set(zip(rows["seed"], rows["fold"], strict=True)) == {(0, 0)}
    [made] = run.pandas("word_vectors").query("corpus == 'glove/6'").to_dict("records")
    assert made["words"] == 401
    assert json.loads(made["skipped"])["repeated_words"] == 1
    assert made["unjudged_words"] >= 1
    assert json.loads(made["remarks"]) == {"unended_lines": 1}
    tests = run.pandas("word_tests").query("corpus == 'glove/6'")
    assert set(tests["seed"]) == {0}


@pytest.mark.parametrize("line", ["w9 1 2 3 4 5\n", "w9 1,2,3,4,5,6\n", "w9 0.1 0.2 None 1 2 3\n"])
def test_a_damaged_line_of_vectors_is_refused_before_any_work(folder, tmp_path, line):
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"w{n} 1 2 3 4 5 6\n" for n in range(30)) + line)
    spec = words_spec(folder, vectors={"own": {"source": str(path)}})
    with pytest.raises(DataError, match=r"words\.vectors\.own: .*line 31"):
        prepare(spec, tmp_path / "run")


def test_what_was_read_trained_and_left_out_is_recorded(run):
    made = run.pandas("word_vectors").query("corpus == 'own text'")
    assert set(made["training_words"]) == {15_000}
    assert made["reproducible"].all()
    assert (made["dimension"] == 8).all()


@pytest.mark.usefixtures("without_page")
def test_strict_inline_gives_equal_tables(folder, finished, tmp_path):
    assert execute(prepare(words_spec(folder), tmp_path / "run"), "strict").complete
    assert_equal_tables(finished, tmp_path / "run", least=4)


@pytest.mark.usefixtures("without_page")
@pytest.mark.ray
def test_ray_gives_equal_tables(folder, finished, tmp_path, ray_started):
    assert execute(prepare(words_spec(folder), tmp_path / "run"), "ray", workers=2).complete
    assert_equal_tables(finished, tmp_path / "run", least=4)


def test_the_same_command_again_computes_nothing(folder, finished):
    assert execute(prepare(words_spec(folder), finished), "inline").ran == ()


def test_the_job_prints_the_four_tables_and_the_verdict(folder, finished, tmp_path, monkeypatch, capsys):
    spec = tmp_path / "small words.toml"
    spec.write_text(toml(words_spec(folder)))
    monkeypatch.setattr(sys, "argv", [str(JOB), str(spec), "--out", str(finished), "--executor", "inline"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(JOB), run_name="__main__")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for title in ("Raw vectors, natural axes", "Raw vectors, random directions"):
        assert printed.count(title) == 2  # of the corpus, and of the existing vectors
    for title in ("Normalised vectors, natural axes", "Normalised vectors, random directions"):
        assert printed.count(title) == 2
    assert "wars troops border between" in printed
    assert "ingle axes of the word vectors" in printed


def test_status_and_report_of_a_run_of_words_alone(finished, capsys):
    assert call(["status", str(finished)]) == 0
    assert "small words: 31 of 31 tasks done" in capsys.readouterr().out
    assert call(["report", str(finished)]) == 0
    page = (finished / "report.html").read_text()
    assert "own text" in page
    assert "Word vectors" in page


def test_the_environment_s_text_stands_in_for_the_embedded_one(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("INTRIGUING_CORPUS", "text 007.txt")
    prepared = prepare("words", tmp_path / "run")
    assert prepared.spec.words is not None
    [(name, corpus)] = prepared.spec.words.corpora.items()
    assert (name, corpus.source) == ("text 007", str(folder / "text 007.txt"))
    assert corpus.judging == {}
    assert prepared.command.startswith(f"INTRIGUING_CORPUS='{folder}/text 007.txt' intriguing run words --out ")


def test_the_environment_s_text_leaves_a_named_one_alone(folder, tmp_path, monkeypatch):
    (tmp_path / "own.toml").write_text(toml(words_spec(folder)))
    monkeypatch.setenv("INTRIGUING_CORPUS", "/nowhere.txt")
    prepared = prepare(tmp_path / "own.toml")
    assert prepared.spec.words is not None
    assert list(prepared.spec.words.corpora) == ["own text"]
    assert prepared.command.startswith("intriguing run ")


def test_the_environment_s_text_changes_no_run_that_was_made_without_it(monkeypatch):
    monkeypatch.setenv("INTRIGUING_CORPUS", "/nowhere.txt")
    prepared = prepare({"name": "w", "words": {}})  # as `intriguing report` and `prune` read it from the folder
    assert prepared.spec.words is not None
    assert list(prepared.spec.words.corpora) == ["wikipedia-sample"]


def test_a_worker_refuses_a_text_that_is_another_one_there(folder):
    with pytest.raises(DataError, match="differs on this worker .* Put the same file on every node"):
        source_file("0" * 64, str(folder / "text 007.txt"))


def test_a_text_with_too_few_words_says_so_in_the_table_of_failures(tmp_path):
    (tmp_path / "tiny.txt").write_text("one two three " * 3)
    spec = {"name": "tiny", "words": {"corpora": {"tiny": {"source": str(tmp_path / "tiny.txt")}}}}
    outcome = execute(prepare(spec, tmp_path / "run"), "inline")
    assert not outcome.complete
    assert "Give more text, fewer folds, or a lower min_count" in outcome.failures[0].message
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.shared
def test_the_large_corpus_is_planned_with_three_seeds_and_two_folds(monkeypatch):
    monkeypatch.setenv("INTRIGUING_CORPUS", str(JOB.parents[2] / "shared" / "data" / "text" / "corpus.txt.gz"))
    names = list(prepare("words").plan.tasks)
    assert sum(name.startswith("words/corpus/vectors/") for name in names) == 3 * 2
    assert sum(name.startswith("words/corpus/judged/") and name.endswith("/l2") for name in names) == 3 * 2
