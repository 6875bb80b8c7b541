"""Hosts in network namespaces of this machine, with an sshd each: what a cluster of several machines is tested on."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

SCRIPT = Path(__file__).with_name("hosts.sh")
ROOT = Path(__file__).parents[2]


def why_not():
    """Why this machine cannot have hosts; "" where it can."""
    lacking = [name for name in ("ip", "sshd", "rsync", "nsenter") if not shutil.which(name)]
    if os.geteuid() != 0:
        return "hosts in namespaces need root"
    if lacking:
        return f"hosts need {', '.join(lacking)}: apt-get install iproute2 openssh-server rsync"
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"no namespaces here: {probe.stderr.strip()}" if probe.returncode else ""


class Hosts:
    """Host 0 is a laptop, 1 a head, the others are workers; each has its own home folder."""

    def __init__(self, count, folder):
        self.folder = Path(folder) / f"hosts-{uuid.uuid4().hex[:8]}"
        self.key = self.folder / "key"
        self._lock = (Path(tempfile.gettempdir()) / "intriguing-hosts.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # the names and addresses of hosts are the machine's: one lab at a time
        self._call("up", str(count), str(self.folder), check=True)

    @staticmethod
    def address(host):
        """The host's address."""
        return f"10.78.0.1{host}"

    def on(self, host, *command, cwd=ROOT, seconds=300, check=True):
        """Run a command on a host as a user with a token would; its finished process, with text."""
        done = self.start(host, *command, cwd=cwd)
        try:
            out, err = done.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            done.kill()
            out, err = done.communicate()
            raise AssertionError(f"{command} took more than {seconds} s:\n{out[-3000:]}\n{err[-3000:]}") from None
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{out[-3000:]}\n{err[-3000:]}")
        return subprocess.CompletedProcess(command, done.returncode, out, err)

    def start(self, host, *command, cwd=ROOT):
        """The same, while it runs."""
        bin_folder = Path(sys.executable).parent
        env = os.environ | {"RAY_AUTH_MODE": "token", "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        env.pop("RAY_ADDRESS", None)
        whole = ["bash", str(SCRIPT), "on", str(host), str(self.folder), *map(str, command)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(whole, cwd=cwd, env=env, **pipes)

    def cut(self, host):
        """Cut a host off from the others."""
        self._call("cut", str(host), check=True)

    def mend(self, host):
        """End that."""
        self._call("mend", str(host), check=True)

    def down(self):
        """End all hosts and what runs on them."""
        self._call("down", str(self.folder), check=False)
        self._lock.close()

    @staticmethod
    def _call(*arguments, check):
        done = subprocess.run(
            ["bash", str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=250
        )
        if check and done.returncode:
            raise AssertionError(f"hosts.sh {arguments} ended with {done.returncode}: {done.stderr}")
