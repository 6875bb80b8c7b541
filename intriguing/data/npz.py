"""Read npz files that may be damaged or malicious: the declared sizes are checked before reading."""

import io
import math
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from intriguing.basics.process.memory import available_memory
from intriguing.data.files import instead, missing, near_files, open_regular
from intriguing.errors import DataError

_MAGIC = b"\x93NUMPY"
_HEADER = 10_000
"""Largest header of an array in bytes, as in NumPy."""
_ROOM = 0.9
"""Share of the available memory that the arrays may need."""


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file (no pickled objects).

    Raises: `DataError` if the file is missing or truncated, has Python objects, or declares more bytes than fit in
    memory.
    """
    try:
        with open_regular(path) as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                raise DataError(
                    f"{path} is one array (.npy), not an npz archive: it has no labels. "
                    "Save both with numpy.savez(path, images=images, labels=labels)."
                )
            return _members(path, file)
    except FileNotFoundError:
        what = f"{near_files(path, ['.npz'])} Put the npz file there, or correct the path."
        raise missing(path, "file", what) from None
    except DataError:
        raise
    except OSError as e:
        raise DataError(f"{path} cannot be read as an npz file ({e.strerror or e}).") from None
    except Exception as e:  # damaged archives cause errors of many kinds
        what = ""
        with suppress(OSError), open_regular(path) as file:
            what = instead(file.read(64))
        reason = str(e).splitlines()[0][:200] if str(e) else type(e).__name__
        raise DataError(
            f"{path} cannot be read as an npz file "
            + (f"(it is {what})." if what else f"({reason}). It is truncated or of another format.")
        ) from None


def _members(path: Path, file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        declared, room = sum(m.file_size for m in members), available_memory()
        if declared > _ROOM * room:
            packed = sum(m.compress_size for m in members)
            raise DataError(
                f"{path} declares {declared:,} bytes of arrays (in {packed:,} packed ones), and {room:,.0f} bytes of "
                "memory are available. Save fewer images, or uint8 in place of floats."
            )
        names = [m.filename.removesuffix(".npy") for m in members]
        for name, count in Counter(names).items():
            if count > 1:
                raise DataError(f"{path} holds the array {name!r} twice. Save it again.")
        return {name: _array(path, archive, m) for name, m in zip(names, members, strict=True)}


def _array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array, after its header was compared with the size that the archive declares."""
    what = f"{path}: the array {member.filename.removesuffix('.npy')!r}"
    with archive.open(member) as stream:
        content = stream.read()
    head = io.BytesIO(content)
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise DataError(f"{what} is of the unknown format version {version}. Save it again with numpy.savez.")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = read_header(head, max_header_size=_HEADER)
    if dtype.hasobject:
        raise DataError(
            f"{what} cannot be read: it holds Python objects, and reading them would run code in the file. "
            "Save numbers (or text as a NumPy string array: array.astype(str))."
        )
    start, needed = head.tell(), math.prod(shape) * dtype.itemsize
    if len(content) - start != needed or min(shape, default=0) < 0:
        raise DataError(
            f"{what} has {len(content) - start:,} bytes of values and its header asks for {needed:,}. It is damaged."
        )
    flat = np.frombuffer(content, dtype, count=math.prod(shape), offset=start) if needed else np.empty(shape, dtype)
    return flat.reshape(shape, order="F" if in_columns else "C")
