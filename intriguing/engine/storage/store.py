"""The store: finished outputs, immutable, one folder per fingerprint.

    store/FP/record.json           written last: what ran, size and SHA-256 of each output, and a seal: its own hash
    store/FP/NAME.parquet | .bin   the outputs

A folder is written under a temporary name, synced and renamed, so a fingerprint is there whole or not at all. Only
fingerprints, temporary names, and in them the files above are ever removed; anything else in the store stays.
"""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow._parquet import ParquetReader

from intriguing.basics.folders.files import (
    check_free,
    explaining,
    is_temporary,
    names_in,
    obstacle,
    open_file,
    opened,
    read_file,
    regular_files,
    sync,
    temporary_name,
    unreadable,
    write_new,
)
from intriguing.engine.storage.ownership import is_fingerprint
from intriguing.errors import CorruptError, StoreError

A = TypeVar("A")
B = TypeVar("B")

RECORD = "record.json"
PROBE = 1 << 20
_WORTH_THREADS = 4 << 20
_BLOCK = 4 << 10
_SLICE = 4 << 20
_BUFFER = 1 << 20
_SEAL = b',\n "seal": "'
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
STORE_FILE = re.compile(r"[^./\0][^/\0]*\.(parquet|bin)|record\.json")


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

    by_content = False
    """Whether the name of an output's file tells its content: then two drivers at work never mix theirs."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def prepare(self) -> None:
        """Make the folder, try that it can be written, and clear what a killed driver left half-written."""
        with self._opened(make=True) as store:
            self._probe(store, b"")
            for name in filter(is_temporary, names_in(store)):
                self._clear(store, name)

    def probe(self) -> None:
        """Write a megabyte and remove it; raises `StoreError` where that cannot be done."""
        with self._opened(make=True) as store:
            self._probe(store, bytes(PROBE))

    def check_free(self, fingerprints: Iterable[str]) -> None:
        """Raise `StoreError` where something that is not ours stands in the place of an output to be computed."""
        entries = self._entries()
        for fingerprint in fingerprints:
            if fingerprint in entries:
                path = self.folder(fingerprint)
                if not entries[fingerprint]:
                    raise obstacle(path, "a folder")
                with explaining(path), opened(path) as folder:
                    for name in filter(STORE_FILE.fullmatch, names_in(folder)):
                        check_free(folder, name, path / name)

    def folder(self, fingerprint: str) -> Path:
        """Where the outputs of `fingerprint` are."""
        return self.root / fingerprint

    def place(self, fingerprint: str) -> str:
        """Where they are, as people are told."""
        return str(self.folder(fingerprint))

    def fingerprints(self) -> set[str]:
        """Every fingerprint that has a folder."""
        return {name for name, is_folder in self._entries().items() if is_folder}

    def begun(self) -> set[str]:
        """Every fingerprint under which anything is stored."""
        return self.fingerprints()

    def find_all(self, fingerprints: Iterable[str]) -> Iterator[tuple[Record | None, str]]:
        """`find` of each, in order."""
        return self.side_by_side(self.find, fingerprints)

    def side_by_side(self, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
        """`function` of every item, in order: at once where each waits for a network."""
        return map(function, items)

    def find(self, fingerprint: str) -> tuple[Record | None, str]:
        """The record of `fingerprint`, or None and what is wrong ("" where there is nothing at all).

        Files are held against their recorded sizes here, and the record against its seal; the hashes of the files are
        checked when they are read, and by `intriguing.engine.verify`.
        """
        folder = f"{self.root}/{fingerprint}"
        try:
            record = parse_record(read_file(f"{folder}/{RECORD}"))
        except FileNotFoundError:
            return None, f"{folder} has no {RECORD}" if os.path.isdir(folder) else ""  # noqa: PTH112
        except StoreError as error:
            return None, str(error)
        except OSError as error:
            raise unreadable(error, f"{folder}/{RECORD}") from error
        except UNREADABLE:
            return None, f"{folder}/{RECORD} cannot be read"
        for stored in record.outputs.values():
            try:
                status = os.lstat(f"{folder}/{stored.file}")
            except FileNotFoundError:
                return None, f"{folder}/{stored.file} is missing"
            if not stat.S_ISREG(status.st_mode):
                return None, str(obstacle(Path(folder, stored.file), "a file"))
            if status.st_size != stored.bytes:
                return None, f"{folder}/{stored.file} has {status.st_size} bytes where {stored.bytes} were written"
        return record, ""

    def read(
        self, fingerprint: str, output: str, columns: list[str] | None = None, record: Record | None = None
    ) -> pa.Table | bytes:
        """One output, a table or bytes, after its hash was checked; raises `CorruptError` when that fails.

        `record` is what the caller knows of it already.
        """
        stored = self._stored(fingerprint, output, record)
        with self._reading(fingerprint, stored.file) as file:
            content = file.read()
        self._check(fingerprint, stored, hashlib.sha256(content).hexdigest())
        return _table(content, columns) if stored.rows >= 0 else content

    def slices(self, fingerprint: str, output: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """A table as `read` gives it, some rows at a time: of rows no more is in memory than takes about 4 MB, and of
        a file that lies in a folder about 1 MB.
        """
        stored = self._stored(fingerprint, output)
        with self._reading(fingerprint, stored.file) as file:
            self._check(fingerprint, stored, hashlib.file_digest(file, "sha256").hexdigest())
            file.seek(0)
            yield from _slices(file, columns)

    def _stored(self, fingerprint: str, output: str, record: Record | None = None) -> Stored:
        """What the record says of an output."""
        record, wrong = self.find(fingerprint) if record is None else (record, "")
        if record is None or output not in record.outputs:
            raise CorruptError(wrong or f"{self.place(fingerprint)} has no output {output!r}.")
        return record.outputs[output]

    @contextmanager
    def _reading(self, fingerprint: str, file: str) -> Iterator[FileIO | BytesIO]:
        """The file of an output, opened; it may go after the record was read."""
        try:
            with self._source(fingerprint, file) as source:
                yield source
        except FileNotFoundError as error:
            raise CorruptError(f"{self.place(fingerprint)}/{file} is missing") from error
        except StoreError:
            raise
        except OSError as error:
            raise unreadable(error, f"{self.place(fingerprint)}/{file}") from error

    def _check(self, fingerprint: str, stored: Stored, sha256: str) -> None:
        """Raise `CorruptError` unless `sha256`, of the file of an output, is the recorded one."""
        if sha256 != stored.sha256:
            where = f"{self.place(fingerprint)}/{stored.file}"
            error = CorruptError(f"{where} was changed after it was written: its SHA-256 is not the recorded one.")
            error.sha256 = sha256
            raise error

    def write(self, fingerprint: str, outputs: Mapping[str, pa.Table | bytes], record: Record) -> Record:
        """Store `outputs` and `record` (completed with them) under `fingerprint`, all or nothing."""
        files: dict[str, bytes] = {}
        stored: dict[str, Stored] = {}
        for name, value in outputs.items():
            stored[name], content = _pack(name, value, self.by_content)
            files[stored[name].file] = content
        record = replace(record, outputs=stored)
        files[RECORD] = _sealed(record)
        return self.adopt(fingerprint, files) or record

    def files(self, fingerprint: str, outputs: Collection[str]) -> dict[str, bytes]:
        """The record of `fingerprint` and the files of `outputs` by name, to be carried to where it cannot be seen.

        What is missing or damaged is left out: whoever needs it says so.
        """
        files: dict[str, bytes] = {}
        with suppress(FileNotFoundError, *UNREADABLE):
            files[RECORD] = self._content(fingerprint, RECORD)
            stored = parse_record(files[RECORD]).outputs
            for name in (stored[output].file for output in outputs if output in stored):
                files[name] = self._content(fingerprint, name)
        return files

    def adopt(self, fingerprint: str, files: Mapping[str, bytes]) -> Record | None:
        """Store `files`, as `write` or `files` made them, under `fingerprint`, all or nothing.

        Returns the record that stands there in their place, where another driver's came first; else None.
        """
        odd = [name for name in files if not STORE_FILE.fullmatch(name)]
        if odd:
            raise StoreError(f"{odd[0]!r} is no name for a file of the store.")
        temporary = temporary_name()
        with self._opened(make=True) as store:
            os.mkdir(temporary, dir_fd=store)
            try:
                with opened(self.root / temporary) as folder:
                    for name, content in files.items():
                        write_new(folder, name, content)
                self._rename(store, temporary, fingerprint)
            except OSError:
                self._clear(store, temporary)
                raise

    def discard(self, fingerprint: str) -> int:
        """Remove what is stored under `fingerprint`, and return its bytes. What is not ours in its folder stays."""
        with self._opened() as store:
            path = self.folder(fingerprint)
            is_folder = path.is_dir() and not path.is_symlink()
            return self._discard(store, fingerprint) if is_folder else 0

    @contextmanager
    def _opened(self, make: bool = False) -> Iterator[int]:
        """A descriptor of the store's folder, which is no link."""
        with explaining(self.root), opened(self.root.parent, self.root.name, make) as store:
            yield store

    def _probe(self, store: int, content: bytes) -> None:
        name = temporary_name()
        try:
            write_new(store, name, content)
        finally:
            with suppress(OSError):
                os.unlink(name, dir_fd=store)

    def _entries(self) -> dict[str, bool]:
        """Everything that has the name of a fingerprint, and whether it is a folder (a link to one is none)."""
        try:
            with self._opened() as store, os.scandir(store) as entries:
                return {e.name: e.is_dir(follow_symlinks=False) for e in entries if is_fingerprint(e.name)}
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return {}
            raise

    def _content(self, fingerprint: str, file: str) -> bytes:
        return read_file(f"{self.root}/{fingerprint}/{file}")

    def _source(self, fingerprint: str, file: str) -> FileIO | BytesIO:
        return FileIO(open_file(f"{self.root}/{fingerprint}/{file}"))

    def _rename(self, store: int, temporary: str, fingerprint: str) -> None:
        try:
            _move(store, temporary, fingerprint)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise obstacle(self.folder(fingerprint), "a folder") from error
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # A late duplicate of a task that was given up on, or a damaged folder: the newer one is whole.
            self._discard(store, fingerprint)
            try:
                _move(store, temporary, fingerprint)
            except OSError:
                self._move_into(store, temporary, fingerprint)
        sync(store)

    def _move_into(self, store: int, temporary: str, fingerprint: str) -> None:
        """Move the files of a temporary folder, the record last, into a folder that holds something foreign."""
        target = self.folder(fingerprint)
        with opened(self.root / temporary) as origin, opened(self.root, fingerprint) as folder:
            names = sorted(names_in(origin), key=lambda name: name == RECORD)
            for name in names:
                check_free(folder, name, target / name)
            for name in names:
                os.rename(name, name, src_dir_fd=origin, dst_dir_fd=folder)
        os.rmdir(temporary, dir_fd=store)

    def _discard(self, store: int, fingerprint: str) -> int:
        """Remove the outputs that the record names, then the record: a folder that a kill leaves still names the rest.

        Where no record can be read, nothing tells the outputs from files of the user's: they stay.
        """
        try:
            outputs = [stored.file for stored in parse_record(self._content(fingerprint, RECORD)).outputs.values()]
        except (OSError, *UNREADABLE):
            outputs = []
        return self._remove(store, fingerprint, {*outputs, RECORD}.__contains__)

    def _clear(self, store: int, temporary: str) -> None:
        """Remove a temporary folder, or file, that was left half-written."""
        if temporary in regular_files(store):
            os.unlink(temporary, dir_fd=store)
        with suppress(StoreError):  # a link
            self._remove(store, temporary, STORE_FILE.fullmatch)

    def _remove(self, store: int, name: str, is_ours: Callable[[str], object]) -> int:
        """Remove the regular files that are ours from a folder, the record last, and the folder if that empties it.

        Returns the bytes removed.
        """
        size = 0
        with suppress(FileNotFoundError), opened(self.root, name) as folder:
            for file in sorted(filter(is_ours, regular_files(folder)), key=lambda file: file == RECORD):
                size += os.stat(file, dir_fd=folder, follow_symlinks=False).st_size
                os.unlink(file, dir_fd=folder)
        with suppress(OSError):
            os.rmdir(name, dir_fd=store)
        return size


class CarriedStore(Store):
    """A store in memory, for a worker that does not see the run folder: it holds what a task needs (`held`, files by
    fingerprint) and keeps what the task wrote (`written`) for the driver to adopt.
    """

    def __init__(self, held: Mapping[str, Mapping[str, bytes]], by_content: bool = False) -> None:
        super().__init__(Path("carried"))
        self.held = held
        self.by_content = by_content
        self.written: dict[str, Mapping[str, bytes]] = {}

    def find(self, fingerprint: str) -> tuple[Record | None, str]:
        """The record of `fingerprint`, if it is held."""
        files = self.held.get(fingerprint, {})
        if RECORD not in files:
            return None, f"{fingerprint} was not carried along"
        try:
            return parse_record(files[RECORD]), ""
        except UNREADABLE:
            return None, f"the {RECORD} of {fingerprint} cannot be read"

    def adopt(self, fingerprint: str, files: Mapping[str, bytes]) -> None:
        """Keep `files` in `written`."""
        self.written[fingerprint] = files

    def _content(self, fingerprint: str, file: str) -> bytes:
        if file not in self.held[fingerprint]:
            raise CorruptError(f"{file} of {fingerprint} is missing")
        return self.held[fingerprint][file]

    def _source(self, fingerprint: str, file: str) -> FileIO | BytesIO:
        return BytesIO(self._content(fingerprint, file))


def parquet(table: pa.Table) -> bytes:
    """`table` as a Parquet file: zstd, dictionaries for text alone (on vectors they cost five times the writing).

    What fits into a block of a disk is not compressed: that would save nothing, and take as long as all the rest.
    """
    text: Any = [f.name for f in table.schema if pa.types.is_string(f.type)]
    sink = pa.BufferOutputStream()
    compression = "zstd" if table.nbytes > _BLOCK else "none"
    pq.write_table(table.combine_chunks(), sink, compression=compression, use_dictionary=text or False)
    return sink.getvalue().to_pybytes()


def _table(content: bytes, columns: list[str] | None) -> pa.Table:
    """A Parquet file as a table, without the threads and data sets of `pq.read_table`: a fifth of its time if small.

    Of `columns` those that it has: a table that earlier code stored may lack one of today.
    """
    threads = len(content) > _WORTH_THREADS
    if columns is None:  # what a `ParquetFile` prepares in order to choose columns takes as long as the reading
        reader = ParquetReader()
        reader.open(pa.BufferReader(content), pre_buffer=False)
        return reader.read_all(use_threads=threads)
    return pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(columns=columns, use_threads=threads)


def _slices(source: FileIO | BytesIO, columns: list[str] | None) -> Iterator[pa.Table]:
    """A Parquet file as tables of about `_SLICE` bytes. Reading lists at once takes several times their own memory."""
    file = pq.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False)
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    rows = max(1, file.metadata.num_rows * _SLICE // max(1, sum(group.total_byte_size for group in groups)))
    batches = file.iter_batches(min(rows, max(1, file.metadata.num_rows)), columns=columns, use_threads=False)
    yield from (pa.Table.from_batches([batch]) for batch in batches)
    pa.default_memory_pool().release_unused()  # it keeps what was freed, several slices of it


def _pack(name: str, value: Any, by_content: bool) -> tuple[Stored, bytes]:
    """An output as the bytes of its file, and what the record says of it."""
    if isinstance(value, pa.Table):
        content, kind, rows = parquet(value), "parquet", value.num_rows
    elif isinstance(value, bytes | bytearray | memoryview):
        content, kind, rows = bytes(value), "bin", -1
    else:  # bytes() of a number are that many zeros
        raise TypeError(f"The output {name!r} is a {type(value).__name__}: a task gives tables and bytes.")
    sha256 = hashlib.sha256(content).hexdigest()
    file = f"{name}-{sha256[:16]}.{kind}" if by_content else f"{name}.{kind}"
    return Stored(file, len(content), sha256, rows), content


def _sealed(record: Record) -> bytes:
    """`record` as JSON, with the SHA-256 of all that comes before it as its last key."""
    body = json.dumps(asdict(record), indent=1, sort_keys=True).encode().removesuffix(b"\n}")
    return body + _SEAL + hashlib.sha256(body).hexdigest().encode() + b'"\n}'


def parse_record(content: bytes) -> Record:
    """The record in a record.json; raises `ValueError` or `TypeError` where it is damaged. Older ones have no seal."""
    body, sealed, seal = content.rpartition(_SEAL)
    if sealed:
        if seal != hashlib.sha256(body).hexdigest().encode() + b'"\n}':
            raise ValueError("the record was changed after it was written")
        content = body + b"\n}"
    raw = json.loads(content)
    raw["outputs"] = {name: Stored(**o) for name, o in raw["outputs"].items()}
    if not all(STORE_FILE.fullmatch(stored.file) for stored in raw["outputs"].values()):
        raise ValueError("an output has no name that a run gives")
    return Record(**raw)


def _move(store: int, old: str, new: str) -> None:
    os.rename(old, new, src_dir_fd=store, dst_dir_fd=store)


def as_plain(value: Any) -> Any:
    """`value` with mappings and sequences as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {k: as_plain(v) for k, v in value.items()}
    return [as_plain(v) for v in value] if isinstance(value, list | tuple) else value
