"""What a table is: fields with a type, a sentence and a unit, and a primary key."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from intriguing.errors import InputError

SCHEMA_VERSION = "schema_version"
"""The key of a table's version in the metadata of its files."""


@dataclass(frozen=True)
class Field:
    """A column: its name, its Arrow type, a sentence, and its unit where it has one."""

    name: str
    type: pa.DataType
    doc: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its name, what a row is, its fields, and the fields that together are unique.

    version: of its schema, which every file says. It is raised when a column goes, changes its type or its meaning; one
    that is added and may be null leaves it.
    """

    name: str
    row: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    version: int = 1

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema, with sentences, primary key and version in its metadata."""
        return pa.schema(
            [
                pa.field(f.name, f.type, f.nullable, {"doc": f.doc} | ({"unit": f.unit} if f.unit else {}))
                for f in self.fields
            ],
            {
                "table": self.name,
                "row": self.row,
                "primary_key": json.dumps(list(self.key)),
                SCHEMA_VERSION: str(self.version),
            },
        )

    def build(self, columns: Mapping[str, Sequence | pa.Array], **constants: object) -> pa.Table:
        """A table of this schema from `columns`, with `constants` repeated in every row.

        Raises `InputError` when a column is missing or unknown, or when lengths differ.
        """
        names = {f.name for f in self.fields}
        present = set(columns) | set(constants)
        if present != names:
            raise InputError(
                f"Table {self.name!r}: missing {sorted(names - present)}, unknown {sorted(present - names)}."
            )
        lengths = {len(c) for c in columns.values()}
        if len(lengths) > 1:
            raise InputError(f"Table {self.name!r}: columns of different lengths {sorted(lengths)}.")
        rows = lengths.pop() if lengths else 1
        arrays = []
        for f in self.fields:
            values: Any = columns[f.name] if f.name in columns else _repeated(constants[f.name], rows, f.type)
            array = values if isinstance(values, pa.Array) else pa.array(values, f.type)
            arrays.append(array if array.type == f.type else array.cast(f.type))
        return pa.table(arrays, schema=self.schema)


def _repeated(value: object, rows: int, kind: pa.DataType) -> pa.Array | list[object]:
    """A constant column; strings and numbers without an object per row."""
    return pa.repeat(pa.scalar(value, kind), rows) if isinstance(value, str | int | float) else [value] * rows
