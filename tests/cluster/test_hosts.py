"""A cluster of several hosts: `ray up`, a sweep of somebody's own model, a host cut off, one that joins late.

The hosts are namespaces of this machine; what differs from `cluster/on-premises.yaml` as people use it is said here:
addresses, user and key, and that nodes find Python's packages where this machine has them instead of installing them.
"""

import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from intriguing import open_run
from intriguing.sweep import execute, prepare
from tests.cluster.hosts import ROOT, Hosts, why_not

pytestmark = [pytest.mark.slow, pytest.mark.ray]

MODEL = """
import os, time
from torch import nn
class Slow(nn.Sequential):
    def forward(self, x):
        time.sleep(float(os.environ.get("PAUSE", 0.01)))
        return super().forward(x)
def build(classes):
    return Slow(nn.Flatten(), nn.Linear(784, 12), nn.Sigmoid(), nn.Linear(12, classes))
"""
SPEC = """
datasets = { mnist-sample = {} }
transfer = {}
[models.one]
architecture = "mine.own:build"
train = false
layers = ["1"]
[models.two]
architecture = "mine.own:build"
train = false
seeds = [1]
layers = ["1"]
[units]
k = 4
rows = 512
[blind_spots]
images = 24
grade = "fast"
target_rules = ["untargeted"]
[compute]
rows_per_shard = 128
searches_per_shard = 6
slots = 32
"""
DEAD = "RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=5000"
"""A host that says nothing is given up after five times these, not after Ray's minute: the test waits for that."""
COMPARED = ("models", "topk", "unit_scores", "distortions", "transfer")


@pytest.fixture
def hosts(tmp_path):
    """A laptop, a head and two workers."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    made = Hosts(3, tmp_path)
    try:
        yield made
    finally:
        made.down()


@pytest.fixture
def mine(tmp_path):
    """A folder with somebody's own model and its spec."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "own.py").write_text(MODEL)
    (folder / "mine.toml").write_text(SPEC)
    return folder


def cluster_file(hosts, mine, folder):
    """`cluster/on-premises.yaml`, filled in for the hosts."""
    config = yaml.safe_load((ROOT / "cluster/on-premises.yaml").read_text())
    config["provider"] |= {"head_ip": hosts.address(1), "worker_ips": [hosts.address(2), hosts.address(3)]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    config["file_mounts"]["~/mine"] = str(mine)
    config["file_mounts"]["~/intriguing-src"] = str(ROOT)
    exports = f"export PATH=$HOME/venv/bin:$PATH RAY_AUTH_MODE=token PYTHONPATH={ROOT} OMP_NUM_THREADS=1 {DEAD}"
    config["setup_commands"] = [
        f"test -e ~/venv || ln -s {sys.prefix} ~/venv",
        f"grep -q RAY_AUTH_MODE ~/.bashrc || echo '{exports}' >> ~/.bashrc",
    ]
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def wait_for(what, seconds, process=None):
    """Until `what()` is true; fails after so many seconds, or when the process ends."""
    end = time.monotonic() + seconds
    while not what():
        if process is not None and process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"it ended with {process.returncode}:\n{out[-3000:]}\n{err[-3000:]}")
        assert time.monotonic() < end, f"{what.__name__} did not come true in {seconds} s"
        time.sleep(0.2)


def ray_is_gone():
    """Whether nothing of Ray runs on the head any more."""
    left = subprocess.run(["ip", "netns", "pids", "ig-h1"], capture_output=True, text=True, check=True).stdout.split()
    commands = []
    for pid in left:
        with suppress(OSError):  # it ended meanwhile
            commands.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    return not any(b"raylet" in command or b"gcs_server" in command for command in commands)


def rows_of(run, table):
    """A table's rows in the order of its key, without what may differ from run to run."""
    from intriguing.tables import named

    return run.pandas(table).sort_values(list(named(table).key)).reset_index(drop=True)


@pytest.mark.timeout(1800)
def test_a_sweep_survives_a_host_that_is_cut_off_and_uses_one_that_joins_late(hosts, mine, tmp_path, monkeypatch):
    cluster = cluster_file(hosts, mine, tmp_path)
    hosts.on(0, "ray", "get-auth-token", "--generate")
    hosts.cut(3)  # it is not there yet
    hosts.on(0, "ray", "up", "-y", cluster, seconds=400)
    arguments = ("mine/mine.toml", "--out", "outputs/mine", "--workers", "2")
    run = hosts.start(0, "ray", "submit", cluster, ROOT / "jobs/full_sweep.py", *arguments)
    store = Path.home() / "outputs/mine/store"

    def finished():
        listed = hosts.on(1, "bash", "-c", f"ls {store} | wc -l", check=False)
        return int(listed.stdout or 0)

    def work_goes_on():
        return finished() > 4

    wait_for(work_goes_on, 400, run)
    hosts.mend(3)  # now it joins
    before = finished()

    def some_more():
        return finished() > before + 4

    wait_for(some_more, 300, run)
    hosts.cut(2)
    out, err = run.communicate(timeout=500)
    assert run.returncode == 0, f"{out[-4000:]}\n{err[-4000:]}"
    copied = tmp_path / "copied"
    shutil.copytree(hosts.folder / "fs/1/up/outputs/mine", copied)
    hosts.mend(2)
    hosts.on(0, "ray", "down", "-y", cluster, seconds=200)
    wait_for(ray_is_gone, 100)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PAUSE", "0")
    assert execute(prepare(mine / "mine.toml", tmp_path / "here"), "inline").complete
    far, here = open_run(copied), open_run(tmp_path / "here")
    for table in COMPARED:
        assert rows_of(far, table).equals(rows_of(here, table)), table
    assert far.table("failures").num_rows == 0
    nodes = {worker.partition(":")[0] for worker in far.table("tasks")["worker"].to_pylist()}
    assert {"ig-h2", "ig-h3"} <= nodes
