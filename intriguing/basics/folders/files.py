"""Files of a run folder: read, written and removed without ever following a link, and only under names that are ours.

A file is named by the folder that the user gave and a name below it ("tables/models/x.parquet"). The user's folder may
be reached through links; below it, every folder is opened without following any, and new content is written under a
random temporary name and takes its place by renaming: what lies behind a link, or under another hard link, stays.
"""

import errno
import logging
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from intriguing.errors import CorruptError, InputError, LockedError, StoreError

log = logging.getLogger(__name__)

NOT_OFFERED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
"""What a network mount answers where it does not do what is asked."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = re.compile(r"\.writing-[0-9a-f]{32}")
_TABLE_FILE = re.compile(r"[A-Za-z0-9._-]+-[0-9a-f]{16}\.parquet|tasks\.parquet|failures\.parquet")
_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def at_home(path: str | os.PathLike[str]) -> Path:
    """`path`, whose leading ``~`` means the home folder, as in a shell; the result never starts with ``~``.

    Otherwise a folder called ``~`` would be made here, while Arrow reads the home folder. ``./~/x`` is a folder here.

    Raises `InputError` for a URI (``s3://bucket/x``): it would become a folder called ``s3:`` here; and for a path that
    is not UTF-8, itself or by the working folder, for Arrow opens no file there.
    """
    if "://" in os.fspath(path):
        raise InputError(
            f"{without_secrets(os.fspath(path))} is a URI, and this is written to or read from a path of this machine: "
            "give a path. (A run's own folder, --out of `intriguing run`, may be a URI.)"
        )
    found = expanded(path)
    with suppress(OSError):  # the working folder is gone
        check_utf8(found.absolute())
    return found.absolute() if str(found).startswith("~") else found


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path` with ``~`` as the home folder; unchanged where there is none, as for ``~NAME`` of nobody."""
    return Path(os.path.expanduser(os.fspath(path)))  # noqa: PTH111 (that of Path drops the ./, and raises for nobody)


def check_utf8(path: Path) -> None:
    """Raise `InputError` where `path` is not UTF-8: Python takes any bytes for a name, and Arrow does not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"The path {os.fsencode(path)!r} is not in UTF-8, and tables cannot be read there: rename the folder, or "
            "choose another."
        ) from None


def without_secrets(uri: str) -> str:
    """s3://KEY:SECRET@bucket/run?option=value as s3://bucket/run: paths end up in messages and on pages.

    Of Azure the name before the ``@`` stays, since it says where the folder is.
    """
    plain = uri.partition("?")[0]
    if plain.lower().startswith(("abfs://", "abfss://")):
        return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1@", plain)
    return re.sub(r"(?<=://)[^/@]*@", "", plain)


def temporary_name() -> str:
    """A random name for something that is being written: `.writing-` and 32 hexadecimal digits."""
    return f".writing-{uuid.uuid4().hex}"


def is_temporary(name: str) -> bool:
    """Whether `name` is of the form of `temporary_name`."""
    return _TEMPORARY.fullmatch(name) is not None


def is_table_file(name: str) -> bool:
    """Whether `name` is one that a run gives to a file below tables/: only these are read as tables, or removed."""
    return _TABLE_FILE.fullmatch(name) is not None and not name.startswith(".")


@contextmanager
def opened(root: Path, where: str = "", make: bool = False) -> Iterator[int]:
    """A descriptor of the folder `where` ("tables/models") below `root`; with `make`, both are made if absent.

    Raises:
        StoreError: a link, or something else that is no folder, stands on the way below `root`.
        OSError: the folder is absent, or cannot be opened or made.
    """
    handle = _root(root, make)
    try:
        for part in filter(None, where.split("/")):
            inner = _step(handle, part, f"{root}/{where}", make)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def _root(root: Path, make: bool) -> int:
    try:
        return os.open(root, _FOLDER)
    except FileNotFoundError:
        if not make:
            raise
    root.mkdir(parents=True, exist_ok=True)
    return os.open(root, _FOLDER)


def _step(handle: int, part: str, path: str, make: bool) -> int:
    if part == "..":
        raise StoreError(f"{path} leads out of the folder. Nothing is written there.")
    try:
        try:
            return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
        except FileNotFoundError:
            if not make:
                raise
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=handle)
        return os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise obstacle(Path(path), "a folder") from error
        raise


def obstacle(path: Path, needed: str) -> StoreError:
    """The error for something at `path` that is not ours and stands where a run needs `needed` ("a file")."""
    try:
        mode = os.lstat(path).st_mode
        kind = next((name for test, name in _KINDS if test(mode)), "a device")
    except OSError:
        kind = "something else"
    return StoreError(
        f"{path} is {kind}: a run needs {needed} of its own there, and neither follows links nor replaces what is not "
        "its own. Move it away, or choose another folder with --out."
    )


def check_free(folder: int, name: str, path: Path) -> None:
    """Raise `StoreError` if anything but a regular file stands at `name` in `folder`; `path` is for the error."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise obstacle(path, "a file")


def read_file(path: str | Path) -> bytes:
    """The content of a regular file; raises `StoreError` for a link or a pipe, and any other `OSError` as it comes."""
    with open(open_file(path), "rb", buffering=0) as file:  # unbuffered: 100,000 records are read so
        return file.read()


def open_file(path: str | Path) -> int:
    """A descriptor for reading the regular file `path`; raises as `read_file`. A named pipe is never waited for."""
    try:
        handle = os.open(path, _READ)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise obstacle(Path(path), "a file") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise obstacle(Path(path), "a file")
    return handle


def write_file(root: Path, name: str, content: bytes) -> None:
    """Write `content` to `name` below `root` so that a reader sees the old file or the new one, never half of one.

    Raises:
        StoreError: something that is not a file of ours stands there or on the way, or the disk refuses.
    """
    where, _, last = name.rpartition("/")
    with explaining((root / name).parent), opened(root, where, make=True) as folder:
        check_free(folder, last, root / name)
        with _replacing(folder, last) as temporary:
            write_new(folder, temporary, content)


def link_file(root: Path, source: str, target: str) -> None:
    """Make `target` below `root` the file `source` below it: a hard link, or a copy where links cannot be made.

    Raises:
        StoreError: as `write_file`.
    """
    (source_folder, _, name), (target_folder, _, last) = source.rpartition("/"), target.rpartition("/")
    with (
        explaining(f"{root}/{target_folder}"),
        opened(root, source_folder) as origin,
        opened(root, target_folder, make=True) as folder,
    ):
        with suppress(OSError):  # mostly nothing stands there yet, and links can be made
            os.link(name, last, src_dir_fd=origin, dst_dir_fd=folder, follow_symlinks=False)
            return
        check_free(folder, last, root / target)
        with _replacing(folder, last) as temporary:
            try:
                os.link(name, temporary, src_dir_fd=origin, dst_dir_fd=folder, follow_symlinks=False)
            except OSError:
                _copy(origin, name, folder, temporary)


@contextmanager
def _replacing(folder: int, name: str) -> Iterator[str]:
    """A temporary name in `folder`; what the caller makes under it takes the place of `name` when all went well."""
    temporary = temporary_name()
    try:
        yield temporary
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        # Gone after the renaming, unless both were links to one file: renaming does nothing then.
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)


def _copy(origin: int, name: str, folder: int, temporary: str) -> None:
    with (
        os.fdopen(os.open(name, _READ, dir_fd=origin), "rb") as old,
        os.fdopen(os.open(temporary, _NEW, 0o666, dir_fd=folder), "wb") as new,
    ):
        shutil.copyfileobj(old, new, 1 << 20)


def write_new(folder: int, name: str, content: bytes) -> None:
    """Write a new file into the open `folder`, synced; raises `FileExistsError` where there is one."""
    with os.fdopen(os.open(name, _NEW, 0o666, dir_fd=folder), "wb") as file:
        file.write(content)
        file.flush()
        sync(file.fileno())


def sync(handle: int) -> None:
    """Wait until an open file or folder is on its disk; a file system that cannot say so is told of in a warning."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise
        _tell_unsynced(os.strerror(error.errno))


@cache
def _tell_unsynced(reason: str) -> None:
    log.warning(
        "the file system does not say when a file is on its disk (fsync: %s): after a power failure files may be "
        "damaged; they are found and computed again",
        reason,
    )


def names_in(folder: int | Path) -> list[str]:
    """The names of everything in a folder, sorted."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries)


def regular_files(folder: int) -> set[str]:
    """The names of the regular files in the open `folder`."""
    with os.scandir(folder) as entries:
        return {e.name for e in entries if e.is_file(follow_symlinks=False)}


def clear_temporaries(folder: int, older_than: float = float("inf")) -> None:
    """Remove the temporary files that a killed process left in the open `folder`, last changed before `older_than`."""
    for name in filter(is_temporary, regular_files(folder)):
        with suppress(FileNotFoundError):
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < older_than:
                os.unlink(name, dir_fd=folder)


@contextmanager
def explaining(folder: object) -> Iterator[None]:
    """Turns an `OSError` met below `folder` into a `StoreError` that says what to do."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise explained(error, folder) from error


@contextmanager
def writing(what: object, instead: str) -> Iterator[None]:
    """Turns what the system refuses while `what` is written into a `StoreError` that ends with what to do instead."""
    try:
        yield
    except StoreError as error:
        refused = error.__cause__
        if isinstance(error, CorruptError | LockedError) or not isinstance(refused, OSError):
            raise
        raise StoreError(f"{what} cannot be written ({_reason(refused)}). {instead}") from error
    except OSError as error:
        raise StoreError(f"{what} cannot be written ({_reason(error)}). {instead}") from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def check_can_write(folder: Path) -> None:
    """Raise the `OSError` of writing into `folder`, which may not exist yet, before work that could not be kept."""
    there = next(part for part in (folder, *folder.absolute().parents) if part.exists())
    if not there.is_dir():
        raise _refusal(errno.ENOTDIR, there)
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        raise _refusal(errno.EROFS, there)
    if not os.access(there, os.W_OK | os.X_OK):
        raise _refusal(errno.EACCES, there)


def _refusal(code: int, path: Path) -> OSError:
    return OSError(code, os.strerror(code), str(path))


def unreadable(error: OSError, path: object) -> StoreError:
    """An `OSError` met while reading `path`, as an error that says what to do."""
    if isinstance(error, PermissionError):
        return StoreError(f"{path} cannot be read. {error.strerror}: ask its owner for the right to read it.")
    return StoreError(
        f"{path} cannot be read ({error.strerror or error}). Look after its disk or network drive, then give the same "
        "command again."
    )


def explained(error: OSError, folder: object) -> StoreError:
    """An `OSError` met while writing below `folder`, as an error that says what to do."""
    if error.errno == errno.ENOSPC:
        return StoreError(f"The disk of {folder} is full. Free some space, then run the same command to continue.")
    if error.errno == errno.EDQUOT:
        return StoreError(
            f"Your quota on the disk of {folder} is used up. Free some space, then run the same command to continue."
        )
    if error.errno == errno.EFBIG:
        return StoreError(
            f"A file in {folder} is larger than this process or its disk may have files ({error.strerror}). Raise the "
            "limit (`ulimit -f` shows it), then run the same command to continue."
        )
    if isinstance(error, PermissionError):
        return StoreError(
            f"{folder} cannot be written or read ({error.strerror}). Choose another folder with --out, or ask its "
            "owner for the right to."
        )
    if error.errno == errno.EROFS:
        return StoreError(
            f"{folder} cannot be written ({error.strerror}). Make it writable, then run the same command to continue, "
            "or choose another folder with --out."
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return StoreError(f"{folder} is, or lies below, a file. Choose a folder with --out.")
    if error.errno == errno.ENAMETOOLONG:
        return StoreError(f"{folder} cannot be written ({error.strerror}). Choose another folder with --out.")
    return StoreError(
        f"{folder} cannot be written ({error.strerror or error}). Look after its disk or network drive, then run the "
        "same command to continue, or choose another folder with --out."
    )
