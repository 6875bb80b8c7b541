"""The store: finished outputs, immutable, one folder per fingerprint.

    store/FP/record.json           written last: what ran, and size and SHA-256 of each output
    store/FP/NAME.parquet | .bin   the outputs

A folder is written under a temporary name, synced and renamed, so a fingerprint is there whole or not at all.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from intriguing.errors import CorruptError, StoreError

_RECORD = "record.json"
_TEMPORARY = ".writing-"


@dataclass(frozen=True)
class Stored:
    """An output in the store: its file's name, bytes, SHA-256, and rows (-1 for bytes)."""

    file: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Record:
    """What is known of a finished task: what it read (fingerprint/output to SHA-256), what it wrote, and how it ran."""

    task: str
    function: str
    outputs: dict[str, Stored]
    inputs: dict[str, str] = field(default_factory=dict)
    attempts: int = 1
    worker: str = ""
    device: str = ""
    seconds: float = 0.0
    peak_memory: int = 0
    shrunk: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


class Store:
    """The finished outputs below `root` (a local or shared folder).

    Raises:
        StoreError: the folder cannot be made or written, or the disk is full.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def prepare(self) -> None:
        """Make the folder, try that it can be written, and clear what a killed driver left half-written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f"{_TEMPORARY}{uuid.uuid4().hex}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise explained(error, self.root) from error
        for left in self.root.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(left, ignore_errors=True)

    def folder(self, fingerprint: str) -> Path:
        """Where the outputs of `fingerprint` are."""
        return self.root / fingerprint

    def fingerprints(self) -> set[str]:
        """Every fingerprint that has a folder."""
        if not self.root.is_dir():
            return set()
        return {e.name for e in os.scandir(self.root) if not e.name.startswith(".")}

    def find(self, fingerprint: str) -> tuple[Record | None, str]:
        """The record of `fingerprint`, or None and what is wrong ("" where there is nothing at all).

        Files are held against their recorded sizes here; their hashes are checked when they are read.
        """
        folder = f"{self.root}/{fingerprint}"
        try:
            with open(f"{folder}/{_RECORD}", "rb") as file:  # noqa: PTH123 (100,000 of them: pathlib triples the time)
                record = _parse(file.read())
        except FileNotFoundError:
            return None, f"{folder} has no {_RECORD}" if os.path.isdir(folder) else ""  # noqa: PTH112
        except (ValueError, TypeError, KeyError, AttributeError):
            return None, f"{folder}/{_RECORD} cannot be read"
        for stored in record.outputs.values():
            try:
                size = os.stat(f"{folder}/{stored.file}").st_size  # noqa: PTH116
            except FileNotFoundError:
                return None, f"{folder}/{stored.file} is missing"
            if size != stored.bytes:
                return None, f"{folder}/{stored.file} has {size} bytes where {stored.bytes} were written"
        return record, ""

    def read(self, fingerprint: str, output: str, columns: list[str] | None = None) -> pa.Table | bytes:
        """One output, a table or bytes, after its hash was checked; raises `CorruptError` when that fails."""
        record, wrong = self.find(fingerprint)
        if record is None or output not in record.outputs:
            raise CorruptError(wrong or f"{self.folder(fingerprint)} has no output {output!r}.")
        stored = record.outputs[output]
        content = self._content(fingerprint, stored.file)
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            where = self.folder(fingerprint) / stored.file
            raise CorruptError(f"{where} was changed after it was written: its SHA-256 is not the recorded one.")
        return content if stored.rows < 0 else pq.read_table(pa.BufferReader(content), columns=columns)

    def write(self, fingerprint: str, outputs: Mapping[str, pa.Table | bytes], record: Record) -> Record:
        """Store `outputs` and `record` (completed with them) under `fingerprint`, all or nothing."""
        files: dict[str, bytes] = {}
        stored: dict[str, Stored] = {}
        for name, value in outputs.items():
            stored[name], content = _pack(name, value)
            files[stored[name].file] = content
        record = replace(record, outputs=stored)
        files[_RECORD] = json.dumps(asdict(record), indent=1, sort_keys=True).encode()
        self.adopt(fingerprint, files)
        return record

    def files(self, fingerprint: str) -> dict[str, bytes]:
        """All files of `fingerprint` by name, to be carried to where this folder cannot be seen."""
        return {p.name: p.read_bytes() for p in self.folder(fingerprint).iterdir()}

    def adopt(self, fingerprint: str, files: Mapping[str, bytes]) -> None:
        """Store `files`, as `write` or `files` made them, under `fingerprint`, all or nothing."""
        temporary = self.root / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            temporary.mkdir(parents=True)
            for name, content in files.items():
                _write_synced(temporary / name, content)
            self._rename(temporary, fingerprint)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise explained(error, self.root) from error

    def discard(self, fingerprint: str) -> None:
        """Remove what is stored under `fingerprint`."""
        folder = self.folder(fingerprint)
        if folder.exists():
            gone = self.root / f"{_TEMPORARY}{uuid.uuid4().hex}"
            folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _content(self, fingerprint: str, file: str) -> bytes:
        return (self.folder(fingerprint) / file).read_bytes()

    def _rename(self, temporary: Path, fingerprint: str) -> None:
        try:
            temporary.rename(self.folder(fingerprint))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # A late duplicate of a task that was given up on, or a damaged folder: the newer one is whole.
            self.discard(fingerprint)
            temporary.rename(self.folder(fingerprint))
        _sync_folder(self.root)


class CarriedStore(Store):
    """A store in memory, for a worker that does not see the run folder: it holds what a task needs (`held`, files by
    fingerprint) and keeps what the task wrote (`written`) for the driver to adopt.
    """

    def __init__(self, held: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__(Path("carried"))
        self.held = held
        self.written: dict[str, Mapping[str, bytes]] = {}

    def find(self, fingerprint: str) -> tuple[Record | None, str]:
        """The record of `fingerprint`, if it is held."""
        files = self.held.get(fingerprint)
        return (_parse(files[_RECORD]), "") if files else (None, f"{fingerprint} was not carried along")

    def adopt(self, fingerprint: str, files: Mapping[str, bytes]) -> None:
        """Keep `files` in `written`."""
        self.written[fingerprint] = files

    def _content(self, fingerprint: str, file: str) -> bytes:
        return self.held[fingerprint][file]


def parquet(table: pa.Table) -> bytes:
    """`table` as a Parquet file: zstd, dictionaries for text alone (on vectors they cost five times the writing)."""
    text: Any = [f.name for f in table.schema if pa.types.is_string(f.type)]
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=text or False)
    return sink.getvalue().to_pybytes()


def _pack(name: str, value: Any) -> tuple[Stored, bytes]:
    """An output as the bytes of its file, and what the record says of it."""
    if isinstance(value, pa.Table):
        content, file, rows = parquet(value), f"{name}.parquet", value.num_rows
    else:
        content, file, rows = bytes(value), f"{name}.bin", -1
    return Stored(file, len(content), hashlib.sha256(content).hexdigest(), rows), content


def _parse(content: bytes) -> Record:
    raw = json.loads(content)
    raw["outputs"] = {name: Stored(**o) for name, o in raw["outputs"].items()}
    return Record(**raw)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never half of one."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(temporary, content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise explained(error, path.parent) from error


def explained(error: OSError, folder: Path) -> StoreError:
    """An `OSError` met while writing below `folder`, as an error that says what to do."""
    if error.errno == errno.ENOSPC:
        return StoreError(f"The disk of {folder} is full. Free some space, then run the same command to continue.")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(f"{folder} cannot be written ({error.strerror}). Choose another folder with --out.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return StoreError(f"{folder} is, or lies below, a file. Choose a folder with --out.")
    return StoreError(f"{folder} cannot be written: {error}.")


def total_bytes(records: Iterable[Record]) -> int:
    """The bytes of all outputs of `records`."""
    return sum(stored.bytes for record in records for stored in record.outputs.values())


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def as_plain(value: Any) -> Any:
    """`value` with mappings and sequences as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {k: as_plain(v) for k, v in value.items()}
    return [as_plain(v) for v in value] if isinstance(value, list | tuple) else value
