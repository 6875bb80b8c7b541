"""A small file of every table as this state writes it: `python -m tests.golden_tables` adds what is not there yet.

A file, NAME.VERSION.parquet, stays as it is for as long as its version of the schema can be read.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from intriguing.tables import TABLES, activations

GOLDEN = Path(__file__).with_name("golden_tables")
SCHEMAS = {name: (activations(3, pa.float32()) if name == "activations" else t).schema for name, t in TABLES.items()}


def two_rows(schema):
    """Two rows of made-up values, the second with null where a column may be null."""
    columns = []
    for field in schema:
        values = [_value(field.type, 0), None if field.nullable else _value(field.type, 1)]
        columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=schema)


def _value(kind, number):
    if pa.types.is_fixed_size_list(kind):
        return [_value(kind.value_type, number)] * kind.list_size
    if pa.types.is_list(kind):
        return [_value(kind.value_type, number)]
    if pa.types.is_string(kind):
        return f"'{number}' <b>é"
    return number == 1 if pa.types.is_boolean(kind) else number + 1


def write():
    GOLDEN.mkdir(exist_ok=True)
    for name, schema in SCHEMAS.items():
        path = GOLDEN / f"{name}.{TABLES[name].version}.parquet"
        if not path.exists():
            pq.write_table(two_rows(schema), path, compression="zstd")
            sys.stdout.write(f"{path} written\n")


if __name__ == "__main__":
    write()
