"""The command line: exit codes, what goes to stdout, and what a person reads when something is wrong."""

import json
import re
from pathlib import Path

import pytest

from intriguing.cli import call as run_command
from tests.sweep.small import call, toml


def test_a_finished_run_says_what_it_reused(spec_file, finished, capsys):
    assert run_command(["run", str(spec_file), "--out", str(finished), "--executor", "inline"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"0 tasks ran, (\d+) reused, 0 failed, 0 blocked \(of \1\)", told)


@pytest.mark.slow
def test_a_dry_run_writes_nothing_and_tells_tasks_rows_bytes_and_device(spec_file, tmp_path):
    done = call("run", str(spec_file), "--out", str(tmp_path / "run"), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"\d+ tasks: \d+ to run, 0 reused, 0 dropped; at most [\d,]+ rows, [\d.]+ MB", done.stdout.replace("\n", " ")
    )
    assert "cpu" in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_dry_run_of_a_finished_run_has_nothing_left_to_do(spec_file, finished, capsys):
    assert run_command(["plan", str(spec_file), "--out", str(finished), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reused"] == told["tasks"] == sum(stage["tasks"] for stage in told["stages"]) > 0
    assert (told["to_run"], told["rows"], told["bytes"]) == (0, 0, 0)
    assert not any(stage["to_run"] for stage in told["stages"])


@pytest.mark.slow
def test_a_model_and_a_data_set_of_the_user_s_folder_can_be_named(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from torch import nn\n"
        "def net(shape, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes))\n"
        "def squares():\n"
        "    images = np.zeros((40, 1, 4, 4), dtype=np.float32)\n"
        "    images[::2, :, :2] = 1\n"
        "    labels = np.arange(40) % 2\n"
        "    return (images, labels), (images, labels)\n"
    )
    spec = {
        "name": "mine",
        "datasets": {"squares": {"source": "mine:squares"}},
        "models": {"net": {"architecture": "mine:net", "layers": ["1"]}},
        "units": {"k": 2},
        "blind_spots": {"images": 2},
        "compute": {"slots": 4},
    }
    (tmp_path / "mine.toml").write_text(toml(spec))
    done = call("run", "mine.toml", "--executor", "inline", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs" / "mine" / "report.html").exists()


@pytest.mark.slow
def test_a_failed_task_s_own_line_runs_it_alone_and_prints_its_traceback(tmp_path, monkeypatch, capsys):
    def shown(code, *arguments):
        assert run_command(list(arguments)) == code
        return capsys.readouterr().out

    models = {"late": {"architecture": "tests.sweep.user_models:fails_when_trained", "layers": ["linear"]}}
    spec = {"name": "late", "datasets": {"mnist-sample": {}}, "models": models, "units": {"k": 2}}
    (tmp_path / "late.toml").write_text(toml(spec))
    monkeypatch.chdir(tmp_path)
    failed = shown(1, "run", "late.toml", "--out", "o", "--executor", "inline")
    told = re.search(r"(\d+) tasks ran, 0 reused, 1 failed, (\d+) blocked \(of (\d+)\)", failed)
    assert told is not None, failed
    assert int(told[1]) + 1 + int(told[2]) == int(told[3])
    status = json.loads(shown(0, "status", "o", "--json"))
    assert (status["failed"], status["blocked"]) == (1, int(told[2]))
    assert "model/mnist-sample/late/0:\nTraceback (most recent call last):" in shown(0, "show", "o", "failures")
    page = (tmp_path / "o" / "report.html").read_text()
    assert "<details><summary>Traceback</summary>" in page
    assert f"{told[2]} other tasks are not finished" in page
    [row] = json.loads(shown(0, "show", "o", "failures", "--json"))
    line = "intriguing run late.toml --out o --only model/mnist-sample/late/0 --executor inline"
    assert row["rerun_command"] == line
    alone = call(*line.split()[1:], cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).parents[2])})
    assert alone.returncode == 1
    assert "RuntimeError: this model cannot be trained" in alone.stderr
    assert 'user_models.py", line' in alone.stderr
    assert "1 failed, 0 blocked, " in alone.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "dmeo"], "There is no spec named 'dmeo'. Did you mean 'demo'?"),
        (["run", "demo", "--executor", "rya"], "--executor"),
        (["rnu", "demo"], "rnu"),
        (["status", "nowhere"], "nowhere holds no run"),
        (["show", "nowhere"], "nowhere"),
    ],
)
def test_bad_use_exits_with_2_and_says_what_was_wrong(arguments, message, capsys):
    assert run_command(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err.replace("\n", " ")
    assert captured.out == ""


def test_an_out_folder_that_is_a_file_is_refused(spec_file, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run_command(["run", str(spec_file), "--out", str(tmp_path / "file"), "--executor", "inline"]) == 2
    assert "is, or lies below, a file" in capsys.readouterr().err.replace("\n", " ")


COMMANDS = ("run", "plan", "status", "show", "diff", "report", "export", "verify", "prune", "init", "doctor", "models")


@pytest.mark.parametrize("name", [*COMMANDS, "datasets", "specs"])
def test_every_command_has_help_that_opens_with_examples_and_a_place_in_the_docs(name, capsys):
    assert run_command([name, "--help"]) == 0
    told = capsys.readouterr().out
    examples, usage, _ = told.partition("Usage")
    assert usage
    assert len(re.findall(rf"^ *intriguing {name}\b", examples, re.MULTILINE)) == 2
    assert f"intriguing {name}" in (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_a_folder_with_files_of_the_users_is_refused_and_left_alone(spec_file, tmp_path):
    paper = tmp_path / "paper"
    (paper / "tables" / "results").mkdir(parents=True)
    files = [paper / "report.html", paper / "tables" / "results" / "mine.parquet"]
    for file in files:
        file.write_text("mine")
    done = call("run", str(spec_file), "--out", str(paper), "--executor", "inline")
    assert done.returncode == 2
    assert "is not empty and holds no run" in done.stderr.replace("\n", " ")
    assert sorted(p for p in paper.rglob("*") if p.is_file()) == sorted(files)
    assert all(file.read_text() == "mine" for file in files)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("file:///tmp/run", "file:///tmp/run is a folder of this machine: give its path, /tmp/run"),
        ("http://key:secret@host/run", "http://host/run cannot hold a run: http:// is no object store"),
        ("hdfs://host/run", "hdfs://host/run cannot hold a run"),
        ("s4://bucket/run", "Give a folder, s3://bucket/folder, gs://bucket/folder or abfs://account@container/folder"),
        ("s3:///run", "s3:///run names no bucket"),
        ("s3://key:secret@bucket/a/../run", "s3://bucket/a/../run has a part"),
        ("s3://key:secret@bucket/run?color=secret", "has an option 'color' after the `?`"),
        ("abfs://account:secret@box/run?sas=secret", "abfs://account@box/run cannot be opened"),
    ],
)
@pytest.mark.parametrize("command", [["run", "demo", "--out"], ["plan", "demo", "--out"], ["status"], ["prune"]])
def test_a_uri_that_cannot_be_is_refused_before_any_work(uri, told, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command([*command, uri]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert told in said
    assert "secret" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_ones_own_is_written_to_a_path(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["report", str(finished), "--out", "s3://key:secret@bucket/page.html"]) == 2
    assert "s3://bucket/page.html is a URI" in " ".join(capsys.readouterr().err.split())


def test_a_default_folder_on_an_object_store_that_cannot_be_reached_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("intriguing.basics.folders.bucket.PAUSES", ())
    monkeypatch.setenv("INTRIGUING_OUT", "s3://key:secret@bucket?endpoint_override=127.0.0.1%3A1&scheme=http")
    assert run_command(["run", "demo", "--executor", "inline"]) == 2
    assert "The store of s3://bucket cannot be reached" in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
