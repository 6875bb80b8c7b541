"""An object store that speaks S3's protocol, for the tests of runs in it."""

import pytest

from intriguing.basics.folders import bucket as bucket_module
from intriguing.engine.storage import lease
from tests.buckets import Server


@pytest.fixture(scope="module")
def running():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(running, monkeypatch):
    monkeypatch.setattr(bucket_module, "PAUSES", (0.05, 0.05, 0.05))
    monkeypatch.setattr(lease, "SETTLED", 0.05)
    running.faults.clear()
    yield running
    running.faults.clear()


@pytest.fixture
def uri(server):
    return server.uri(f"{server.bucket()}/a run")
