"""How much memory this process can still get."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

_UNLIMITED = 2.0**60
"""Limits of this size mean that there is none."""
_REFUSED = "can't allocate memory"
"""What torch's RuntimeError says where the system gives it no memory."""


def available_memory(root: str | Path = "/") -> float:
    """Bytes that this process can still get; infinity where the system does not tell.

    It is what is available, not what is free: the page cache, which the system gives back when it is asked for memory,
    counts as available. A limit of the process's control group (as a container or a batch system sets it, version 1
    or 2) counts, less what the group uses and cannot give back, and so do limits of the process itself (`ulimit -v`,
    which some batch systems set). `root` is where `proc` and `sys` lie.
    """
    root = Path(root)
    return min([_of_the_machine(root), *_of_the_groups(root), *_of_the_process(root)])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out: a device's, Python's (NumPy's, Arrow's), or torch's on a CPU.

    torch's error for a device is known by its name, so that torch need not be imported.
    """
    return type(error).__name__ == "OutOfMemoryError" or is_out_of_host_memory(error)


def is_out_of_host_memory(error: BaseException) -> bool:
    """Whether `error` says that the memory of this machine, or what this process may have of it, ran out."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _REFUSED in str(error))


def _of_the_machine(root: Path) -> float:
    """MemAvailable of /proc/meminfo, in bytes."""
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return 1024.0 * int(value.split()[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return float("inf")


def _of_the_process(root: Path) -> Iterator[float]:
    """What is left under the process's limits of its address space and of its data."""
    sizes = " ".join(_lines(root / "proc/self/statm")).split()
    for limit, column in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        most = resource.getrlimit(limit)[0]
        if 0 <= most < _UNLIMITED and len(sizes) > column:
            yield max(0.0, most - float(sizes[column]) * resource.getpagesize())


def _of_the_groups(root: Path) -> Iterator[float]:
    """What is left under the limit of each control group that the process is in, and of the groups around it."""
    mounts = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            homes, limit, used = (mounts, mounts / "unified"), "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            homes, limit, used = (mounts / "memory",), "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        for home in homes:
            here = home / path.strip("/")
            # In a container the group's own folder is often the root of what can be seen.
            for folder in (here, *here.parents):
                if folder == home or home in folder.parents:
                    yield _left(folder, limit, used)


def _left(folder: Path, limit: str, used: str) -> float:
    """Bytes left under the group's limit: the limit, minus its use, plus its page cache; infinity without a limit."""
    most, now = _number(folder / limit), _number(folder / used)
    if most is None or now is None or most >= _UNLIMITED:
        return float("inf")
    statistics = dict(line.split(maxsplit=1) for line in _lines(folder / "memory.stat") if " " in line)
    # Version 1 tells its own processes' share and, under these names, that of the groups below as well.
    prefix = "total_" if "total_inactive_file" in statistics else ""
    cache = sum(float(statistics.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
    return max(0.0, most - max(0.0, now - cache))


def _number(path: Path) -> float | None:
    try:
        return float(_lines(path)[0])
    except (ValueError, IndexError):
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
