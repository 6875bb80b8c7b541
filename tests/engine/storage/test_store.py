"""The store: an output is there whole or not at all, and what is wrong with a folder is said."""

import errno
import fcntl
import hashlib
import os
import stat
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from intriguing.basics.folders import files
from intriguing.basics.folders.files import temporary_name
from intriguing.engine.storage import store as store_module
from intriguing.engine.storage.lock import is_locked, locked
from intriguing.engine.storage.store import Record, Store
from intriguing.errors import CorruptError, LockedError, StoreError

TABLE = pa.table({"id": [1, 2, 3]})
RECORD = Record("task", "x:y", {})
F = "f" * 40


def test_what_was_written_is_read_back(tmp_path):
    store = Store(tmp_path / "store")
    record = store.write(F, {"rows": TABLE, "weights": b"abc"}, RECORD)
    assert store.read(F, "rows").equals(TABLE)
    assert store.read(F, "weights") == b"abc"
    assert store.find(F) == (record, "")
    assert record.outputs["rows"].rows == 3


@pytest.mark.parametrize("value", [3, "text", None, [1, 2], {"a": 1}])
def test_an_output_that_is_neither_table_nor_bytes_is_refused_by_name(tmp_path, value):
    with pytest.raises(TypeError, match="The output 'weights' is a .*: a task gives tables and bytes"):
        Store(tmp_path).write(F, {"rows": TABLE, "weights": value}, RECORD)
    assert not (tmp_path / F).exists()


@pytest.mark.parametrize(("size", "counts"), [(1, {9}), (1000, {2, 3, 4, 5}), (1 << 30, {1})])
def test_a_table_is_read_some_rows_at_a_time(tmp_path, monkeypatch, size, counts):
    store, numbers = Store(tmp_path), pa.array([[i] * 100 for i in range(9)], pa.list_(pa.float32()))
    store.write(F, {"rows": pa.table({"id": list(range(9)), "image": numbers, "name": ["n"] * 9})}, RECORD)
    monkeypatch.setattr(store_module, "_SLICE", size)
    slices = list(store.slices(F, "rows", ["id", "image"]))
    assert len(slices) in counts
    assert pa.concat_tables(slices).equals(store.read(F, "rows", ["id", "image"]))


def test_a_file_is_not_in_memory_while_its_rows_are_read(tmp_path):
    store, rng = Store(tmp_path), np.random.default_rng(0)
    pixels = pa.array(rng.random(3 << 22, np.float32))  # 48 MB, which do not compress
    images = pa.ListArray.from_arrays(np.arange(0, (3 << 22) + 1, 1 << 17, dtype=np.int32), pixels)
    store.write(F, {"rows": pa.table({"image": images})}, RECORD)
    tracemalloc.start()
    before, most = pa.total_allocated_bytes(), 0
    for part in store.slices(F, "rows"):
        most = max(most, pa.total_allocated_bytes() - before)
        assert len(part)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / F / "rows.parquet").stat().st_size > 40e6
    assert python < 4e6
    assert most < 40e6


def test_what_was_changed_is_not_read_by_rows(tmp_path):
    store = Store(tmp_path)
    store.write(F, {"rows": TABLE}, RECORD)
    content = bytearray((tmp_path / F / "rows.parquet").read_bytes())
    content[20] ^= 1
    (tmp_path / F / "rows.parquet").write_bytes(content)
    with pytest.raises(CorruptError, match="was changed after it was written"):
        list(store.slices(F, "rows"))


def test_a_column_that_earlier_code_did_not_write_is_left_out(tmp_path):
    store = Store(tmp_path / "store")
    store.write(F, {"rows": TABLE}, RECORD)
    assert store.read(F, "rows", ["later", "id"]).equals(TABLE)


def test_nothing_is_there_before_the_last_byte_is(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    monkeypatch.setattr(Store, "_rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.write(F, {"rows": TABLE}, RECORD)
    assert store.find(F) == (None, "")
    assert store.fingerprints() == set()
    store.prepare()
    assert list((tmp_path / "store").iterdir()) == []


def test_a_late_duplicate_replaces_what_is_there(tmp_path):
    store = Store(tmp_path)
    store.write(F, {"rows": TABLE}, RECORD)
    store.write(F, {"rows": TABLE}, RECORD)
    assert store.read(F, "rows").equals(TABLE)
    assert store.fingerprints() == {F}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "rows.parquet").write_bytes(b"PAR1"), r"rows.parquet has 4 bytes where \d+ were written"),
        (
            lambda f: (f / "rows.parquet").write_bytes(bytes(9999)),
            r"rows.parquet has 9999 bytes where \d+ were written",
        ),
        (lambda f: (f / "rows.parquet").unlink(), "rows.parquet is missing"),
        (lambda f: (f / "record.json").write_text("{"), "record.json cannot be read"),
        (lambda f: (f / "record.json").unlink(), "has no record.json"),
    ],
)
def test_damage_is_found_and_named(tmp_path, damage, message):
    store = Store(tmp_path)
    store.write(F, {"rows": TABLE}, RECORD)
    damage(store.folder(F))
    record, wrong = store.find(F)
    assert record is None
    with pytest.raises(CorruptError, match=message):
        raise CorruptError(wrong)


def test_a_changed_byte_is_found_when_it_is_read(tmp_path):
    store = Store(tmp_path)
    store.write(F, {"weights": b"abc"}, RECORD)
    (store.folder(F) / "weights.bin").write_bytes(b"abd")
    with pytest.raises(CorruptError, match="was changed after it was written") as caught:
        store.read(F, "weights")
    assert caught.value.sha256 == hashlib.sha256(b"abd").hexdigest()


def test_a_record_goes_last_and_comes_last(tmp_path, monkeypatch):
    """It names the outputs: a kill between two files leaves a folder whose rest is known, or one without a record."""
    store, did = Store(tmp_path), []
    store.write(F, {"rows": TABLE, "weights": b"abc", "zebra": b""}, RECORD)
    (store.folder(F) / "notes.txt").write_text("the user's")  # so that files are moved one by one
    for name in ("unlink", "rename"):
        done = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _do=done, _of=name, **k: (did.append((_of, a[-1])), _do(*a, **k))[1])
    store.write(F, {"rows": TABLE, "weights": b"abd", "zebra": b""}, RECORD)
    for name in ("unlink", "rename"):
        files = [file for of, file in did if of == name and file != F]
        assert sorted(files) == ["record.json", "rows.parquet", "weights.bin", "zebra.bin"]
        assert files[-1] == "record.json"
    assert store.read(F, "weights") == b"abd"
    assert (store.folder(F) / "notes.txt").exists()


def test_a_link_under_a_temporary_name_is_neither_followed_nor_an_error(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "record.json").write_text("the user's")
    store = Store(tmp_path / "store")
    store.prepare()
    (tmp_path / "store" / temporary_name()).symlink_to(tmp_path / "mine")
    store.prepare()
    assert (tmp_path / "mine" / "record.json").read_text() == "the user's"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EDQUOT, "Your quota on the disk of .* is used up. Free some space, then run the same command"),
        (errno.EFBIG, "[(]File too large[)]. Raise the limit .`ulimit -f` shows it.*run the same command to continue"),
        (errno.EROFS, "Read-only file system[)]. Make it writable, then run the same command to continue, or choose"),
        (errno.EIO, "Input/output error[)]. Look after its disk or network drive, then run the same command"),
        (errno.ESTALE, "[(]Stale file handle[)]. Look after its disk or network drive, then run the same command"),
    ],
)
def test_a_disk_that_fails_is_said_with_what_to_do(code, said, tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(code, os.strerror(code), ".writing-ab")

    monkeypatch.setattr(store_module.os, "fsync", failing)
    with pytest.raises(StoreError, match=said):
        Store(tmp_path).write(F, {"rows": TABLE}, RECORD)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_fsync_is_told_of_once_and_written(code, tmp_path, monkeypatch, caplog):
    """Every run on such a mount ended with "Look after its disk or network drive"."""

    def not_offered(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(store_module.os, "fsync", not_offered)
    files._tell_unsynced.cache_clear()
    store = Store(tmp_path)
    for fingerprint in (F, "a" * 40):
        store.write(fingerprint, {"rows": TABLE}, RECORD)
        assert store.read(fingerprint, "rows") == TABLE
    assert caplog.text.count(f"(fsync: {os.strerror(code)})") == 1


@pytest.mark.parametrize("name", ["record.json", "rows.parquet"])
def test_a_stored_file_that_the_disk_does_not_give_is_told_with_what_to_do(name, tmp_path, monkeypatch):
    """It was "cannot be read: [Errno 5] Input/output error."; of an output, the system's words alone."""
    store = Store(tmp_path)
    store.write(F, {"rows": TABLE}, RECORD)
    open_file = os.open

    def failing(path, *rest, **named):
        if str(path).endswith(name):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return open_file(path, *rest, **named)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(StoreError, match=f"{name} cannot be read [(]Input/output error[)]. Look after its disk"):
        store.read(F, "rows")


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = Store(tmp_path)
    monkeypatch.setattr(store_module.os, "fsync", full)
    with pytest.raises(StoreError, match="is full. Free some space, then run the same command to continue"):
        store.write(F, {"rows": TABLE}, RECORD)
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(StoreError, match="is, or lies below, a file. Choose a folder with --out"),
        locked(tmp_path / "run"),
    ):
        pass


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refused)  # root may write anywhere: mode bits alone show nothing here
    with pytest.raises(StoreError, match="cannot be written .* choose another folder with --out"), locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_told_as_what_it_is(tmp_path, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path / "run"):
        assert f"the file system of {tmp_path / 'run'} has no locks (No locks available)" in caplog.text
        assert not is_locked(tmp_path / "run")


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ENOTCONN])
def test_a_lock_that_fails_is_told_as_the_disk_s_fault_and_not_as_another_driver(tmp_path, monkeypatch, code):
    """A stale handle of a network drive was "in use by another driver (it did not say which)"."""

    def fails(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(StoreError, match=f"{os.strerror(code)}.*Look after its disk") as told, locked(tmp_path):
        pass
    assert not isinstance(told.value, LockedError)
    assert not is_locked(tmp_path)


def test_a_process_that_a_users_code_left_running_does_not_hold_the_folder(tmp_path):
    """The next run was refused: "in use by another driver", which was none, until that process ended."""
    waiting, ending = os.pipe()
    begun, beginning = os.pipe()
    with locked(tmp_path):
        child = os.fork()
        if not child:
            os.close(ending)
            os.write(beginning, b"1")
            os.read(waiting, 1)
            os._exit(0)
    try:
        assert os.read(begun, 1)
        assert not is_locked(tmp_path)
        with locked(tmp_path):
            pass
    finally:
        os.close(ending)
        os.waitpid(child, 0)
        for handle in (waiting, begun, beginning):
            os.close(handle)


def test_files_can_be_read_by_others(tmp_path):
    Store(tmp_path).write(F, {"rows": TABLE}, RECORD)
    assert (tmp_path / F / "rows.parquet").stat().st_mode & stat.S_IRUSR
