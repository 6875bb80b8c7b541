"""A folder on an object store: S3, Google Cloud Storage or Azure, by URI.

There are no renames, links or locks there, and each call is a request that may fail for a moment. A file is written by
one request that puts it there whole, or not at all; a large one in parts that its last request makes a file. On Azure,
where Arrow puts an empty file there first, it is written under another name, and the store copies it. Requests that
fail for a moment are sent again, for half a minute; one that gets no answer, for two minutes.
"""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs

from intriguing.basics.folders.bucket_errors import explained, is_absence, is_passing, no_bucket
from intriguing.basics.folders.bucket_uri import SCHEMES, Address, file_system
from intriguing.basics.folders.files import at_home, is_temporary, temporary_name
from intriguing.basics.folders.folder import Look
from intriguing.basics.folders.presence import is_there
from intriguing.errors import InputError, StoreError

log = logging.getLogger(__name__)

A = TypeVar("A")
B = TypeVar("B")

PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before a request that failed for a moment is sent again."""
LONGEST = 120.0
"""Seconds after which a request is not sent again, however many pauses there were."""
_AT_ONCE = 16


def place_at(path: str | os.PathLike[str]) -> "Path | BucketFolder":
    """Where a run lies, from what the user gave: a path, or the URI of a folder on an object store.

    Raises:
        InputError: a URI that cannot be: ``file://``, ``http://``, ``s3:/``, an unknown one, one without a bucket.
        StoreError: the bucket does not exist, cannot be reached, or may not be looked at.
    """
    text = os.fspath(path)
    if "://" not in text:
        scheme, colon, rest = text.partition(":")
        if colon and scheme.lower() in SCHEMES and not is_there(text):
            raise InputError(f"{text!r} lacks a slash: write {scheme}://{rest.lstrip('/')} for a bucket.")
        return at_home(text)
    folder = BucketFolder(text)
    folder.check()
    return folder


class BucketFolder:
    """The folder that `uri` names; it is pickled as its URI, so that workers open it themselves.

    Raises:
        InputError: the URI cannot be one of a folder that a run is written to.
        StoreError: the store cannot be reached.
    """

    is_far: bool = True
    address: Address
    """What its URI says."""
    system: Any
    """The file system that it lies in, a `pyarrow.fs.FileSystem` (which has no types)."""
    root: str
    """Its path there."""

    def __init__(self, uri: str) -> None:
        self.address = Address.of(uri)
        self._uri = uri
        with self._told():
            self.system, self.root = file_system(self.address)
        self._seen: dict[str, Look] | None = None
        self._threads: ThreadPoolExecutor | None = None

    def __str__(self) -> str:
        return self.address.shown

    @property
    def again(self) -> str:
        """Its URI without keys."""
        return self.address.again

    def __truediv__(self, name: str) -> "BucketFolder":
        """The folder `name` in it."""
        return BucketFolder(self.address.below(name))

    def __reduce__(self) -> tuple[object, ...]:
        return BucketFolder, (self._uri,)

    @property
    def name(self) -> str:
        """The last part of its place."""
        return self.root.rpartition("/")[2]

    def check(self) -> None:
        """Look at the folder once: raises `StoreError` where its bucket does not exist, or may not be looked at."""
        bucket = self.root.partition("/")[0]
        with suppress(
            FileNotFoundError
        ):  # a folder that nothing is in yet; S3 tells it from a bucket that is not there
            self._again(lambda: self.system.get_file_info(fs.FileSelector(self.root)), PAUSES[:2])
        if self.root == bucket:
            return
        if self._again(lambda: self.system.get_file_info(self.root), PAUSES[:2]).type == fs.FileType.File:
            raise StoreError(f"{self} is a file. Choose a folder with --out.")

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return self._again(lambda: self._read(name))

    def write(self, name: str, content: bytes) -> None:
        """Put a file there."""
        try:
            self._again(lambda: self._write(name, content))
        except FileNotFoundError as error:  # Google's answer where there is no bucket
            raise no_bucket(self.address) from error

    def look(self, name: str) -> Look:
        """Size and time of the last change."""
        seen = self._seen.get(name) if self._seen is not None else None
        if seen is not None:
            return seen
        info = self._again(lambda: self.system.get_file_info(f"{self.root}/{name}"))
        if info.type != fs.FileType.File:
            raise FileNotFoundError(f"{self}/{name} does not exist")
        return _look(info)

    def sees(self, name: str) -> bool:
        """Whether a file is there, and this machine may look."""
        with suppress(OSError, pa.ArrowException):
            return self.system.get_file_info(f"{self.root}/{name}").type == fs.FileType.File
        return False

    @contextmanager
    def glance(self) -> Iterator[None]:
        """List everything once; `look` answers from that, but for what came or was changed here meanwhile."""
        outer = self._seen
        if outer is None:
            self._seen = self.tree("")
        try:
            yield
        finally:
            self._seen = outer

    @property
    def is_glancing(self) -> bool:
        """Whether `look` costs nothing at present."""
        return self._seen is not None

    def tree(self, where: str) -> dict[str, Look]:
        """How every file below the folder `where` looks, by name."""
        return {self._name_of(info): _look(info) for info in self._list(where, True) if info.type == fs.FileType.File}

    def is_one(self, one: str, other: str) -> bool:
        """No file has two names."""
        return False

    def link(self, source: str, target: str) -> None:
        """Have the store copy a file."""
        self._again(lambda: self.system.copy_file(f"{self.root}/{source}", f"{self.root}/{target}"))
        self._forget(target)

    def rename(self, old: str, new: str) -> None:
        """Copy a file, then remove it under its old name."""
        self.link(old, new)
        where, _, last = old.rpartition("/")
        self.remove(where, [last])

    def remove(self, where: str, names: Collection[str]) -> None:
        """Delete files, several at a time."""
        for _ in self.side_by_side(lambda name: self._delete(f"{where}/{name}".lstrip("/")), names):
            pass

    def files(self, where: str) -> set[str]:
        """The names of the files in a folder."""
        return {info.base_name for info in self._list(where, False) if info.type == fs.FileType.File}

    def folders(self, where: str) -> list[str]:
        """The names of the folders in a folder."""
        if self.address.is_google:  # where Arrow lists none that nobody made as such
            names = (name.removeprefix(where).lstrip("/") for name in self.tree(where))
            return sorted({name.partition("/")[0] for name in names if "/" in name})
        return [info.base_name for info in self._list(where, False) if info.type == fs.FileType.Directory]

    def drop(self, where: str) -> bool:
        """Remove the mark of a folder that nothing is in."""
        if self._list(where, True):
            return False
        with suppress(FileNotFoundError):
            self._again(lambda: self.system.delete_dir(f"{self.root}/{where}"))
        return True

    def clear(self, where: str, older_than: float = float("inf")) -> None:
        """Nothing is ever left half-written, but on Azure below another name, in the folder itself."""
        if self.address.is_azure and not where:
            old = [info for info in self._list("", False) if is_temporary(info.base_name)]
            self.remove("", [info.base_name for info in old if (info.mtime_ns or 0) / 1e9 < older_than])

    def side_by_side(self, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """`function` of every item, sixteen at a time."""
        self._threads = self._threads or ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="bucket")
        return self._threads.map(function, items)

    def _read(self, name: str) -> bytes:
        with self.system.open_input_file(f"{self.root}/{name}") as stream:
            size = stream.size()
            content = stream.read()
        if len(content) != size:
            raise OSError(f"{name} has {size} bytes, and {len(content)} came")
        return content

    def _write(self, name: str, content: bytes) -> None:
        if self.address.is_azure:
            passing = temporary_name()
            try:
                self._put(passing, content)
                self.system.copy_file(f"{self.root}/{passing}", f"{self.root}/{name}")
            finally:
                with suppress(OSError, pa.ArrowException):  # what stays is cleared by a later driver
                    self.system.delete_file(f"{self.root}/{passing}")
        else:
            self._put(name, content)
        self._forget(name)

    def _put(self, name: str, content: bytes) -> None:
        stream = self.system.open_output_stream(f"{self.root}/{name}")
        stream.write(content)
        stream.close()  # here it comes into being; not where writing failed or was interrupted

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._again(lambda: self.system.delete_file(f"{self.root}/{name}"))
        self._forget(name)

    def _forget(self, name: str) -> None:
        """Look at a file anew that is written or removed during a glance."""
        if self._seen is not None:
            self._seen.pop(name, None)

    def _list(self, where: str, recursive: bool) -> list[fs.FileInfo]:
        path = f"{self.root}/{where}".rstrip("/")
        selector = fs.FileSelector(path, recursive=recursive, allow_not_found=True)
        return self._again(lambda: self.system.get_file_info(selector))

    def _name_of(self, info: fs.FileInfo) -> str:
        return info.path[len(self.root) + 1 :]

    def _again(self, request: Callable[[], B], pauses: Iterable[float] | None = None) -> B:
        """What a request gives, sent again where it failed for a moment; raises `StoreError` where it does not pass."""
        with self._told():
            until = time.monotonic() + LONGEST
            for pause in PAUSES if pauses is None else pauses:
                try:
                    return request()
                except (FileNotFoundError, pa.ArrowInvalid):
                    raise
                except (OSError, pa.ArrowException) as error:
                    if is_absence(error):
                        raise FileNotFoundError(str(error)) from error
                    if not is_passing(error) or time.monotonic() > until:
                        raise
                    log.debug("%s: %s; again in %g s", self, error, pause)
                time.sleep(pause)
            return request()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, StoreError):
            raise
        except (OSError, pa.ArrowException) as error:
            raise explained(error, self.address) from error


def _look(info: fs.FileInfo) -> Look:
    return [info.size or 0, info.mtime_ns or 0, 0]
