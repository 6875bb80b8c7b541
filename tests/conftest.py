"""Fixtures that all tests share."""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))  # so that workers too can import tests.engine.toy

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def ray_started() -> Iterator[None]:
    """One local Ray for the whole session: a start costs seconds."""
    import ray

    paths = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{Path(__file__).parents[1]}{os.pathsep}{paths}"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # Two processes share the suite file by file; all that needs Ray goes to one of them, which starts it once.
        group = "ray" if item.get_closest_marker("ray") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
        if item.get_closest_marker("shared") and not SHARED.exists():
            item.add_marker(pytest.mark.skip(reason="needs ../shared/data"))
