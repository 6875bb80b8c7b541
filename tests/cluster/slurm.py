"""Slurm on hosts in namespaces: the controller on the head, a node on each worker, and one munge for all."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.cluster.hosts import why_not as why_no_hosts

CONF = """
ClusterName=lab
SlurmctldHost=ig-h1({head})
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
SchedulerParameters=sched_interval=2
{nodes}
PartitionName=lab Nodes=ALL Default=YES MaxTime=INFINITE
"""


def why_not():
    """Why this machine cannot have Slurm's hosts; "" where it can."""
    lacking = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name)]
    if lacking:
        return f"Slurm's hosts need {', '.join(lacking)}: apt-get install slurm-wlm munge"
    return why_no_hosts()


class Slurm:
    """Slurm on `hosts`: 1 has the controller, those in `nodes` run jobs of at most one CPU a node."""

    def __init__(self, hosts, nodes):
        self.hosts = hosts
        self.folder = Path(tempfile.mkdtemp(prefix="i-slurm-"))  # short: the paths of sockets hold 107 characters
        (self.folder / "state").mkdir()
        lines = [f"NodeName=ig-h{i} NodeAddr={hosts.address(i)} CPUs=1 State=UNKNOWN" for i in nodes]
        self.conf = self.folder / "slurm.conf"
        self.conf.write_text(CONF.format(head=hosts.address(1), folder=self.folder, nodes="\n".join(lines)))
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        names = "".join(f"{hosts.address(i)} ig-h{i}\n" for i in (1, *nodes))
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{names}")
        self._processes = [self._munge()]
        for i in (1, *nodes):
            hosts.on(i, "mount", "--bind", self.folder / "hosts", "/etc/hosts")
        self._processes.append(hosts.start(1, "slurmctld", "-D", "-f", self.conf, "-L", self.folder / "slurmctld.log"))
        for i in nodes:
            log = self.folder / f"slurmd-{i}.log"
            (self.folder / f"spool-ig-h{i}").mkdir()
            self._processes.append(hosts.start(i, "slurmd", "-D", "-f", self.conf, "-N", f"ig-h{i}", "-L", log))
        self._nodes = len(nodes)
        self.wait_until_idle()

    def _munge(self):
        key = self.folder / "munge.key"
        key.write_bytes(bytes(range(128)))
        key.chmod(0o400)
        files = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
        options = [
            f"--{'seed' if name == 'seed' else name}-file={path}" for name, path in files.items() if name != "socket"
        ]
        command = ["munged", "--force", "--foreground", f"--key-file={key}", f"--socket={files['socket']}", *options]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_until_idle(self):
        """Until every node is there and has nothing to do."""
        end = time.monotonic() + 120
        while self.call("sinfo", "-h", "-t", "idle", "-o", "%D", check=False).strip() != str(self._nodes):
            assert time.monotonic() < end, self.logs()
            time.sleep(0.5)

    def call(self, *command, check=True, cwd=None):
        """What one of Slurm's commands, typed on the head, prints."""
        environment = ["env", f"SLURM_CONF={self.conf}", "RAY_AUTH_MODE="]
        where = {} if cwd is None else {"cwd": cwd}
        return self.hosts.on(1, *environment, *command, check=check, **where).stdout

    def state(self, job):
        """A job's state, and how often it was put back into the queue."""
        told = dict(pair.split("=", 1) for pair in self.call("scontrol", "show", "job", job).split() if "=" in pair)
        return told["JobState"], int(told["Restarts"])

    def logs(self):
        """What Slurm's own programs said, for the message of a test that fails."""
        return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in self.folder.glob("*.log"))

    def down(self):
        """End all of it; the hosts end what runs on them."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(100)
        shutil.rmtree(self.folder, ignore_errors=True)
