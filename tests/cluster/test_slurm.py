"""The job for Slurm: with Slurm's commands played by scripts, and on Slurm itself, on hosts in namespaces."""

import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from intriguing import open_run
from tests.cluster.hosts import ROOT, Hosts
from tests.cluster.slurm import Slurm, why_not

JOB = ROOT / "cluster/slurm/full_sweep.sbatch"
MODEL = """
import time
from pathlib import Path
from torch import nn
class Slow(nn.Sequential):
    def forward(self, x):
        time.sleep(0 if Path(__file__).with_name("hurry").exists() else 0.1)
        return super().forward(x)
def build(classes):
    return Slow(nn.Flatten(), nn.Linear(784, classes))
"""
SPEC = """
datasets = { mnist-sample = {} }
models = { own = { architecture = "own_slow:build", train = false } }
[blind_spots]
images = 80
grade = "fast"
target_rules = ["untargeted"]
[compute]
searches_per_shard = 2
slots = 32
"""
SRUN = """
case "$*" in
  *hostname*) echo "127.0.1.1 10.9.9.9";;
  *"--head"*) echo "$*" > head; {head};;
  *) exec sleep 60;;
esac
"""
PYTHON = """
trap 'echo USR1 >> told' USR1
trap 'echo TERM >> told; [ $(grep -c TERM told) = 1 ] || exit 130' TERM
until grep -q 'State:.*sleeping' /proc/$PPID/status; do sleep 0.05; done
echo "$*" > driver
while [ ! -e done ]; do sleep 0.1; done
exit $(cat done)
"""
"""The driver is there once the job waits for it, and so knows its number: a signal before that goes to nobody."""


class Played:
    """The job with `srun`, `scontrol`, `ray` and `python` played by scripts, in a folder of its own."""

    def __init__(self, folder, head="exec sleep 60", health="exit 0", python=PYTHON):
        self.folder = folder
        lines = {"srun": SRUN.format(head=head), "python": python, "ray": health}
        lines["scontrol"] = 'case "$1" in show) echo n1; echo n2;; *) echo "$*" >> requeued;; esac'
        (folder / "bin").mkdir()
        for name, body in lines.items():
            (folder / "bin" / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (folder / "bin" / name).chmod(0o755)
        told = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "3"}
        environment = (
            os.environ | told | {"SLURM_SUBMIT_DIR": str(folder), "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        )
        command = ["bash", str(JOB), "mine.toml", "--out", "x"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipes)

    def wait_for(self, name, seconds=100):
        """Until a file has a line; its text."""
        end, path = time.monotonic() + seconds, self.folder / name
        while not path.exists() or not path.read_text().endswith("\n"):
            assert time.monotonic() < end, f"no {name}; {self.end()}"
            time.sleep(0.05)
        return path.read_text()

    def end_driver(self, code):
        """Have the driver end with an exit code; the file with it is there whole."""
        (self.folder / "ending").write_text(str(code))
        (self.folder / "ending").rename(self.folder / "done")

    def end(self, seconds=100):
        """Its exit code, and what it said."""
        try:
            _, err = self.process.communicate(timeout=seconds)
        finally:
            (self.folder / "done").touch()  # the driver is a group of its own, and ends by this
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.returncode, err


def test_a_head_that_does_not_start_ends_the_job(tmp_path):
    code, said = Played(tmp_path, head="exit 3", health="exit 1").end()
    assert code == 1
    assert "Ray did not start on n1" in said
    assert not (tmp_path / "driver").exists()


def test_ray_listens_on_no_loopback_and_has_the_cpus_of_the_job(tmp_path):
    job = Played(tmp_path)
    head = job.wait_for("head")
    assert "--node-ip-address=10.9.9.9" in head and "--num-cpus=3" in head and "--cpus-per-task=3" in head
    assert job.wait_for("driver") == "jobs/full_sweep.py mine.toml --out x --executor ray\n"
    job.end_driver(1)
    assert job.end()[0] == 1
    assert not (tmp_path / "requeued").exists()


def test_a_notice_goes_to_the_driver_and_the_job_comes_back(tmp_path):
    job = Played(tmp_path)
    job.wait_for("driver")
    os.kill(job.process.pid, signal.SIGUSR1)
    assert job.wait_for("told") == "USR1\n"
    job.end_driver(130)
    assert job.wait_for("requeued") == "requeue 7\n"
    assert job.end()[0] == 130


def test_a_notice_while_ray_starts_puts_the_job_back_at_once(tmp_path):
    job = Played(tmp_path, health="exit 1")
    job.wait_for("head")
    os.kill(job.process.pid, signal.SIGUSR1)
    assert job.wait_for("requeued") == "requeue 7\n"
    assert job.end()[0] == 130
    assert not (tmp_path / "driver").exists()


def test_a_notice_that_ends_a_driver_which_does_not_listen_yet_puts_the_job_back(tmp_path):
    """Python listens once it is there: until then SIGUSR1 ends it, and the job did not come back."""
    job = Played(tmp_path, python="\n".join(line for line in PYTHON.splitlines() if not line.startswith("trap")))
    job.wait_for("driver")
    os.kill(job.process.pid, signal.SIGUSR1)
    assert job.wait_for("requeued") == "requeue 7\n"
    assert job.end()[0] == 128 + signal.SIGUSR1


def test_a_run_that_ends_during_the_notice_does_not_come_back(tmp_path):
    job = Played(tmp_path)
    job.wait_for("driver")
    os.kill(job.process.pid, signal.SIGUSR1)
    job.wait_for("told")
    job.end_driver(0)
    assert job.end()[0] == 0
    assert not (tmp_path / "requeued").exists()


def test_a_job_that_is_cancelled_stops_its_driver_at_once_and_does_not_come_back(tmp_path):
    job = Played(tmp_path)
    job.wait_for("driver")
    os.kill(job.process.pid, signal.SIGTERM)
    assert job.end()[0] == 130
    assert (tmp_path / "told").read_text() == "TERM\nTERM\n"
    assert not (tmp_path / "requeued").exists()


@pytest.fixture
def slurm(tmp_path):
    """Slurm on a head and two nodes."""
    if reason := why_not():
        pytest.skip(reason)
    hosts = Hosts(3, tmp_path)
    made = None
    try:
        made = Slurm(hosts, (2, 3))
        yield made
    finally:
        hosts.down()
        if made is not None:
            made.down()


def wait_for(condition, slurm, log, seconds):
    end = time.monotonic() + seconds
    while not condition():
        said = log.read_text()[-6000:] if log.exists() else "the job wrote nothing"
        assert time.monotonic() < end, f"{slurm.call('squeue')}\n{said}\n{slurm.logs()}"
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_a_sweep_on_two_nodes_drains_at_the_notice_and_goes_on_when_slurm_starts_it_again(slurm, tmp_path):
    """Until the notice the model takes its time: one node alone must not be done before the other has begun."""
    (tmp_path / "small.toml").write_text(SPEC)
    (tmp_path / "own_slow.py").write_text(MODEL)
    log, out = tmp_path / "job.log", tmp_path / "out"
    path = f"PYTHONPATH={os.pathsep.join(filter(None, (str(tmp_path), os.environ.get('PYTHONPATH'))))}"
    options = ("--cpus-per-task", "1", "--output", log, "--open-mode", "append")
    arguments = (tmp_path / "small.toml", "--out", out)
    submitted = slurm.call("env", f"--chdir={ROOT}", path, "sbatch", "--parsable", *options, JOB, *arguments)
    job = submitted.strip()
    both = ("runs on ig-h2", "runs on ig-h3")

    def at_work():
        return log.exists() and all(words in log.read_text() for words in both) and len(list(out.glob("store/*"))) > 6

    wait_for(at_work, slurm, log, 400)
    slurm.call("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: slurm.state(job) == ("PENDING", 1), slurm, log, 300)
    (tmp_path / "hurry").touch()
    said = log.read_text()
    assert "asked to leave: what runs is finished" in said
    assert f"Continue with:\n  intriguing run {tmp_path}/small.toml --out {out}\n" in said
    # It would wait for two minutes. Not at once, either: a node tells by whole seconds what was withdrawn from it with
    # the first start, and refuses ("Job credential revoked") a second one that begins within the same second.
    slurm.wait_until_idle()
    slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now+3")

    def completed():
        state, _ = slurm.state(job)
        good = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "COMPLETED")
        assert state in good, f"{state}:\n{log.read_text()}\n{slurm.logs()}"
        return state == "COMPLETED"

    wait_for(completed, slurm, log, 600)
    [first, second] = [line for line in log.read_text().splitlines() if "to run, " in line]
    assert " 0 reused" in first
    reused = int(second.split(" to run, ")[1].split()[0])
    run = open_run(out)
    tasks = run.table("tasks")
    assert 6 <= reused < tasks.num_rows == run.tasks
    assert {worker.partition(":")[0] for worker in tasks["worker"].to_pylist()} == {"ig-h2", "ig-h3"}
    assert run.table("failures").num_rows == 0
