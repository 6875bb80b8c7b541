"""What a Ray that a run starts listens on: nothing that another machine reaches."""

import http.client
import os
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
import ray
from ray.util.metrics import Gauge

pytestmark = pytest.mark.ray
LISTENS = "0A"
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
_PROC = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens in /proc")


def below(process):
    """This process and all that it started, and those started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(processes):
    """The addresses, in hexadecimal, of the TCP sockets that these processes listen on."""
    sockets = set()
    for process in processes:
        with suppress(OSError):  # it ended meanwhile
            for handle in Path(f"/proc/{process}/fd").iterdir():
                with suppress(OSError):
                    sockets.add(str(handle.readlink()))
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [line[1].partition(":")[0] for line in lines if line[3] == LISTENS and f"socket:[{line[9]}]" in sockets]


def read(page):
    """What a page says; "" where nobody serves it yet."""
    with suppress(OSError, http.client.HTTPException):
        return urllib.request.urlopen(page, timeout=10).read().decode()
    return ""


def until(condition, otherwise, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.5)


@_PROC
def test_a_ray_of_our_own_listens_on_this_machine_alone_and_shows_its_metrics_there(ray_started):
    class Actor:
        def process(self):
            return os.getpid()

    actor = ray.remote(Actor).remote()
    worker = ray.get(actor.process.remote())
    gauge = Gauge("intriguing_ports_seen")
    gauge.set(3)
    [node] = ray.nodes()
    page = f"http://127.0.0.1:{node['MetricsExportPort']}/metrics"
    until(lambda: "ray_intriguing_ports_seen" in read(page), "the metric never came")
    assert worker in below(os.getpid())
    # raylet, object manager, worker, agents, metrics
    until(lambda: len(listening(below(os.getpid()))) >= 5, "there are less than 5 sockets")
    addresses = listening(below(os.getpid()))
    assert set(addresses) <= set(LOOPBACK), addresses
    ray.kill(actor)
