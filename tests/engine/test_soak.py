"""A short soak of a run on Ray: a worker, a node and the driver are killed (50 kills: `tests/engine/soak.py`)."""

import os
import subprocess
import sys

import pytest

from tests.engine.soak import ROOT


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_whose_workers_nodes_and_driver_are_killed_ends_with_the_right_tables():
    command = [sys.executable, "-m", "tests.engine.soak", "--kills", "3", "--shards", "40", "--seed", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-5000:]}"
    assert "1 workers" in done.stdout and "1 nodes" in done.stdout and "1 drivers" in done.stdout
    assert "the tables are right" in done.stdout
