"""A run folder, spec or name that somebody else made: read as data, nothing of it runs, all of it prints as text."""

import json
import logging
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import intriguing as ig
from intriguing.cli import call as run_command
from intriguing.errors import CorruptError
from intriguing.sweep import prepare
from tests.sweep.small import call, command, toml
from tests.synthetic_run import SyntheticRun

RED = "\x1b[31mred\x07\r\u202e[bold]x[/bold]"


FINGERPRINT = "ab" * 20


@pytest.fixture
def foreign(tmp_path):
    """A run folder whose plan.json names evil:factory, which marks that it was imported; evil.py lies beside it."""
    (tmp_path / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nimport numpy as np\n"
        "def factory():\n    return np.zeros((24, 1, 6, 6), dtype=np.float32), np.arange(24) % 2\n"
    )
    root = SyntheticRun(tmp_path / "run").write("plan", "model_rows", "topk", "searched")
    plan = json.loads((root / "plan.json").read_text())
    plan["spec"]["datasets"] = {"glyphs": {"source": "evil:factory"}}
    plan["spec"]["models"] = {"FC10": {"architecture": "evil:factory"}}
    plan |= {"tasks": 1, "fingerprints": {"a": FINGERPRINT}, "amounts": {"a": [1, "tasks"]}, "functions": {}}
    (root / "plan.json").write_text(json.dumps(plan))
    return root


def plan_of(root, **changes):
    plan = json.loads((root / "plan.json").read_text())
    (root / "plan.json").write_text(json.dumps(plan | changes))


@pytest.mark.slow
def test_status_show_prune_report_and_open_run_import_nothing_that_a_run_names(foreign):
    lines = [["status", "run"], ["show", "run", "topk"], ["prune", "run"], ["report", "run"]]
    code = (
        "import json, sys, intriguing as ig; from intriguing.cli import call\n"
        "ig.open_run('run').pandas('topk')\n"
        "codes = [call(line) for line in json.loads(sys.argv[1])]\n"
        "assert codes == [0, 0, 0, 0], codes\n"
        "assert 'evil' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(lines)], cwd=foreign.parent, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert not (foreign.parent / "ran").exists()
    page = (foreign / "report.html").read_text()
    assert "they come from the function &#39;evil:factory&#39;" in page
    assert "intriguing report RUN --trust" in page
    assert "data:image/png" not in page.partition("blind-spots")[0]


@pytest.mark.slow
def test_with_trust_the_page_has_the_images(foreign):
    done = call("report", "run", "--trust", cwd=foreign.parent)
    assert done.returncode == 0, done.stderr
    assert (foreign.parent / "ran").exists()
    assert "they come from the function" not in (foreign / "report.html").read_text()


@pytest.mark.parametrize("door", ["console script", "python -c"])
def test_a_module_planted_in_the_working_folder_is_not_imported(foreign, door):
    # python -c itself puts the working folder first: what the command imports before it begins is out of its hands.
    for name in ("duckdb",) if door == "python -c" else ("duckdb", "bottleneck", "numexpr", "numpy", "json"):
        (foreign.parent / f"{name}.py").write_text(f"open({str(foreign.parent / 'planted')!r}, 'w')")
    (foreign.parent / "bin").mkdir()
    script = foreign.parent / "bin" / "intriguing-script"
    script.write_text("from intriguing.cli import main; main()")
    line = command("show", "run", "--sql", "select count(*) as n from topk", "--json")
    line = line if door == "python -c" else [sys.executable, str(script), *line[3:]]
    done = subprocess.run(line, cwd=foreign.parent, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["n"] > 0
    assert not (foreign.parent / "planted").exists()


@pytest.mark.slow
def test_plan_says_which_modules_of_the_user_it_imported(tmp_path):
    (tmp_path / "helper.py").write_text("SIZE = 16\n")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nimport helper\nimport duckdb\n"
        "def net(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))\n"
    )
    (tmp_path / "duckdb.py").write_text("raise SystemExit('the working folder comes first')")
    spec = {"name": "x", "datasets": {"mnist-sample": {}}, "models": {"net": {"architecture": "mine:net"}}}
    (tmp_path / "x.toml").write_text(toml(spec | {"blind_spots": {"images": 2}}))
    done = call("plan", "x.toml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["imported"] == {
        "mine": str(tmp_path / "mine.py"),
        "helper": str(tmp_path / "helper.py"),
    }


@pytest.mark.parametrize("section", ["all", ["dtype"], {"dtype": ["float16"], "reduce": {}}])
def test_a_section_that_is_none_is_read_as_empty_and_reported(foreign, section):
    plan = json.loads((foreign / "plan.json").read_text())
    plan_of(foreign, spec=plan["spec"] | {"units": section})
    run = ig.open_run(foreign)
    assert run.section("units") == (section if isinstance(section, dict) else {})
    assert run.section("no such stage") == {}
    assert run_command(["report", str(foreign)]) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprints": {"a": "../../x"}},
        {"fingerprints": {"a": ["x"]}},
        {"fingerprints": 3},
        {"amounts": {"a": [-1, "tasks"]}},
        {"amounts": {"a": [1, {}]}},
        {"amounts": {"a": 1e400}},
        {"tasks": -5},
        {"tasks": "many"},
        {"tasks": 10**30},
        {"name": ["x"]},
        {"command": {}},
        {"spec": []},
        {"spec": {"models": 3}},
        {"spec": {"models": {"x": {"layers": 3}}}},
        {"datasets": {"glyphs": "evil:factory"}},
    ],
)
def test_a_forged_plan_is_called_so_by_every_command(foreign, changes, capsys):
    plan_of(foreign, **changes)
    before = sorted(foreign.rglob("*"))
    for line in (["status"], ["show"], ["report"], ["prune"]):
        assert run_command([*line, str(foreign)]) == 2
        assert "plan.json cannot be read (" in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(CorruptError):
        ig.open_run(foreign)
    assert sorted(foreign.rglob("*")) == before


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "", "[]", "3", '{"spec": {}, "tasks": ' + "9" * 5000 + "}"])
def test_a_plan_that_is_no_plan_is_called_so(foreign, text, capsys):
    (foreign / "plan.json").write_text(text)
    for line in (["status"], ["show"], ["report"], ["prune"]):
        assert run_command([*line, str(foreign)]) == 2
        assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("lack", ["a value", "the column"])
def test_a_table_that_lacks_what_every_row_has_is_called_damaged_by_report(foreign, lack, capsys):
    file = next((foreign / "tables" / "distortions").glob("*.parquet"))
    table = pq.read_table(file)
    at = table.column_names.index("dataset")
    nulls = table.set_column(at, "dataset", pa.nulls(len(table), pa.string()))
    pq.write_table(nulls if lack == "a value" else table.drop_columns(["dataset"]), file)
    assert run_command(["report", str(foreign)]) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"Table 'distortions' of {foreign} cannot be read: {len(table):,} rows lack a value in dataset." in said


@pytest.mark.parametrize("vector", [None, pa.string(), pa.list_(pa.float32()), pa.list_(pa.string(), 2)])
def test_activations_without_vectors_of_one_length_are_called_damaged(tmp_path, vector):
    root = SyntheticRun(tmp_path / "run").write("plan", "activation_rows")
    file = next((root / "tables" / "activations").rglob("*.parquet"))
    table = pq.read_table(file).drop_columns(["vector"])
    pq.write_table(table if vector is None else table.append_column("vector", pa.nulls(len(table), vector)), file)
    with pytest.raises(CorruptError, match="has no column `vector` of vectors of one length"):
        ig.open_run(root).activation_layers()


def test_status_of_a_run_that_was_moved_says_how_to_continue_it_where_it_lies(foreign, capsys):
    plan_of(foreign, command=f"intriguing run x.toml --out {foreign} --data 'my data'")
    assert run_command(["status", str(foreign)]) == 0
    assert f"intriguing run x.toml --out {foreign} --data 'my data'\n" in capsys.readouterr().out
    moved = foreign.rename(foreign.with_name("moved; here"))
    assert run_command(["status", str(moved)]) == 0
    assert f"intriguing run x.toml --out '{moved}' --data 'my data'\n" in capsys.readouterr().out


def test_a_leading_tilde_is_the_home_folder_for_all_and_a_folder_of_that_name_is_read_where_it_lies(
    foreign, monkeypatch, capsys
):
    monkeypatch.setenv("HOME", str(foreign.parent))
    assert prepare({"name": "x", "datasets": {"mnist-sample": {}}}, "~/new").out == foreign.parent / "new"
    assert ig.open_run("~/run").path == str(foreign)
    for line in (["status", "~/run"], ["show", "~/run"], ["verify", "~/run"], ["report", "~/run"]):
        assert run_command(line) in (0, 1), capsys.readouterr().err
    assert (foreign / "report.html").exists()
    work = foreign.parent / "elsewhere"
    (work / "~").mkdir(parents=True)
    foreign.rename(work / "~" / "run")
    monkeypatch.chdir(work)
    run = ig.open_run("./~/run")
    assert len(run.table("topk"))
    assert ig.open_run(work / "~" / "run").table("topk") == run.table("topk")


def test_a_pipe_in_the_place_of_a_plan_or_a_status_is_not_waited_for(foreign, capsys):
    (foreign / "live").mkdir(exist_ok=True)
    os.mkfifo(foreign / "live" / "status.json")
    assert run_command(["status", str(foreign)]) == 0
    (foreign / "plan.json").unlink()
    os.mkfifo(foreign / "plan.json")
    assert run_command(["status", str(foreign)]) == 2


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[]", '{"failed": -3, "blocked": "x", "line": 5}', '{"failed": true, "line": ["x"]}', "\xff"],
)
def test_a_forged_status_is_not_believed(foreign, text, capsys):
    (foreign / "live").mkdir(exist_ok=True)
    (foreign / "live" / "status.json").write_text(text, encoding="latin-1")
    assert run_command(["status", str(foreign), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["failed"], told["blocked"], told["line"]) == (0, 0, "")


def test_prune_removes_nothing_where_the_plan_does_not_list_its_tasks(foreign, capsys):
    plan_of(foreign, tasks=7)
    (foreign / "store" / FINGERPRINT).mkdir(parents=True)
    assert run_command(["prune", str(foreign)]) == 2
    assert "lists 1 of 7 tasks, so nothing is removed" in capsys.readouterr().err.replace("\n", " ")
    assert (foreign / "store" / FINGERPRINT).exists()


def test_names_of_a_run_are_shown_as_text(foreign, capsys):
    plan_of(foreign, name=RED, amounts={"a": [1, RED]})
    assert run_command(["status", str(foreign)]) == 0
    out = capsys.readouterr().out
    assert out.count(r"\x1b[31mred\x07\r\u202e[bold]x[/bold]") == 2
    assert "\x1b" not in out


def test_cells_of_a_table_are_shown_as_text(tmp_path, capsys):
    run = SyntheticRun(tmp_path / "run", models=(RED,))
    run.write("plan", "model_rows")
    assert run_command(["show", str(tmp_path / "run"), "models"]) == 0
    out = capsys.readouterr().out
    assert r"\x1b[31mred\x07" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_errors_and_log_lines_are_shown_as_text(capsys):
    from intriguing.basics.text.log_lines import PlainFormatter

    assert run_command(["status", f"nowhere{RED}"]) == 2
    assert not {"\x1b", "\x07", "\u202e"} & set(capsys.readouterr().err)
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (RED,), None)
    assert PlainFormatter().format(record) == r"\x1b[31mred\x07\r\u202e[bold]x[/bold]"


def test_commands_that_read_a_run_write_nothing_in_its_folder(finished, tmp_path, capsys):
    """So they serve for a run on a disk that is read-only, and for other people's."""

    def listed():
        return {p: (s.st_size, s.st_mtime_ns, s.st_ino) for p in finished.rglob("*") for s in [p.lstat()]}

    before = listed()
    for line in (
        ["status"],
        ["show"],
        ["show", "units"],
        ["show", "--sql", "select 1"],
        ["diff", str(finished)],
        ["report", "--out", str(tmp_path / "page.html")],
        ["export", "--adversarial", str(tmp_path / "images"), "--first", "1"],
    ):
        assert run_command([line[0], str(finished), *line[1:]]) == 0, capsys.readouterr().err
    assert listed() == before
