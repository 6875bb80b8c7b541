"""What is said where something cannot be written, before the work and in it."""

import errno
import os
from types import SimpleNamespace

import pytest

from intriguing.basics.folders.files import (
    check_can_write,
    clear_temporaries,
    is_table_file,
    names_in,
    opened,
    temporary_name,
    write_file,
    writing,
)
from intriguing.errors import CorruptError, StoreError


def test_what_the_system_refuses_is_told_with_what_to_do_instead():
    said = r"^x/page.html cannot be written \(No space left on device\)\. Go there\.$"
    with pytest.raises(StoreError, match=said), writing("x/page.html", "Go there."):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x/page.html")


def test_so_it_is_where_the_file_was_written_by_the_run_s_own_means(tmp_path):
    (tmp_path / "file").write_text("")
    said = r"cannot be written \(Not a directory\)\. Go there\.$"
    with pytest.raises(StoreError, match=said), writing("the page", "Go there."):
        write_file(tmp_path / "file", "page.html", b"")


def test_what_stands_in_the_way_and_damage_are_told_as_ever(tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(StoreError, match="is a folder: a run needs a file"), writing("the page", "Go there."):
        write_file(tmp_path, "page.html", b"")
    with pytest.raises(CorruptError, match="damaged"), writing("the page", "Go there."):
        raise CorruptError("damaged") from OSError(errno.EIO, "x")


def test_all_of_a_file_is_on_its_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []

    def syncing(handle):
        synced.append((os.fstat(handle).st_size, (tmp_path / "a").exists()))

    monkeypatch.setattr(os, "fsync", syncing)
    write_file(tmp_path, "a", b"content")
    assert synced == [(len(b"content"), False)] and (tmp_path / "a").read_bytes() == b"content"


def test_temporary_files_are_removed_where_they_are_older(tmp_path):
    old, new, other = (tmp_path / name for name in (temporary_name(), temporary_name(), "data.txt"))
    for path, changed in ((old, 100), (new, 200), (other, 100)):
        path.write_text("")
        os.utime(path, (changed, changed))
    with opened(tmp_path) as folder:
        clear_temporaries(folder, older_than=200)
        assert names_in(tmp_path) == sorted([new.name, "data.txt"])
        clear_temporaries(folder)
    assert names_in(tmp_path) == ["data.txt"]


def test_files_of_tables_are_known_by_their_names_and_hidden_ones_are_none():
    ours = ("part-00000-0123456789abcdef.parquet", "search.1-0123456789abcdef.parquet", "tasks.parquet")
    assert all(map(is_table_file, ours))
    others = (f".{ours[0]}", ".tasks.parquet", "part-0123456789abcde.parquet", f"{ours[0]}.bak", "mine.parquet")
    assert not any(map(is_table_file, others))


def test_a_folder_that_cannot_be_written_is_known_before_work(tmp_path, monkeypatch):
    check_can_write(tmp_path)
    check_can_write(tmp_path / "new" / "one")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        check_can_write(tmp_path / "file" / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(PermissionError):
            check_can_write(tmp_path / "new")
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(OSError, match="Read-only file system"):
        check_can_write(tmp_path)
