"""The memory that a few lines of Python take in a process of their own."""

import subprocess
import sys

_PEAK = "\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"


def peak_megabytes(code, *arguments):
    """The largest resident memory of a process that runs `code`, in MB, and what it printed.

    Its address space is limited to 4 GB. (getrusage would tell the parent's peak, which a new process inherits.)
    """
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
    command = [sys.executable, "-c", limit + code + _PEAK, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=250, check=True)
    told, _, peak = ran.stdout.rstrip("\n").rpartition("\n")
    return int(peak) / 1024, told
