"""The command line: exit codes, what goes to stdout, and what a person reads when something is wrong."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from intriguing.cli import call as run_command
from intriguing.engine.store import Record, Store
from tests.sweep.small import SMALL, assert_equal_tables, call, command, toml


@pytest.fixture(scope="session")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec with 'quotes' and spaces") / "small.toml"
    path.write_text(toml(SMALL))
    return path


@pytest.fixture(scope="session")
def finished(spec_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    done = call("run", str(spec_file), "--out", str(out), "--executor", "inline")
    assert done.returncode == 0, done.stderr
    return out


def wait_for(condition: Any, process: subprocess.Popen[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


def stored(out: Path) -> int:
    return sum(not p.name.startswith(".") for p in (out / "store").glob("*")) if (out / "store").exists() else 0


def start(spec_file: Path, out: Path, executor: str, **variables: str) -> subprocess.Popen[str]:
    arguments = command("run", str(spec_file), "--out", str(out), "--executor", executor, "--workers", "2")
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def test_a_killed_driver_s_run_is_finished_by_the_same_command_with_equal_tables(
    spec_file: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(spec_file, out, "inline")
    wait_for(lambda: stored(out) >= 5, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    survived = stored(out)
    again = call("run", str(spec_file), "--out", str(out), "--executor", "inline", "--json")
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert told["reused"] >= 5
    assert told["ran"] > 0
    assert told["reused"] >= survived - 1
    assert_equal_tables(finished, out)


def test_ctrl_c_stops_with_130_and_the_line_that_continues(spec_file: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(spec_file, out, "inline")
    wait_for(lambda: stored(out) >= 5, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Continue with:\n  intriguing run " in stderr
    assert f"--out {out}\n" in stderr
    assert "Traceback" not in stderr
    assert call("run", str(spec_file), "--out", str(out), "--executor", "inline").returncode == 0
    assert_equal_tables(finished, out)


@pytest.mark.ray
def test_a_worker_killed_from_outside_costs_no_result(
    spec_file: Path, finished: Path, tmp_path: Path, ray_started: str
) -> None:
    out = tmp_path / "run"
    process = start(spec_file, out, "ray", RAY_ADDRESS=ray_started)
    assert process.stderr is not None
    lines: list[str] = []
    while not (lines and "runs on" in lines[-1]):
        line = process.stderr.readline()
        assert line, "".join(lines)
        lines.append(line)
    found = re.search(r"worker-\d runs on .* \(process (\d+)\)", lines[-1])
    assert found is not None
    wait_for(lambda: stored(out) >= 3, process)
    os.kill(int(found[1]), signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "is gone" in stderr
    assert_equal_tables(finished, out)


def test_a_finished_run_says_what_it_reused(spec_file: Path, finished: Path) -> None:
    again = call("run", str(spec_file), "--out", str(finished), "--executor", "inline")
    assert again.returncode == 0
    assert re.search(r"0 tasks ran, (\d+) reused, 0 failed, 0 blocked \(of \1\)", again.stdout)


def test_a_dry_run_writes_nothing_and_tells_tasks_rows_bytes_and_device(spec_file: Path, tmp_path: Path) -> None:
    done = call("run", str(spec_file), "--out", str(tmp_path / "run"), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"\d+ tasks: \d+ to run, 0 reused, 0 dropped; at most [\d,]+ rows, [\d.]+ MB", done.stdout.replace("\n", " ")
    )
    assert "cpu" in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_model_and_a_data_set_of_the_user_s_folder_can_be_named(tmp_path: Path) -> None:
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


def test_a_failed_task_s_own_line_runs_it_alone_and_prints_its_traceback(tmp_path: Path) -> None:
    models = {"late": {"architecture": "tests.sweep.user_models:fails_when_trained", "layers": ["linear"]}}
    spec = {"name": "late", "datasets": {"mnist-sample": {}}, "models": models, "units": {"k": 2}}
    (tmp_path / "late.toml").write_text(toml(spec))
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    failed = call("run", "late.toml", "--out", "o", "--executor", "inline", cwd=tmp_path, env=path)
    assert failed.returncode == 1, failed.stderr
    told = re.search(r"(\d+) tasks ran, 0 reused, 1 failed, (\d+) blocked \(of (\d+)\)", failed.stdout)
    assert told is not None, failed.stdout
    assert int(told[1]) + 1 + int(told[2]) == int(told[3])
    status = json.loads(call("status", "o", "--json", cwd=tmp_path, env=path).stdout)
    assert (status["failed"], status["blocked"]) == (1, int(told[2]))
    shown = call("show", "o", "failures", cwd=tmp_path, env=path).stdout
    assert "model/mnist-sample/late/0:\nTraceback (most recent call last):" in shown
    page = (tmp_path / "o" / "report.html").read_text()
    assert "<details><summary>Traceback</summary>" in page
    assert f"{told[2]} other tasks are not finished" in page
    [row] = json.loads(call("show", "o", "failures", "--json", cwd=tmp_path, env=path).stdout)
    line = "intriguing run late.toml --out o --only model/mnist-sample/late/0 --executor inline"
    assert row["rerun_command"] == line
    alone = call(*line.split()[1:], cwd=tmp_path, env=path)
    assert alone.returncode == 1
    assert "RuntimeError: this model cannot be trained" in alone.stderr
    assert 'user_models.py", line' in alone.stderr
    assert "1 failed, 0 blocked, " in alone.stdout


def test_status_needs_no_data_and_counts_what_is_there(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["status", str(finished), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["done"] == told["tasks"]
    assert told["amounts"]["searches"] == [40, 40]
    assert not told["running"]


def test_show_lists_tables_and_prints_one_and_answers_sql(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["show", str(finished)]) == 0
    assert "distortions: a row is one search" in capsys.readouterr().out
    assert run_command(["show", str(finished), "distortions", "--json", "--rows", "3"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert run_command(["show", str(finished), "--sql", "select count(*) as n from distortions", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"n": 40}]


def test_show_says_what_it_left_out_beside_the_data(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*arguments: str) -> tuple[str, str]:
        assert run_command(["show", str(finished), *arguments]) == 0
        captured = capsys.readouterr()
        return captured.out, captured.err

    out, err = shown("distortions")
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


def test_show_tells_a_table_that_is_not_there_from_one_without_rows(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["show", str(finished), "rotation_tests"]) == 0
    assert "The run has no table 'rotation_tests'; it has: examples, models" in capsys.readouterr().err
    assert run_command(["show", str(finished), "failures"]) == 0
    assert capsys.readouterr().err == "The table 'failures' has no rows.\n"
    assert run_command(["show", str(finished), "rotation_tests", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "[]\n"
    assert "no table" in captured.err


def test_show_lists_the_stored_layers_in_place_of_their_vectors(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
def test_bad_use_exits_with_2_and_says_what_was_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err.replace("\n", " ")
    assert captured.out == ""


def test_an_out_folder_that_is_a_file_is_refused(
    spec_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run_command(["run", str(spec_file), "--out", str(tmp_path / "file"), "--executor", "inline"]) == 2
    assert "is, or lies below, a file" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_disk_that_fills_up_stops_the_run_and_the_same_command_continues_it(spec_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "disk"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(out)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine mounts no file systems")
    try:
        stopped = call("run", str(spec_file), "--out", str(out), "--executor", "inline")
        assert stopped.returncode == 2
        assert "is full. Free some space, then run the same command to continue" in stopped.stderr.replace("\n", " ")
        assert "Traceback" not in stopped.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", str(out)], check=True)
        assert call("run", str(spec_file), "--out", str(out), "--executor", "inline").returncode == 0
    finally:
        subprocess.run(["umount", str(out)], check=True)


@pytest.mark.parametrize(
    "name", ["run", "plan", "status", "show", "report", "verify", "prune", "models", "datasets", "specs"]
)
def test_every_command_has_help_and_a_place_in_the_docs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([name, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out
    assert f"intriguing {name}" in (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_prune_removes_what_no_plan_names(spec_file: Path, finished: Path, tmp_path: Path, capsys: Any) -> None:
    import shutil

    out = tmp_path / "run"
    shutil.copytree(finished, out)
    stray, mine = ("0" * 40, "1" * 40)
    Store(out / "store").write(stray, {"x": b"12345"}, Record("x", "x:y", {}))
    (out / "store" / mine).mkdir()
    (out / "store" / mine / "mine.bin").write_bytes(b"12345")
    assert run_command(["prune", str(out)]) == 0
    assert capsys.readouterr().out.startswith("1 output removed, 0.0 MB; 1 folder of the store stays")
    assert not (out / "store" / stray).exists()
    assert (out / "store" / mine / "mine.bin").exists()


def test_verify_names_a_damaged_table_and_the_run_mends_it(
    spec_file: Path, finished: Path, tmp_path: Path, capsys: Any
) -> None:
    import shutil

    out = tmp_path / "run"
    shutil.copytree(finished, out, ignore=shutil.ignore_patterns("tables"))
    assert call("run", str(spec_file), "--out", str(out), "--executor", "inline").returncode == 0
    assert run_command(["verify", str(out)]) == 0
    assert ": 0 damaged." in capsys.readouterr().out
    table = next((out / "tables" / "transfer").iterdir())
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)  # in place: the store's file is the same one
    assert run_command(["verify", str(out)]) == 1
    told = capsys.readouterr().out
    assert f"{table} was changed after it was written" in told
    assert "Give the run's own command again" in told
    again = call("run", str(spec_file), "--out", str(out), "--executor", "inline")
    assert "was changed after it was written: 'transfer" in again.stderr.replace("\n", " ")
    assert "1 tasks ran" in again.stdout
    assert run_command(["verify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["damaged"] == []
    assert_equal_tables(finished, out)


def test_a_folder_with_files_of_the_users_is_refused_and_left_alone(spec_file: Path, tmp_path: Path) -> None:
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


def test_the_report_of_a_run_that_must_not_be_written_goes_elsewhere(finished: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    assert run_command(["report", str(finished), "--out", str(tmp_path / "new" / "page.html")]) == 0
    assert (tmp_path / "new" / "page.html").read_text().startswith("<!doctype html>")
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*")} == before
    (tmp_path / "link.html").symlink_to(tmp_path / "victim.html")
    assert run_command(["report", str(finished), "--out", str(tmp_path / "link.html")]) == 2
    assert not (tmp_path / "victim.html").exists()
