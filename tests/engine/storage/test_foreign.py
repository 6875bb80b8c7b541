"""Foreign files, folders, links and pipes in a run folder: each stays as it was, and what lies behind a link, too."""

import json
import os
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from intriguing.basics.folders.files import read_file, write_file
from intriguing.basics.folders.saved_plan import read_saved_plan
from intriguing.engine.driver import Driver, prune, write_plan
from intriguing.engine.examination import examine
from intriguing.engine.pools.inline import InlinePool
from intriguing.engine.storage.lock import is_locked, locked
from intriguing.engine.storage.ownership import check_ours
from intriguing.engine.storage.verified import Verified
from intriguing.engine.verify import verify
from intriguing.errors import CorruptError, StoreError
from tests.engine.toy import toy_plan

PLAN, SMALL = toy_plan(2), toy_plan(1, bad=0, do="")
RANGE = f"store/{PLAN.fingerprints['range/1']}"
SHARD = f"tables/numbers/range.1-{PLAN.fingerprints['range/1'][:16]}.parquet"
FOLDERS = ("tables", "store", "live", RANGE, "tables/numbers", "tables/tasks")
FILES = (".lock", "plan.json", "report.html", "live/status.json", "live/verified.json")
FILES += (SHARD, f"{RANGE}/record.json", f"{RANGE}/numbers.parquet", "tables/tasks/tasks.parquet")
KINDS = ("file", "folder", "link to a file", "link to a folder", "link to nothing", "pipe")
NAMES = ("mine.parquet", "notes.txt", ".writing-mine", "0123", "record.bak")
WHERE = ("", "tables", "tables/numbers", "tables/results", "tables/scaled/deeper", "store", RANGE, "live")


def run_plan(run, plan=PLAN):
    with locked(run):
        found = examine(plan, run, Verified(run))
        write_plan(run, plan, {"name": "toy"})
        Driver(plan, run, found, lambda: InlinePool(run)).run(lambda task: "again")
        write_file(run, "report.html", b"<html>")


def prune_run(run):
    with locked(run):
        prune(run)


ACTIONS: dict[str, Callable[[Path], Any]] = {
    "run": run_plan,
    "run another spec": lambda run: run_plan(run, SMALL),
    "prune": prune_run,
    "verify": verify,
}


def put(path, kind, outside):
    """Something of the user's at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_bytes(b"mine")
    elif kind == "folder":
        path.mkdir()
        (path / "inner.parquet").write_bytes(b"mine")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(outside / {"link to a file": "file.txt", "link to a folder": "folder"}.get(kind, "nothing"))


def seen(path):
    """Everything about `path` and what is below it that a user would miss."""
    there = os.lstat(path)
    if path.is_symlink():
        return ["link", str(path.readlink())]
    if path.is_dir():
        return ["folder", {p.name: seen(p) for p in path.iterdir()}]
    return ["file", path.read_bytes()] if path.is_file() else ["other", there.st_mode]


@contextmanager
def killed_after(steps):
    """The process dies at the call `steps` to the system that changes something: from there on nothing is changed."""
    left, kept = [steps], {}

    class Killed(BaseException):
        pass

    def dying(name):
        def call(*args, **kwargs):
            writes = name != "open" or args[1] & (os.O_WRONLY | os.O_RDWR)
            left[0] -= bool(writes)
            if writes and left[0] < 0:
                raise Killed
            return kept[name](*args, **kwargs)

        return call

    for name in ("rename", "unlink", "link", "rmdir", "mkdir", "open"):
        kept[name] = getattr(os, name)
        setattr(os, name, dying(name))
    try:
        with suppress(Killed):
            yield
    finally:
        for name, real in kept.items():
            setattr(os, name, real)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Without waiting for the disk: a killed process is not a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@contextmanager
def a_run(first=True):
    """A finished run (or no folder yet), and a folder outside of it that links lead to."""
    with TemporaryDirectory() as folder:
        run, outside = Path(folder, "run"), Path(folder, "outside")
        (outside / "folder" / "numbers").mkdir(parents=True)
        (outside / "file.txt").write_bytes(b"behind a link")
        for name in ("x.parquet", "numbers/x-0123456789abcdef.parquet", "record.json", f"{'0' * 40}"):
            (outside / "folder" / name).write_bytes(b"behind a link")
        if first:
            run_plan(run)
        yield run, outside


strewn = st.lists(st.tuples(st.sampled_from(WHERE), st.sampled_from(NAMES), st.sampled_from(KINDS)), max_size=4)
in_place = st.none() | st.tuples(st.sampled_from(FOLDERS + FILES), st.sampled_from(KINDS))
actions = st.lists(st.sampled_from(list(ACTIONS)), min_size=1, max_size=3)


@settings(max_examples=60)
@given(strewn, in_place, actions, st.none() | st.integers(0, 60))
@example([], ("tables", "link to a folder"), ["run"], None)
@example([], (RANGE, "link to a folder"), ["run another spec", "prune"], None)
@example([(RANGE, "mine.parquet", "file")], None, ["run another spec", "prune", "run"], None)
@example([("tables/results", "mine.parquet", "file")], None, ["run another spec", "run"], None)
def test_what_is_the_users_in_a_run_stays_through_everything(strewn, in_place, actions, steps):
    with a_run() as (run, outside):
        mine = dict.fromkeys(run / where / name for where, name, _ in strewn)
        for where, name, kind in strewn:
            if not os.path.lexists(run / where / name):
                put(run / where / name, kind, outside)
        if in_place is not None and not (in_place[1] == "file" and in_place[0] in FILES):
            place = run / in_place[0]
            place.rename(outside / "moved") if place.exists() else None
            mine = {path: None for path in mine if not path.is_relative_to(place)}
            put(place, in_place[1], outside)
            if in_place[1] != "folder" or in_place[0] in FILES:
                mine[place] = None
        before = {path: seen(path) for path in [*mine, outside]}
        for action in actions:
            with suppress(StoreError), killed_after(10**9 if steps is None else steps):
                ACTIONS[action](run)
            assert {path: seen(path) for path in before} == before, action
        assert not is_locked(run)


@settings(max_examples=15)
@given(actions, st.integers(0, 80), st.booleans())
def test_a_run_that_was_killed_anywhere_goes_on_and_is_whole(actions, steps, first):
    with a_run(first) as (run, _):
        for action in actions:
            with suppress(StoreError), killed_after(steps):
                ACTIONS[action](run)
        run_plan(run)
        found = verify(run)
        assert (found.damaged, found.missing, found.unknown) == ((), 0, ())
        prune_run(run)
        assert len(list((run / "store").iterdir())) == len(PLAN)
        left = {p.relative_to(run).as_posix() for p in run.rglob(".writing-*")} - {p.name for p in run.iterdir()}
        assert not left


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("kind", ["file", "link to a folder", "link to nothing", "pipe"])
def test_what_stands_in_the_place_of_a_folder_is_named_before_any_work(name, kind):
    with a_run() as (run, outside):
        (run / name).rename(outside / "moved")
        put(run / name, kind, outside)
        with pytest.raises(StoreError, match=rf"{name} is a (file|link|named pipe): a run needs a folder .* --out"):
            run_plan(run)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "folder", "pipe"])
def test_what_stands_in_the_place_of_a_file_is_named_before_any_work(name, kind):
    with a_run() as (run, outside):
        (run / name).rename(outside / "moved")
        put(run / name, kind, outside)
        with pytest.raises(StoreError, match=rf"{name} is a (link|folder|named pipe): a run needs a file .* --out"):
            run_plan(run)


def test_a_lock_that_is_another_file_is_not_emptied(tmp_path):
    (tmp_path / ".lock").write_text("my notes")
    with pytest.raises(StoreError, match="is not the lock of a run"), locked(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "my notes"


def test_a_lock_with_a_second_name_is_not_written(tmp_path):
    (tmp_path / "other").touch()
    (tmp_path / "run").mkdir()
    os.link(tmp_path / "other", tmp_path / "run" / ".lock")
    with locked(tmp_path / "run"):
        assert is_locked(tmp_path / "run")
    assert (tmp_path / "other").read_bytes() == b""


@pytest.mark.parametrize(
    "names",
    [["tables/results/x.parquet"], ["report.html"], ["thesis.tex"], ["store/notes.txt"], [".git/HEAD"], ["live/x"]],
)
def test_a_folder_that_holds_no_run_is_refused_and_nothing_is_made_in_it(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = seen(tmp_path)
    with pytest.raises(StoreError, match=r"is not empty and holds no run: it has .* Choose an empty or new folder"):
        run_plan(tmp_path)
    assert seen(tmp_path) == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"tasks": 1}',
        "[" * 5000,
        '{"tasks": 1, "fingerprints": {"a": "../../x"}, "functions": {}, "amounts": {}}',
    ],
)
def test_a_plan_that_is_not_ours_is_neither_followed_nor_replaced(tmp_path, content):
    (tmp_path / "plan.json").write_text(content)
    for action in (run_plan, prune_run, verify):
        with pytest.raises(StoreError, match=r"is not the plan of a run|holds no run"):
            action(tmp_path)
    assert seen(tmp_path) == ["folder", {"plan.json": ["file", content.encode()]}]


def test_what_a_killed_first_run_and_systems_leave_is_taken_for_an_empty_folder(tmp_path):
    for name in (".gitignore", ".DS_Store", ".plan.json.0a1b2c3d", f".writing-{'0' * 32}"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".lock").write_text(json.dumps({"host": "a", "pid": 1, "since": ""}))
    (tmp_path / "lost+found").mkdir()
    run_plan(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "x"


def test_a_store_that_was_moved_into_a_new_folder_is_reused(tmp_path):
    run_plan(tmp_path / "old")
    (tmp_path / "new").mkdir()
    (tmp_path / "old" / "store").rename(tmp_path / "new" / "store")
    check_ours(tmp_path / "new")
    assert len(examine(PLAN, tmp_path / "new").records) == len(PLAN)


def without_plan(run, kept):
    """A finished run whose plan.json is gone, or of which so many bytes are left."""
    run_plan(run)
    plan = run / "plan.json"
    whole = plan.read_bytes()
    plan.unlink()
    if kept is not None:
        plan.write_bytes(whole[:kept])
    return whole


@pytest.mark.parametrize("kept", [None, 0, 1, 300])
def test_a_plan_that_went_or_was_cut_short_is_written_anew_and_nothing_is_computed(tmp_path, kept):
    """The run refused the folder: the store had to be moved into a new one by hand."""
    run = tmp_path / "run"
    whole = without_plan(run, kept)
    if kept is not None:
        with pytest.raises(CorruptError, match="run the spec there again: what is finished is not computed again"):
            read_saved_plan(run)
    check_ours(run)
    found = examine(PLAN, run)
    assert len(found.records) == len(PLAN)
    assert found.damaged == (
        f"{run}/plan.json went, or is damaged: it is written anew, and what is finished is reused",
    )
    records = seen(run / "store")
    run_plan(run)
    assert (run / "plan.json").read_bytes() == whole
    assert seen(run / "store") == records
    assert examine(PLAN, run).damaged == ()


@pytest.mark.parametrize("what", ["notes.txt", "store/mine", "an older record", "a record that was changed"])
@pytest.mark.parametrize("kept", [None, 300])
def test_without_its_plan_a_folder_with_anything_else_is_refused_and_the_moved_store_is_reused(tmp_path, kept, what):
    run = tmp_path / "run"
    without_plan(run, kept)
    if "record" in what:
        for record in (run / "store").glob("*/record.json"):
            content = record.read_bytes()
            older = content.rpartition(b',\n "seal"')[0] + b"\n}"
            record.write_bytes(
                older if what == "an older record" else content.replace(b'"attempts": 1', b'"attempts": 2')
            )
    else:
        (run / what).write_text("mine")
    before = seen(run)
    with pytest.raises(StoreError, match="Choose an empty or new folder with --out"):
        run_plan(run)
    assert seen(run) == before


def test_a_run_folder_that_the_user_reaches_through_a_link_is_used(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    run_plan(tmp_path / "run")
    assert (tmp_path / "disk" / "plan.json").is_file()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="is a named pipe"):
        read_file(tmp_path / "pipe")


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(StoreError, match="leads out of the folder"):
        write_file(tmp_path / "run", "tables/../../x", b"")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
