"""Reading arrays from files, and hashing what lies on disk. Imports neither torch nor torchvision."""

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from intriguing.errors import DataError

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, the format of MNIST (two zero bytes, a type, the rank, big-endian sizes, the values).

    Raises `DataError` when the file is missing, of another format, or shorter or longer than its header says.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise DataError(f"Cannot read {path}: {e.strerror}.") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES:
        raise DataError(f"{path} is not an IDX file: its first bytes are {data[:4]!r}. Download it again (unpacked).")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DataError(f"{path} ends inside its header. It was cut short: remove it and download it again.")
    shape = tuple(int(n) for n in np.frombuffer(data, ">i4", data[3], 4))
    kind = np.dtype(_IDX_TYPES[data[2]])
    needed = start + kind.itemsize * int(np.prod(shape, dtype=np.int64))
    if len(data) != needed:
        raise DataError(f"{path} has {len(data):,} bytes and its header asks for {needed:,}. Download it again.")
    array = np.frombuffer(data, kind, offset=start).reshape(shape)
    return array.astype(kind.newbyteorder("="), copy=False)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file (no pickled objects).

    Raises `DataError` when the file is missing, truncated, or holds Python objects.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}. Put the npz file there, or correct the path.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is one array, not an npz archive. Save it with numpy.savez(images=, labels=).")
            return {name: archive[name] for name in archive.files}
    except DataError:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError) as e:
        raise DataError(f"{path} cannot be read as an npz file ({e}). It is truncated or of another format.") from None


def frozen(array: np.ndarray) -> np.ndarray:
    """The array itself where it is read-only, else a read-only view of it."""
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

    Hashes names and contents; with `ends`, the size and only the first and last `ends` bytes of every file. Raises
    `DataError` for a file that cannot be read.
    """
    digest = hashlib.sha256(f"{salt}\0".encode())
    for name, path in paths:
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                digest.update(f"{name}\0{size}\0".encode())
                if ends is None or size <= 2 * ends:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
                else:
                    digest.update(file.read(ends))
                    file.seek(-ends, 2)
                    digest.update(file.read(ends))
        except OSError as e:
            raise DataError(f"Cannot read {path}: {e.strerror}.") from None
    return digest.hexdigest()
