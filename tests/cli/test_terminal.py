"""What commands print fits the terminal, and has no colours where none are wanted."""

import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from intriguing.basics.text.printable import width_of
from intriguing.cli import call as run_command
from intriguing.cli import showing, terminal
from intriguing.cli.terminal import fitted
from intriguing.report.text import grid

HEADER = ("model", "layer", "searches", "mean L2", "95 % interval")
ROWS = [["softmax", "logits", "100", "0.935", "0.0277 to 0.0362"], ["cnn", "fc 1", "1,000", "1.48", "–"]]


def test_a_table_that_is_too_wide_is_cut_between_columns_and_its_rows_keep_their_names():
    whole = grid(HEADER, ROWS, texts=2)
    assert fitted(whole, None) == fitted(whole, 80) == whole
    parts = [part.split("\n") for part in fitted(whole, 33).split("\n\n")]
    for part in parts:
        assert max(map(len, part)) <= 33
        assert [line.split()[:2] for line in part] == [["model", "layer"], ["softmax", "logits"], ["cnn", "fc"]]
    cells = {cell for part in parts for line in part for cell in re.split(r" {2,}", line)}
    assert cells == {*HEADER, *ROWS[0], *ROWS[1]}


def test_a_markdown_table_is_cut_between_its_bars_and_its_rows_can_still_be_told_apart():
    rows = [("differ in", "images", "errors, %", "pairs"), ("---------", "------", "---------", "-----")]
    rows += [("seed", "found", "30.8 (24.5)", "2"), ("seed", "larger", "88.5", "20"), ("data", "found", "–", "4")]
    wide = [max(len(row[i]) for row in rows) for i in range(4)]
    whole = "\n".join(f"| {' | '.join(map(str.ljust, row, wide))} |" for row in rows)
    assert fitted(f"Table\n\n{whole}\n\nText", len(whole.split("\n")[0])) == f"Table\n\n{whole}\n\nText"
    parts = [part.split("\n") for part in fitted(whole, 36).split("\n\n")]
    assert [part[0].split(" | ")[2].strip(" |") for part in parts] == ["errors, %", "pairs"]
    for part in parts:
        assert {len(line) for line in part} == {len(part[0])} and len(part[0]) <= 36
        assert [tuple(cell.strip() for cell in line.strip("| ").split(" | "))[:2] for line in part] == [
            row[:2] for row in rows
        ]
    narrow = [part.split("\n") for part in fitted(whole, 28).split("\n\n")]
    assert len(narrow) == 3 and max(len(line) for part in narrow for line in part) <= 28


def test_a_table_with_wide_characters_stands_in_columns_and_fits():
    rows = [["模型", "22", "1 to 2"], ["a", "1", "10 to 20"], ["e\u0301", "3", "–"]]
    whole = grid(("model", "searches", "interval"), rows)
    assert len({width_of(line) for line in whole.split("\n")[:3]}) == 1
    assert fitted(whole, 25) == whole.replace("e\u0301", "é")
    first, second = (part.split("\n") for part in fitted(whole, 18).split("\n\n"))
    assert [line.split() for line in first] == [["model", "searches"], ["模型", "22"], ["a", "1"], ["é", "3"]]
    assert [line.split()[0] for line in second] == ["model", "模型", "a", "é"]
    assert max(width_of(line) for line in fitted("模型 は 良い " * 9, 20).split("\n")) <= 20


def test_a_sentence_is_wrapped_below_its_beginning():
    text = "verdict\n  purity: Units are purer than rotations, and this is a long sentence."
    lines = fitted(text, 30).split("\n")
    assert lines[0] == "verdict"
    assert max(map(len, lines)) <= 30
    assert lines[1].startswith("  purity: ") and all(line.startswith("    ") for line in lines[2:])
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())


@given(
    st.lists(st.lists(st.text("ab1–.", min_size=1, max_size=9), min_size=4, max_size=4), min_size=1, max_size=5),
    st.integers(12, 60),
)
def test_no_cell_of_a_table_is_lost_and_no_line_is_longer_than_its_two_columns(rows, columns):
    header = ["name", "first", "second", "third"]
    shown = fitted(grid(header, [["x" + rows[i][0], *rows[i][1:]] for i in range(len(rows))]), columns)
    for row in rows:
        assert all(cell == "–" or cell in shown for cell in row[1:])
    assert max(map(len, shown.split("\n"))) <= max(columns, 2 * 10 + 2)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_stage_read_aloud_fits_the_terminal(finished, columns, monkeypatch, capsys):
    monkeypatch.setattr(showing, "width", lambda: columns)
    for name in ("units", "distortions", "transfer", "verdicts", None):
        assert run_command(["show", str(finished), *([name] if name else [])]) == 0
        assert max(map(len, capsys.readouterr().out.split("\n"))) <= columns, name


def test_no_colour_is_used_where_none_is_wanted(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    console = Console(force_terminal=True, width=60)
    with console.capture() as captured:
        console.print(terminal.text("red"), style="red")
    assert "\x1b[3" not in captured.get()


def test_a_level_of_the_log_that_there_is_not_is_said_by_name(monkeypatch, capsys):
    monkeypatch.setenv("INTRIGUING_LOG", "verbose")
    assert run_command(["status", "nowhere"]) == 2
    assert "INTRIGUING_LOG is 'verbose': it must be DEBUG" in capsys.readouterr().err


def _called(*arguments, **options):
    command = [sys.executable, "-m", "intriguing", *arguments]
    return subprocess.run(command, text=True, check=False, timeout=250, **{"stderr": subprocess.PIPE} | options)


def test_a_terminal_without_dashes_shows_question_marks(monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, "ascii"))
    assert run_command(["specs"]) == 0
    terminal.write("0.1 – 0.2")
    assert shown.getvalue().endswith(b"0.1 ? 0.2\n")


@pytest.mark.parametrize("arguments", [["models"], ["--help"], ["plan", "demo"], ["specs", "--json"]])
def test_a_pipe_that_nobody_reads_any_more_is_no_error(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = _called(*arguments, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_nobody_reads_keeps_its_exit_code(finished, tmp_path):
    shutil.copytree(finished, out := tmp_path / "run")
    next((out / "store").glob("*/*.parquet")).unlink()
    reading, writing = os.pipe()
    os.close(reading)
    done = _called("verify", str(out), stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_the_output_is_told_in_a_sentence():
    with Path("/dev/full").open("w") as full:
        done = _called("models", stdout=full)
    assert done.returncode == 2
    assert done.stderr.startswith("What was to be printed cannot be written: No space left on device.")
    assert "Traceback" not in done.stderr


def test_an_output_that_may_grow_no_more_is_told_in_a_sentence(tmp_path):
    """`ulimit -f` of a batch system: a traceback, and the exit code 120."""
    line = 'ulimit -f 0; exec "$0" -m intriguing models > "$1"'
    command = ["sh", "-c", line, sys.executable, str(tmp_path / "models")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("What was to be printed cannot be written: File too large. Raise the limit")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_message_that_cannot_be_written_leaves_the_exit_code_as_it_is():
    with Path("/dev/full").open("w") as full:
        assert _called("status", "no-such-run", stderr=full).returncode == 2


def test_streams_that_are_closed_from_the_start_are_no_error_and_no_file_takes_their_place(tmp_path):
    code = f"""
import os, sys
from intriguing.cli import call
code = call(["models"])
opened = os.open({str(tmp_path / "file")!r}, os.O_CREAT | os.O_WRONLY)
os._exit(code if opened > 2 else 99)
"""
    line = 'exec "$0" -c "$1" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", line, sys.executable, code], check=False).returncode == 0


def test_ctrl_c_while_the_command_is_imported_ends_it_without_a_traceback():
    code = """
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "cyclopts":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
import intriguing.cli
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_working_folder_that_is_gone_is_told_in_a_sentence(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run_command(["specs"]) == 2
    assert "is gone: change to another one" in capsys.readouterr().err
