"""A run's folder: on a disk (`LocalFolder`), or below a prefix of an object store (`intriguing.basics.folders.bucket`).

Its files go by names below it ("store/FP/record.json"). What both kinds of folder give: a file is written whole or not
at all, and nothing is read, replaced or removed that is not a file.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Protocol, TypeVar

from intriguing.basics.folders.files import (
    clear_temporaries,
    explaining,
    link_file,
    opened,
    read_file,
    regular_files,
    write_file,
)
from intriguing.basics.folders.presence import is_there

A = TypeVar("A")
B = TypeVar("B")

Look = list[int]
"""How a file looks: size in bytes, time of the last change in ns, inode (0 on an object store)."""


class Folder(Protocol):
    """What a run needs of the folder that holds it. `str()` of it is what people are shown.

    Errors: `StoreError` says what stands in the way or that the disk or the store refuses; `FileNotFoundError` is
    raised by `read` and `look`; another `OSError` may come through where a caller names the folder (`explaining`).
    """

    is_far: bool
    """Whether each call is a request over a network: then ask for many things at once, and seldom."""

    @property
    def again(self) -> str:
        """What opens it again as --out: its path, or its URI without keys."""
        ...

    @property
    def name(self) -> str:
        """The last part of its place."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a file."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file: whoever reads it meanwhile sees the old content or the new one."""
        ...

    def look(self, name: str) -> Look:
        """How a file looks now; as `glance` found it, inside of one."""
        ...

    def sees(self, name: str) -> bool:
        """Whether a file is there, as far as this machine sees: asked once, also where the network fails."""
        ...

    def glance(self) -> AbstractContextManager[None]:
        """Inside of it, `look` may answer from one look at everything: for many files that nobody changes."""
        ...

    @property
    def is_glancing(self) -> bool:
        """Whether `look` answers from a glance at present."""
        ...

    def tree(self, where: str) -> dict[str, Look]:
        """How every file below the folder `where` looks, by name ("store/FP/record.json")."""
        ...

    def is_one(self, one: str, other: str) -> bool:
        """Whether two names mean one file (hard links)."""
        ...

    def link(self, source: str, target: str) -> None:
        """Make `target` a file with the content of `source`: a hard link where there are any, else a copy."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file another name in the folder that it is in."""
        ...

    def remove(self, where: str, names: Collection[str]) -> None:
        """Remove the files `names` of the folder `where`; what is no file, or not there, is left alone."""
        ...

    def files(self, where: str) -> set[str]:
        """The names of the files in the folder `where`; none where there is no such folder."""
        ...

    def folders(self, where: str) -> list[str]:
        """The names of the folders in the folder `where`."""
        ...

    def drop(self, where: str) -> bool:
        """Remove the folder `where` if nothing is in it; whether it is gone."""
        ...

    def clear(self, where: str, older_than: float = float("inf")) -> None:
        """Remove what a killed process left half-written in the folder `where`, last changed before `older_than`."""
        ...

    def side_by_side(self, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """`function` of every item, in order: at the same time where waiting is what takes long."""
        ...


Place = Path | Folder
"""Where a run lies: a path, or any folder."""


class LocalFolder:
    """A folder of the file system, which may be shared by machines. No link below it is followed."""

    is_far = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def again(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.name

    def read(self, name: str) -> bytes:
        """The content of a regular file."""
        return read_file(f"{self.path}/{name}")

    def write(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name, and rename it."""
        write_file(self.path, name, content)

    def look(self, name: str) -> Look:
        """Size, time and inode, by lstat."""
        status = os.lstat(f"{self.path}/{name}")
        return [status.st_size, status.st_mtime_ns, status.st_ino]

    def sees(self, name: str) -> bool:
        """Whether a file is there."""
        return is_there(self.path / name)

    def glance(self) -> AbstractContextManager[None]:
        """Every look is a look at the disk."""
        return nullcontext()

    @property
    def is_glancing(self) -> bool:
        """Never."""
        return False

    def tree(self, where: str) -> dict[str, Look]:
        """How every regular file below a folder looks."""
        found = {f"{where}/{name}".lstrip("/"): self.look(f"{where}/{name}") for name in self.files(where)}
        for name in self.folders(where):
            found |= self.tree(f"{where}/{name}".lstrip("/"))
        return found

    def is_one(self, one: str, other: str) -> bool:
        """Whether two names mean one inode."""
        first, second = os.lstat(self.path / one), os.lstat(self.path / other)
        return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)

    def link(self, source: str, target: str) -> None:
        """Make a hard link, or a copy where the file system has none."""
        link_file(self.path, source, target)

    def rename(self, old: str, new: str) -> None:
        """Rename a file in its folder."""
        where, _, last = old.rpartition("/")
        with opened(self.path, where) as handle:
            os.rename(last, new.rpartition("/")[2], src_dir_fd=handle, dst_dir_fd=handle)

    def remove(self, where: str, names: Collection[str]) -> None:
        """Unlink regular files."""
        with suppress(FileNotFoundError), opened(self.path, where) as handle:
            for name in regular_files(handle).intersection(names):
                os.unlink(name, dir_fd=handle)

    def files(self, where: str) -> set[str]:
        """The names of the regular files in a folder."""
        with suppress(FileNotFoundError), opened(self.path, where) as handle:
            return regular_files(handle)
        return set()

    def folders(self, where: str) -> list[str]:
        """The names of the folders in a folder; links to folders are none."""
        with suppress(FileNotFoundError), opened(self.path, where) as handle, os.scandir(handle) as entries:
            return [e.name for e in entries if e.is_dir(follow_symlinks=False)]
        return []

    def drop(self, where: str) -> bool:
        """Remove an empty folder."""
        above, _, last = where.rpartition("/")
        with opened(self.path, above) as handle, suppress(OSError):
            os.rmdir(last, dir_fd=handle)
            return True
        return False

    def clear(self, where: str, older_than: float = float("inf")) -> None:
        """Remove temporary files from a folder."""
        with explaining(self.path), suppress(FileNotFoundError), opened(self.path, where) as handle:
            clear_temporaries(handle, older_than)

    def side_by_side(self, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """One after another: a disk answers at once."""
        return map(function, items)


def told_again(place: Place) -> str:
    """What opens `place` again as --out."""
    return str(place) if isinstance(place, Path) else place.again


def folder_at(place: Place) -> Folder:
    """The folder at `place`."""
    return LocalFolder(place) if isinstance(place, Path) else place
