"""Runs that are killed, stopped or starved: what is finished is kept, and the same command continues."""

import fcntl
import json
import os
import re
import signal
import subprocess
import termios
import time
from typing import Any

import pytest

from intriguing.cli import call as run_command
from intriguing.cli.process import _terminate_as_interrupt
from tests.sweep.small import assert_equal_tables, command

pytestmark = pytest.mark.usefixtures("without_page")


def wait_for(condition, process, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


def stored(out):
    return sum(not p.name.startswith(".") for p in (out / "store").glob("*")) if (out / "store").exists() else 0


def heed_ctrl_c():
    """In the new process: a suite that was itself started with `&` in a script hands on that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(spec_file, out, executor, **variables):
    arguments = command("run", str(spec_file), "--out", str(out), "--executor", executor, "--workers", "2")
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(arguments, env=environment, start_new_session=True, preexec_fn=heed_ctrl_c, **pipes)


def again(spec_file, out, capsys):
    """What the same command says when it is given again; in this process, where torch is imported already."""
    assert run_command(["run", str(spec_file), "--out", str(out), "--executor", "inline", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_killed_driver_s_run_is_finished_by_the_same_command_with_equal_tables(spec_file, finished, tmp_path, capsys):
    out = tmp_path / "run"
    process = start(spec_file, out, "inline")
    wait_for(lambda: stored(out) >= 5, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    survived = stored(out)
    told = again(spec_file, out, capsys)
    assert told["reused"] >= 5
    assert told["ran"] > 0
    assert told["reused"] >= survived - 1
    assert_equal_tables(finished, out)


def test_ctrl_c_stops_with_130_and_the_line_that_continues(spec_file, finished, tmp_path, capsys):
    out = tmp_path / "run"
    process = start(spec_file, out, "inline")
    wait_for(lambda: stored(out) >= 5, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 130, stderr
    assert "Continue with:\n  intriguing run " in stderr
    assert f"--out {out}\n" in stderr
    assert "Traceback" not in stderr
    again(spec_file, out, capsys)
    assert_equal_tables(finished, out)


@pytest.mark.parametrize(("handler", "code"), [(signal.SIG_DFL, 130), (signal.SIG_IGN, 0)], ids=["plain", "nohup"])
def test_a_terminal_that_is_closed_stops_a_run_as_ctrl_c_does(handler, code, spec_file, finished, tmp_path, capsys):
    """SIGHUP comes, and nothing can be written any more. Under `nohup` the run goes on."""
    out = tmp_path / "run"
    ours, theirs = os.openpty()

    def at_the_terminal():
        heed_ctrl_c()
        signal.signal(signal.SIGHUP, handler)
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    arguments = command("run", str(spec_file), "--out", str(out), "--executor", "inline")
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    process = subprocess.Popen(arguments, start_new_session=True, preexec_fn=at_the_terminal, **streams)
    os.close(theirs)
    wait_for(lambda: stored(out) >= 5, process)
    os.close(ours)
    assert process.wait(300) == code
    assert not list((out / "store").glob(".*tmp*"))
    assert again(spec_file, out, capsys)["reused"] >= 5
    assert_equal_tables(finished, out)


@pytest.mark.ray
@pytest.mark.slow
def test_sigterm_to_a_run_and_to_the_ray_that_it_started_stops_as_ctrl_c_does(spec_file, tmp_path):
    """The signal of batch systems goes to the whole process group, and so to Ray's own processes."""
    out = tmp_path / "run"
    process = start(spec_file, out, "ray")
    wait_for(lambda: stored(out) >= 3, process, 180)
    os.killpg(process.pid, signal.SIGTERM)
    _, stderr = process.communicate(timeout=200)
    assert process.returncode in (130, 143), stderr
    assert "Continue with:\n  intriguing run " in stderr
    assert "Traceback" not in stderr and "SIGTERM received" not in stderr
    assert stored(out) >= 3


@pytest.mark.ray
def test_a_worker_killed_from_outside_costs_no_result(spec_file, finished, tmp_path, ray_started):
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
    _, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    assert "is gone" in stderr
    assert_equal_tables(finished, out)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_disk_that_fills_up_stops_the_run_and_the_same_command_continues_it(spec_file, finished, tmp_path, capsys):
    out = tmp_path / "disk"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(out)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine mounts no file systems")
    try:
        assert run_command(["run", str(spec_file), "--out", str(out), "--executor", "inline"]) == 2
        stderr = capsys.readouterr().err
        assert "is full. Free some space, then run the same command to continue" in stderr.replace("\n", " ")
        assert "Traceback" not in stderr
        subprocess.run(["mount", "-o", "remount,size=100m", str(out)], check=True)
        again(spec_file, out, capsys)
        assert_equal_tables(finished, out)
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_sigterm_stops_a_command_of_a_script_that_ignores_it():
    """`trap '' TERM` in a batch script is meant for the shell, and is handed on to what it starts."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with _terminate_as_interrupt(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
