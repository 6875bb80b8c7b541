"""Read arrays from files, and hash files. Imports neither torch nor torchvision."""

import errno
import hashlib
import math
import os
import stat
from collections.abc import Iterable
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from intriguing.basics.folders.presence import is_taken, no_such, refusal
from intriguing.errors import DataError, MissingDataError, did_you_mean

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


_SCANNED = 10_000
"""Files of a folder that are looked at for one of a similar name."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_INSTEAD = (
    (b"version https://git-lfs", "a pointer of Git LFS: `git lfs pull` in its repository fetches the file itself"),
    (b"<!doctype", "a web page, such as a download that failed leaves: fetch the file again"),
    (b"<html", "a web page, such as a download that failed leaves: fetch the file again"),
    (b"<?xml", "XML text, such as a download that failed leaves: fetch the file again"),
    (b"{", "JSON text, such as an index of several files or the answer of a server"),
    (b"\x89hdf", "an HDF5 file"),
    (b"gguf", "a GGUF file"),
    (b"\x1f\x8b", "packed by gzip: unpack it first"),
    (b"\x93numpy", "one array of NumPy (.npy)"),
)
"""How files begin that often lie where others should, in small letters, and what they are."""


def irregular(path: Path) -> str | None:
    """Why `path` is not a readable file (a folder, FIFO, device, dangling link, ...); None if it is one.

    The file is not opened, because opening a FIFO waits for a writer, and opening a device may have effects.
    """
    try:
        mode = path.stat().st_mode
    except OSError as e:
        if path.is_symlink():
            return "a link in a circle" if e.errno == errno.ELOOP else "a link to nothing"
        return e.strerror or "it cannot be looked at"
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def missing(path: Path, kind: str, what_to_do: str) -> DataError:
    """The error for data that are not at `path`, a file or folder (`kind`), or that the system refuses to look at.

    what_to_do: the rest of the sentence where nothing lies there, after a space.
    """
    if refusal(path):
        return DataError(f"{no_such(kind, path)} Make it readable, or correct the path.")
    return MissingDataError(f"{no_such(kind, path)}{what_to_do}")


def near_files(path: Path, endings: Iterable[str]) -> str:
    """What lies where `path` is missing, a sentence after a space: files of similar names, else those with `endings`.

    "" where nothing of use lies there, and where the path exists.
    """
    if is_taken(path) or refusal(path):
        return ""
    try:
        names = sorted(entry.name for entry in islice(os.scandir(path.parent), _SCANNED) if entry.is_file())
    except NotADirectoryError:
        return f" {path.parent} is no folder."
    except FileNotFoundError:
        return f" There is no folder {path.parent}."
    except OSError:
        return ""
    fitting = [name for name in names if name.endswith(tuple(endings))]
    if hint := did_you_mean(path.name, fitting):
        return hint
    return f" {path.parent} has {', '.join(fitting[:5])}{', ...' if len(fitting) > 5 else ''}." if fitting else ""


def open_regular(path: Path) -> BufferedReader:
    """The regular file at `path` (or at the end of its links), opened for reading without waiting.

    Raises: `OSError` for anything else; its `strerror` can end a sentence.
    """
    path.stat()  # the usual error of a missing file
    if (what := irregular(path)) is not None:
        raise OSError(errno.EINVAL, f"it is {what}, not a file", str(path))
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # it has changed since the check
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(handle, "rb")


def instead(head: bytes) -> str:
    """What a file that cannot be read is in place of what it should be, and what to do; "" where nothing tells.

    head: its first bytes, 64 or more. The text goes on after "it is ...", and ends no sentence.
    """
    if not head:
        return "empty: was it copied or downloaded to its end?"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((what for beginning, what in _INSTEAD if text.startswith(beginning)), "")


def is_unavailable(error: BaseException) -> bool:
    """Whether `error` says that the system did not give a file (too many are open, the disk is gone, no memory).

    Errors about what is in a file have no number, or that of an argument out of range.
    """
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in (None, errno.EINVAL))


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, the format of MNIST (two zero bytes, a type, the rank, big-endian sizes, the values).

    Raises: `DataError` if the file is missing, of another format, or shorter or longer than its header says.
    """
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as e:
        raise DataError(f"Cannot read {path}: {e.strerror}.") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES:
        what = f"it is {what}" if (what := instead(data[:64])) else f"its first bytes are {data[:4]!r}"
        raise DataError(f"{path} is not an IDX file: {what}. Download it again (unpacked).")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DataError(f"{path} ends inside its header. It was cut short: remove it and download it again.")
    shape = tuple(int(n) for n in np.frombuffer(data, ">i4", data[3], 4))
    kind = np.dtype(_IDX_TYPES[data[2]])
    needed = start + kind.itemsize * math.prod(shape)
    if len(data) != needed or min(shape, default=0) < 0:
        raise DataError(f"{path} has {len(data):,} bytes and its header asks for {needed:,}. Download it again.")
    array = np.frombuffer(data, kind, offset=start).reshape(shape)
    return array.astype(kind.newbyteorder("="), copy=False)


def frozen(array: np.ndarray) -> np.ndarray:
    """The array itself if it is read-only, else a read-only view."""
    if array.flags.writeable:
        array = array.view()
        array.setflags(write=False)
    return array


def hash_arrays(arrays: Iterable[tuple[str, Any]]) -> str:
    """SHA-256 over named arrays: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, values in arrays:
        array = np.ascontiguousarray(values)
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def hash_files(paths: Iterable[tuple[str, Path]], salt: str = "", ends: int | None = None) -> str:
    """SHA-256 over files given as (name, path), in the order given, and over `salt`.

    Hashes names and contents; with `ends`, the size and only the first and last `ends` bytes of every file.

    Raises: `DataError` for a file that cannot be read.
    """
    digest = hashlib.sha256(f"{salt}\0".encode())
    for name, path in paths:
        try:
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                # A name that is not UTF-8 keeps its bytes.
                digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
                if ends is None or size <= 2 * ends:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
                else:
                    digest.update(file.read(ends))
                    file.seek(-ends, 2)
                    digest.update(file.read(ends))
        except OSError as e:
            raise DataError(f"Cannot read {path}: {e.strerror}.") from None
    return digest.hexdigest()
