"""Where a cluster is said to be, and whether one answers: nothing that was left or planted makes a run wait."""

import logging
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from intriguing.engine.pools import ray_address
from intriguing.engine.pools.ray_address import address_file, ask, find_cluster
from intriguing.errors import ClusterError, InputError, SpecError
from intriguing.sweep.runner import pool_maker
from intriguing.sweep.spec import load_spec

SOON = 30
"""Seconds, for whatever is to end after 3 of them on a machine that may be busy; Ray itself would try for minutes."""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The path of a private ray_current_cluster, in a folder that is there."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


@pytest.fixture
def silent():
    """The address of a socket that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closed():
    """An address of this machine where nothing listens: its port is taken, so that no other program gets it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def guarded():
    """The address of a head that answers nobody without its token."""

    def refuse(request, context):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken: Authentication token is missing or incorrect")

    class Guard(grpc.GenericRpcHandler):
        def service(self, handler_call_details):
            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Guard()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def auto_pool(run):
    return pool_maker(run, load_spec("demo"), "auto", None, None)()


@pytest.mark.parametrize("folder", ["RAY_TMPDIR", "TMPDIR", None])
def test_the_file_is_where_ray_itself_looks(folder, tmp_path, monkeypatch):
    from ray._common.utils import get_ray_address_file

    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    if folder is not None:
        monkeypatch.setenv(folder, str(tmp_path))
    assert str(address_file()) == get_ray_address_file(None)


def test_without_a_file_there_is_no_cluster_and_nothing_to_say(file):
    assert find_cluster() == ray_address.Cluster()


def test_a_leftover_file_with_a_dead_address_ends_inline_with_a_line(file, closed, caplog):
    file.write_text(closed)
    began = time.monotonic()
    with caplog.at_level(logging.INFO):
        pool = auto_pool(file.parent)
    assert time.monotonic() - began < SOON
    assert pool.workers == ["inline"]
    [line] = caplog.messages
    assert f"{str(file)!r} names a Ray cluster at {closed!r}, and nothing answers there" in line
    assert line.endswith(": running in this process")


@pytest.mark.slow
def test_a_socket_that_never_answers_ends_inline_with_a_line(file, silent, caplog):
    file.write_text(silent)
    began = time.monotonic()
    assert auto_pool(file.parent).workers == ["inline"]
    assert time.monotonic() - began < SOON
    assert f"{silent!r}, and nothing answers there within 3 s: running in this process" in caplog.text


def test_a_file_of_another_user_is_not_followed(file, closed, monkeypatch):
    file.write_text(closed)
    if os.geteuid() == 0:
        os.chown(file, 12345, -1)
    else:
        monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(ray_address, "ask", lambda *_: pytest.fail("the address was asked"))
    found = find_cluster()
    assert not found.is_usable
    assert "belongs to another user" in found.problem


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "long", "bytes"])
def test_what_is_no_such_file_is_not_followed(file, kind):
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "link":
        (file.parent / "elsewhere").write_text("127.0.0.1:6379")
        file.symlink_to(file.parent / "elsewhere")
    elif kind == "folder":
        file.mkdir()
    else:
        file.write_bytes(b"1" * 2_000 if kind == "long" else b"\xff\x1b[31m:1")
    found = find_cluster()
    assert found.problem
    assert not found.is_usable


@pytest.mark.parametrize("address", ["nonsense", "host:0", "host:99999", "http://127.0.0.1:8265", "a b:1", ":6379"])
def test_what_is_no_address_is_said_without_asking(address, monkeypatch):
    monkeypatch.setattr(ray_address, "_ask", lambda *_, **__: pytest.fail("the address was asked"))
    assert ask(address)


def test_a_named_cluster_that_does_not_answer_is_an_error_for_ray_and_inline_for_auto(
    file, closed, monkeypatch, caplog
):
    from intriguing.engine.pools.on_ray import RayPool

    monkeypatch.setenv("RAY_ADDRESS", closed)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    began = time.monotonic()
    with pytest.raises(ClusterError, match=f"RAY_ADDRESS is '{closed}', and nothing answers there"):
        RayPool(file.parent)
    assert time.monotonic() - began < SOON
    assert auto_pool(file.parent).workers == ["inline"]
    assert closed in caplog.text


def test_a_cluster_that_is_named_is_given_more_time_than_one_in_a_file(file, monkeypatch):
    """A head that was slow for 3 seconds, for all started at once, ended the run that was meant for it."""
    given = []
    monkeypatch.setattr(ray_address, "_ask", lambda place, seconds, *_, **__: given.append((place, seconds)) or "")
    file.write_text("127.0.0.1:1")
    assert find_cluster().address == "127.0.0.1:1"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    assert find_cluster().is_named
    assert given == [("127.0.0.1:1", 3.0), ("127.0.0.1:2", 15.0)]


def test_a_cluster_that_wants_its_token_is_told_what_to_set(file, guarded, monkeypatch):
    """Ray said "Failed to connect" after twenty seconds. It gives a token to a cluster of its own file alone."""
    monkeypatch.setenv("HOME", str(file.parent))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert ask(guarded, SOON) == ""  # it is up
    monkeypatch.setattr(ray_address, "PROBE_SECONDS", SOON)
    file.write_text(guarded)
    copied = "it answers nobody without its token: copy the cluster's token to ~/.ray/auth_token, and set RAY_AUTH_MODE"
    assert copied in find_cluster().problem
    (file.parent / ".ray").mkdir()
    (file.parent / ".ray" / "auth_token").write_text("0" * 64)
    assert find_cluster().is_usable
    monkeypatch.setenv("RAY_ADDRESS", guarded)
    assert find_cluster().problem.endswith("it answers nobody without its token: set RAY_AUTH_MODE=token")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert find_cluster().is_usable


def test_a_cluster_of_rays_own_file_is_asked_for_so_that_ray_gives_it_its_token(file, guarded, monkeypatch):
    from intriguing.engine.pools.on_ray import cluster

    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setattr(ray_address, "PROBE_SECONDS", SOON)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **options: asked.append(options["address"]))
    asked = []
    file.write_text(guarded)
    assert cluster.connect(None) == (True, True)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_ADDRESS", guarded)
    assert cluster.connect(None) == (True, True)
    assert asked == ["auto", guarded]


def test_local_is_no_cluster_whatever_the_file_says(file, silent, monkeypatch):
    file.write_text(silent)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(ray_address, "_ask", lambda *_, **__: pytest.fail("the address was asked"))
    assert find_cluster() == ray_address.Cluster()


def test_a_ray_client_address_is_asked_too(closed):
    assert "nothing answers there" in ask(f"ray://{closed}")


def test_the_suite_keeps_out_of_other_programs_ray():
    assert "RAY_ADDRESS" not in os.environ
    assert address_file().parents[1] == Path(os.environ["RAY_TMPDIR"])
    assert address_file().parents[1] != Path("/tmp")


@pytest.mark.ray
def test_a_running_cluster_answers_and_a_stale_file_starts_one(ray_started, file, monkeypatch):
    assert ask(ray_started, seconds=SOON) == ""
    file.write_text(ray_started)
    monkeypatch.setattr(ray_address, "PROBE_SECONDS", SOON)
    assert find_cluster() == ray_address.Cluster(ray_started)


@pytest.mark.ray
def test_workers_do_not_find_the_working_folder_first(ray_started):
    import ray

    @ray.remote
    def path():
        import sys

        return sys.path

    found = ray.get(path.remote())
    assert found[0] not in ("", str(Path.cwd()))
    assert found[0] != str(Path(sys.argv[0]).parent)


def test_a_worker_s_path_gets_the_driver_s_folders_last(monkeypatch):
    from intriguing.engine.paths import extend_path, users_path

    monkeypatch.setattr(sys, "path", ["", "/of/the/driver", "/of/both"])
    given = users_path()
    monkeypatch.setattr(sys, "path", ["/python", "/of/both"])
    extend_path(given)
    assert sys.path == ["/python", "/of/both", str(Path.cwd()), "/of/the/driver"]


def test_ray_that_did_not_start_in_time_on_a_busy_machine_is_started_again(monkeypatch, caplog):
    from intriguing.engine.pools.on_ray import cluster

    tries = []

    def init(**options):
        tries.append(options)
        raise RuntimeError("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(cluster.ray, "init", init)
    monkeypatch.setattr(cluster.ray, "shutdown", lambda: None)
    with pytest.raises(ClusterError, match="cannot be started: The current node timed out"):
        cluster._start("Ray cannot be started", tries=3, address="local")
    assert tries == [{"address": "local"}] * 3
    tries.clear()
    with pytest.raises(ClusterError):
        cluster._start("Ray at x cannot be used", address="x")
    assert len(tries) == 1


@pytest.mark.parametrize(("workers", "gpus"), [(-2, None), (0, None), (1, -1.0), (None, float("nan"))])
def test_fewer_workers_than_one_are_refused(tmp_path, workers, gpus):
    """They would be waited for until the start has taken too long."""
    with pytest.raises(InputError, match="must be"):
        pool_maker(tmp_path, load_spec("demo"), "ray", workers, gpus)


def test_a_number_of_workers_that_is_none_is_said_by_name(tmp_path, monkeypatch):
    """A raw ValueError would name neither the variable nor what may stand in it."""
    monkeypatch.setenv("INTRIGUING_WORKERS", "two")
    with pytest.raises(SpecError, match="INTRIGUING_WORKERS is 'two'.*whole number"):
        pool_maker(tmp_path, load_spec("demo"), "inline", None, None)
