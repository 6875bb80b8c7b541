"""Where a run lies, and the files of its tables: versions, conditions on rows, what is said of one that is damaged."""

import logging
import os
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from intriguing import tables
from intriguing.basics.folders.bucket import BucketFolder, place_at
from intriguing.basics.folders.files import is_table_file, unreadable
from intriguing.basics.folders.folder import Place
from intriguing.basics.table import SCHEMA_VERSION
from intriguing.basics.version import __version__
from intriguing.errors import CorruptError, InputError, StoreError, unknown_name

log = logging.getLogger(__name__)

_SMALL = 1 << 26
_READ_ONLY = ("file", "hdfs", "viewfs")


def located(path: str | Path | BucketFolder) -> tuple[Place | None, fs.FileSystem, str]:
    """Where a run lies (None: somewhere that runs are only read from), as a file system of Arrow's and a path in it.

    A local folder is named from the root: Arrow takes a relative ``~`` for a home folder, also where one was meant.
    """
    text = str(path)
    if not isinstance(path, BucketFolder) and text.partition("://")[0].lower() in _READ_ONLY:
        return None, *fs.FileSystem.from_uri(text)
    place = path if isinstance(path, BucketFolder) else place_at(text)
    if isinstance(place, BucketFolder):
        return place, place.system, place.root
    return place, fs.LocalFileSystem(), str(place.absolute())


class Reading:
    """Turns Arrow's complaint about a file into ours; version: of the package that made the run ("": not known)."""

    def __init__(self, what: str, version: str = "") -> None:
        self.what, self.version = what, version

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | pa.ArrowException) and not isinstance(error, StoreError):
            if isinstance(error, PermissionError):
                raise unreadable(error, self.what) from error
            made = self.version or "an earlier state"
            older = "" if self.version == __version__ else f" The run was made by {made}, and this is {__version__}."
            raise CorruptError(
                f"{self.what} cannot be read: {error} If a file is truncated or damaged, `intriguing verify RUN` names "
                f"it; then run the same command again: it is computed anew.{older}"
            ) from error


def check_known(file: str, run: str, system: fs.FileSystem) -> None:
    """Raise `StoreError` where a table's file is of a later version than this package knows.

    One of an earlier version is read: columns that were added since are null.
    """
    metadata = pq.read_schema(file, filesystem=system).metadata or {}
    name, told = (metadata.get(key.encode(), b"").decode(errors="replace") for key in ("table", SCHEMA_VERSION))
    table = tables.TABLES.get(name)
    if table is not None and told.isdecimal() and int(told) > table.version:
        raise StoreError(
            f"Table {name!r} of {run} is of version {told}, and intriguing {__version__} knows up to {table.version}. "
            "Read the run with the version that made it, or a later one: `intriguing status RUN` says which made it."
        )


def table_files(system: fs.FileSystem, folder: str, recursive: bool = False) -> list[str]:
    """The Parquet files of a table in `folder`, sorted; none where there is no such folder.

    By their names: a file still being published, or one that the user put there, is no part of the table. On this
    machine Arrow would look at each file, which takes ten times as long and tells nothing that is needed.
    """
    if isinstance(system, fs.LocalFileSystem) and not recursive:
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.path for entry in entries if is_table_file(entry.name) and entry.is_file())
        except FileNotFoundError:
            return []
    found = system.get_file_info(fs.FileSelector(folder, recursive=recursive, allow_not_found=True))
    return sorted(f.path for f in found if f.type == fs.FileType.File and is_table_file(f.base_name))


def worth_threads(system: fs.FileSystem, files: list[str]) -> bool:
    """Whether to read with threads: for many small local files they cost several times what they save."""
    if not isinstance(system, fs.LocalFileSystem):
        return True
    return sum(info.size or 0 for info in system.get_file_info(files)) > _SMALL


def as_frame(table: pa.Table) -> pd.DataFrame:
    """A table as pandas, integer columns that may lack a value as Int64."""
    nullable = [f.name for f in table.schema if f.nullable and pa.types.is_integer(f.type)]
    frame = table.drop_columns(nullable).to_pandas()
    for column in nullable:
        frame[column] = pd.array(table[column].to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))
    return frame[table.column_names]


def first_rows(files: Sequence[str], rows: int, schema: pa.Schema, system: fs.FileSystem) -> pa.Table:
    """The first `rows` of a table's files; no more of them is decoded. Columns that a file lacks are null."""
    parts, missing = [schema.empty_table()], rows
    for file in files:
        if missing <= 0:
            break
        read = next(pq.ParquetFile(file, filesystem=system).iter_batches(batch_size=missing), None)
        if read is not None:
            there = set(read.schema.names)
            columns = [read.column(f.name) if f.name in there else pa.nulls(len(read), f.type) for f in schema]
            parts.append(pa.table(columns, names=schema.names).cast(schema))
            missing -= len(read)
    return pa.concat_tables(parts)


def is_layer(schema: pa.Schema) -> bool:
    """Whether a file of activations has the column that a run writes: vectors of numbers, all of one length."""
    if "vector" not in schema.names:
        return False
    vector = schema.field("vector").type
    return pa.types.is_fixed_size_list(vector) and pa.types.is_floating(vector.value_type)


def with_later_columns(schema: pa.Schema) -> pa.Schema:
    """The schema of a file of activations, with those columns that earlier code did not write."""
    vector = schema.field("vector").type
    for column in tables.activations(vector.list_size, vector.value_type).schema:
        schema = schema if column.name in schema.names else schema.append(column)
    return schema


def matches(column: pa.Field, value: Any) -> pc.Expression:
    """The condition that a column equals a value, or one of several; None matches a missing value."""
    values = list(value) if isinstance(value, list | tuple | set | frozenset | np.ndarray | pa.Array) else [value]
    try:
        accepted = pa.array([v for v in values if v is not None], column.type)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise InputError(f"Column {column.name!r} is {column.type}: it cannot equal {value!r} ({error}).") from error
    field_value = pc.field(column.name)
    condition = field_value.isin(accepted)
    if pa.types.is_floating(column.type):
        # A file's statistics say -0 where its smallest value is 0, and `isin` takes that for another number.
        condition = reduce(or_, (field_value == v for v in accepted), pc.scalar(False))
    return condition | field_value.is_null() if len(accepted) < len(values) else condition


def warn_of_absent(table: str, columns: Mapping[str, pa.ChunkedArray], filters: Mapping[str, object]) -> None:
    """Log a warning for each of the `columns` of a table, all of its rows, that lacks the name which a filter asks."""
    for column, values in columns.items():
        there = sorted(str(value) for value in values.unique().to_pylist() if value is not None)
        if there and (asked := str(filters[column])) not in there:
            log.warning("table %r: %s", table, unknown_name(column, asked, there))
