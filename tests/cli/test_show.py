"""`status` and `show`: what they print of a finished run."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from intriguing.cli import call as run_command


def test_status_needs_no_data_and_counts_what_is_there(finished, capsys):
    assert run_command(["status", str(finished), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["done"] == told["tasks"]
    assert told["amounts"]["searches"] == [40, 40]
    assert not told["running"]


def test_show_lists_tables_and_prints_one_and_answers_sql(finished, capsys):
    assert run_command(["show", str(finished)]) == 0
    assert "distortions: a row is one search" in capsys.readouterr().out
    assert run_command(["show", str(finished), "distortions", "--json", "--rows", "3"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert run_command(["show", str(finished), "--sql", "select count(*) as n from distortions", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 40}]


def test_show_says_what_it_left_out_beside_the_data(finished, capsys):
    def shown(*arguments):
        assert run_command(["show", str(finished), *arguments]) == 0
        captured = capsys.readouterr()
        return captured.out, captured.err

    out, err = shown("distortions", "--rows", "20")
    assert len(out.splitlines()) == 21
    assert "..." not in out.splitlines()
    assert err == "20 of 40 rows; --rows N shows more.\n"
    assert shown("distortions", "--rows", "40")[1] == ""
    assert len(json.loads(shown("distortions", "--rows", "3", "--json")[0])) == 3
    query = "select search_id from distortions order by 1"
    assert shown("--sql", query)[1] == "20 of 40 rows; --rows N shows more.\n"
    assert len(json.loads(shown("--sql", query, "--json")[0])) == 40
    assert len(json.loads(shown("--sql", query, "--json", "--rows", "2")[0])) == 2
    assert shown("--sql", f"select * from ({query}) where search_id = 'none'")[1] == "The query gives no rows.\n"


def test_show_says_that_files_of_a_table_are_gone(finished, capsys, tmp_path):
    """The answers were of the rows that were left, without a word."""
    copy = shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    assert run_command(["show", str(copy), "verdicts"]) == 0
    assert "lacks" not in capsys.readouterr().err
    files = sorted((copy / "tables" / "distortions").glob("*.parquet"))
    files[0].unlink()
    for what in ("verdicts", "distortions", "blind_spots"):
        assert run_command(["show", str(copy), what]) == 0
        assert f"The table distortions lacks 1 of {len(files)} files" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["verdicts", "units", "blind_spots", "distortions"])
def test_what_is_read_aloud_opens_with_the_notes_as_show_does(what, finished, capsys, monkeypatch):
    monkeypatch.setattr("intriguing.sweep.reporting.printed.notes", lambda run: ["Model m is no better than chance."])
    assert run_command(["show", str(finished), what]) == 0
    assert capsys.readouterr().out.startswith("Model m is no better than chance.")


def test_show_gives_programs_every_row_in_their_form(finished, capsys, tmp_path):
    assert run_command(["show", str(finished), "distortions", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 40
    assert run_command(["show", str(finished), "distortions", "--csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(lines) == 40
    assert {line["status"] for line in lines} <= {"found", "misclassified"}
    file = tmp_path / "rows.parquet"
    assert run_command(["show", str(finished), "distortions", "--parquet", str(file)]) == 0
    assert pq.read_table(file).num_rows == 40
    capsys.readouterr()
    assert run_command(["show", str(finished), "distortions", "--parquet", str(file)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run_command(["show", str(finished), "distortions", "--json", "--csv"]) == 2
    assert "one of --json" in capsys.readouterr().err


def test_show_reads_a_stage_aloud_under_its_name_and_its_table_s(finished, capsys):
    told = {}
    for name in ("blind_spots", "distortions", "units", "verdicts"):
        assert run_command(["show", str(finished), name]) == 0
        told[name] = capsys.readouterr().out
    assert told["blind_spots"] == told["distortions"]
    assert "untargeted, grade" in told["distortions"]
    assert re.search(r"^softmax .* to ", told["distortions"], re.MULTILINE)
    assert "the share of their commonest class" in told["units"]
    assert "It would have been refuted by " in told["verdicts"]
    assert max(map(len, told["distortions"].splitlines())) <= 100


def test_show_refuses_what_is_neither_stage_nor_table_and_a_query_beside_a_name(finished, capsys):
    assert run_command(["show", str(finished), "distortion"]) == 2
    assert "Did you mean 'distortions'?" in capsys.readouterr().err
    assert run_command(["show", str(finished), "models", "--sql", "select 1"]) == 2
    assert "leave out models" in capsys.readouterr().err


def test_show_tells_a_table_that_is_not_there_from_one_without_rows(finished, capsys):
    assert run_command(["show", str(finished), "rotation_tests"]) == 0
    assert "The run has no table 'rotation_tests'; it has: examples, models" in capsys.readouterr().err
    assert run_command(["show", str(finished), "failures"]) == 0
    assert capsys.readouterr().err == "The table 'failures' has no rows.\n"
    assert run_command(["show", str(finished), "rotation_tests", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "[]\n"
    assert "no table" in captured.err


def test_show_lists_the_stored_layers_in_place_of_their_vectors(finished, capsys):
    assert run_command(["show", str(finished), "activations", "--json"]) == 0
    captured = capsys.readouterr()
    layers = json.loads(captured.out)
    assert {(row["model"], row["layer"], row["units"]) for row in layers} == {
        ("softmax", "logits", 10),
        ("007", "hidden1", 16),
        ("007", "hidden2", 12),
    }
    assert all(Path(row["folder"]).is_dir() for row in layers)
    assert "Activations are read a layer at a time" in captured.err


def test_a_program_gets_rows_under_a_stage_s_name_too(finished, capsys):
    """`show RUN units --json` was refused: there is no table of that name."""
    expected = {"blind_spots": "distortions", "units": "unit_scores", "norms": "operator_norms"}
    for name, table in expected.items():
        assert run_command(["show", str(finished), name, "--csv"]) == 0
        rows = capsys.readouterr().out
        assert run_command(["show", str(finished), table, "--csv"]) == 0
        assert capsys.readouterr().out == rows
    assert run_command(["show", str(finished), "verdicts", "--json"]) == 0
    verdicts = json.loads(capsys.readouterr().out)
    assert all(verdict["sentence"].endswith(".") and verdict["refuted_by"] for verdict in verdicts) and verdicts


def test_show_imports_no_more_than_it_shows(finished):
    """A run of 200,000 searches took 26 CPU-seconds: every stage was rendered to see whether it has anything to say."""
    code = (
        "import sys; from intriguing.cli import call; assert call(sys.argv[1:]) == 0; "
        "print(*sorted({'torch', 'ray', 'matplotlib', 'scipy.stats', 'intriguing.sweep.runner', "
        "'intriguing.stages.hardening.outcome.judged'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "show", str(finished)], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
    assert "NAME`: units, blind_spots, transfer, verdicts." in done.stderr
