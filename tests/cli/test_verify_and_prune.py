"""`verify`, `prune` and `report`: what they find, remove and write."""

import json
import os
import re
import shutil

from intriguing.cli import call as run_command
from intriguing.engine.storage.lock import locked
from intriguing.engine.storage.store import Record, Store
from tests.sweep.small import assert_equal_tables


def test_prune_removes_what_no_plan_names(spec_file, finished, tmp_path, capsys):
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


def test_prune_says_that_a_driver_is_at_work(finished, tmp_path, capsys):
    """It said "cannot be written (Resource temporarily unavailable)"."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    with locked(out):
        assert run_command(["prune", str(out)]) == 2
    assert f"{out} is in use by another driver (process {os.getpid()} on" in " ".join(capsys.readouterr().err.split())


def test_verify_names_a_damaged_table_and_the_run_mends_it(spec_file, finished, tmp_path, capsys, caplog):
    line = ["run", str(spec_file), "--executor", "inline", "--out"]

    out = tmp_path / "run"
    shutil.copytree(finished, out, ignore=shutil.ignore_patterns("tables"))
    assert run_command([*line, str(out)]) == 0
    capsys.readouterr()
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
    assert run_command([*line, str(out)]) == 0
    # Whichever file of the table comes first: those of the clean row are in it, too.
    assert re.search("was changed after it was written: '(transfer|clean)/.*' is computed again", caplog.text)
    assert "1 tasks ran" in capsys.readouterr().out
    assert run_command(["verify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["damaged"] == []
    assert_equal_tables(finished, out)


def test_the_report_of_a_run_that_must_not_be_written_goes_elsewhere(finished, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    assert run_command(["report", str(finished), "--out", str(tmp_path / "new" / "page.html")]) == 0
    assert (tmp_path / "new" / "page.html").read_text().startswith("<!doctype html>")
    assert {p: p.stat().st_mtime_ns for p in finished.rglob("*")} == before
    (tmp_path / "link.html").symlink_to(tmp_path / "victim.html")
    assert run_command(["report", str(finished), "--out", str(tmp_path / "link.html")]) == 2
    assert not (tmp_path / "victim.html").exists()
