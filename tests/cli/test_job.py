"""The scripts in jobs/: the spec comes first or not at all, and an option's value is never taken for it."""

import ast
import sys
import types

import pytest

from intriguing.cli import call
from intriguing.cli.job import run_job, split
from tests.docs.test_docs import ROOT


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("units", [])),
        (["--executor", "ray", "--workers", "2"], ("units", ["--executor", "ray", "--workers", "2"])),
        (["mine.toml", "--out", "x"], ("mine.toml", ["--out", "x"])),
        (["--out=x"], ("units", ["--out=x"])),
    ],
)
def test_what_is_no_option_and_comes_first_is_the_spec(arguments, expected):
    assert split(arguments, "units") == expected


@pytest.mark.parametrize("script", ["units", "words", "transfer", "stability", "hardening", "full_sweep"])
def test_a_script_takes_options_without_a_spec(script, tmp_path, monkeypatch, capsys):
    """`python jobs/hardening.py --executor inline` took "inline" for the spec."""
    monkeypatch.setattr(sys, "argv", [script, "--executor", "rya", "--out", str(tmp_path / "run")])
    source = compile((ROOT / "jobs" / f"{script}.py").read_text(), script, "exec")
    with pytest.raises(SystemExit) as ended:
        exec(source, {"__name__": "__main__"})
    assert ended.value.code == 2
    assert "--executor" in (told := capsys.readouterr().err) and "rya" in told


def test_a_job_opens_the_run_that_it_made(spec_file, finished):
    code, run = run_job([str(spec_file), "--out", str(finished), "--executor", "inline"], "full")
    assert code == 0
    assert run is not None and run.path == str(finished)
    assert run_job([str(spec_file), "--out", str(finished), "--dry-run"], "full") == (0, None)


def test_a_script_s_help_is_its_own(monkeypatch, capsys):
    """`python jobs/units.py --help` showed the usage and the examples of `intriguing run`."""
    module = types.ModuleType("__main__")
    module.__doc__ = ast.get_docstring(ast.parse((ROOT / "jobs" / "units.py").read_text()))
    module.__file__ = str(ROOT / "jobs" / "units.py")
    monkeypatch.setitem(sys.modules, "__main__", module)
    assert run_job(["--help"], "units") == (0, None)
    told = capsys.readouterr().out
    assert told.startswith("Are single units special?")
    assert "Usage: python jobs/units.py [SPEC] [OPTIONS]   (SPEC by default: units)" in told
    assert "intriguing run demo" not in told and "--executor" in told
    assert call(["run", "--help"]) == 0
    assert "intriguing run demo" in capsys.readouterr().out
