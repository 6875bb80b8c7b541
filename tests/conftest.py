"""Fixtures that all tests share."""

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Another program's Ray on this machine is none of ours: neither its address nor its files are looked at.
os.environ.pop("RAY_ADDRESS", None)
os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="i-")  # short: the paths of sockets hold 107 characters
sys.path.insert(0, str(Path(__file__).parents[1]))  # so that workers too can import tests.engine.toy

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


@pytest.fixture(scope="session")
def ray_started() -> Iterator[str]:
    """One local Ray for the whole session, started as the pool starts one: its address. A start costs seconds."""
    import ray

    from intriguing.engine.on_ray import _job

    paths = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{Path(__file__).parents[1]}{os.pathsep}{paths}"
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    ray.init(address="local", num_cpus=2, include_dashboard=False, job_config=_job(), **quiet)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # Two processes share the suite file by file; all that needs Ray goes to one of them, which starts it once.
        group = "ray" if item.get_closest_marker("ray") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
        if item.get_closest_marker("shared") and not SHARED.exists():
            item.add_marker(pytest.mark.skip(reason="needs ../shared/data"))
