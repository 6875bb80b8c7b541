"""Fixtures that all tests share."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Another program's Ray on this machine is none of ours: neither its address nor its files are looked at.
os.environ.pop("RAY_ADDRESS", None)
os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="i-")  # short: the paths of sockets hold 107 characters
sys.path.insert(0, str(Path(__file__).parents[1]))  # so that workers too can import tests.engine.toy

SHARED = Path(__file__).parents[2] / "shared" / "data"
SWEEPS = {"finished", "tested_run", "ray_started"}  # fixtures that run a whole sweep, or start Ray
# An example may take long, and long to draw, on a machine that does other things too. The same examples each time: a
# suite that draws others fails by chance, and not where its cause was made. `make fuzz` draws at random, to find more.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("tests", derandomize=True, **PATIENT)
settings.register_profile("fuzz", print_blob=True, **PATIENT)
settings.load_profile(os.environ.get("INTRIGUING_TEST_EXAMPLES", "tests"))


def pytest_unconfigure():
    shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _modules_of_the_test_are_forgotten(request):
    """Modules that a test imported from its own folder, and the way there: another test's of the same name differ."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is None:
        return
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__dict__", {}).get("__file__") or "").startswith(f"{folder}{os.sep}"):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if not str(entry).startswith(str(folder))]


@pytest.fixture(scope="session")
def ray_started():
    """One local Ray for the whole session, started as the pool starts one: its address. A start costs seconds."""
    import ray

    from intriguing.engine.pools.on_ray.cluster import start_here
    from intriguing.errors import ClusterError

    # An empty entry would mean the working folder, for every process that a test starts after this one.
    theirs = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *theirs])
    for patience in (2, 1, 0):  # Ray gives a start 30 seconds, three times: where much else goes on that is not enough
        try:
            start_here(2)
            break
        except ClusterError:
            if not patience:
                raise
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(scope="session")
def spec_file(tmp_path_factory):
    """The small sweep as a file, in a folder whose name has quotes and spaces."""
    from tests.sweep.small import SMALL, toml

    path = tmp_path_factory.mktemp("spec with 'quotes' and spaces") / "small.toml"
    path.write_text(toml(SMALL))
    return path


@pytest.fixture(scope="session")
def finished(spec_file, tmp_path_factory):
    """An undisturbed inline run of the small sweep; nothing in it is ever changed."""
    from intriguing.sweep import execute, prepare

    out = tmp_path_factory.mktemp("small") / "run"
    assert execute(prepare(spec_file, out), "inline").complete
    return out


@pytest.fixture
def without_page(monkeypatch):
    """Runs of this test write no page, which is near half of a small run's work: it compares tables alone."""
    monkeypatch.setattr("intriguing.sweep.runner.write_report", lambda *_, **__: None)


@pytest.hookimpl(tryfirst=True)  # xdist's own hook reads the groups that this one gives
def pytest_collection_modifyitems(items):
    """Mark what is slow or cannot run here, and share the suite out between three processes."""
    for item in items:
        if SWEEPS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
        if item.get_closest_marker("shared") and not SHARED.exists():
            item.add_marker(pytest.mark.skip(reason="needs ../shared/data"))
    # The long groups first (--no-loadscope-reorder keeps this order): what comes last is short, so all end together.
    slow = Counter(group_of(item) for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (group_of(item) not in (HOSTS, RAY), -slow[group_of(item)]))


HOSTS, RAY = "hosts", "ray"


def group_of(item):
    """The tests that one process runs, one after the other: a file's, all that need one Ray, all that need hosts.

    The last two wait for other processes half of the time, so that two cores have work for three processes.
    """
    if item.path.parent.name == "cluster":
        return HOSTS
    return RAY if item.get_closest_marker("ray") else str(item.path)


@pytest.fixture(scope="session")
def invented_run(tmp_path_factory):
    """Names with quotes and HTML, two data sets, two layers, two seeds of one model; never written to."""
    from tests.synthetic_run import NASTY, SyntheticRun

    writer = SyntheticRun(
        tmp_path_factory.mktemp("runs") / "run",
        datasets=("glyphs", '<b>"second"</b>'),
        models=("007", NASTY),
        layers=("hidden", 'a/b "<i>'),
        seeds={"007": (1, 2)},
    )
    return writer.write()


@pytest.fixture(scope="session")
def html(invented_run, tmp_path_factory):
    """The page of `invented_run`, with images."""
    from intriguing.sweep.reporting.page import write_report
    from tests.synthetic_run import images

    return write_report(invented_run, tmp_path_factory.mktemp("pages") / "report.html", images).read_text()


@pytest.fixture(scope="session")
def document(html):
    """`html`, read."""
    from tests.pages import Document

    return Document(html)


@pytest.fixture
def small(tmp_path):
    """What writes an invented run of two models and one layer, part by part."""
    from tests.synthetic_run import SyntheticRun

    return SyntheticRun(tmp_path / "run", models=("FC10", "007"), layers=("hidden",))
