"""Queries of a run's tables by DuckDB, and what is said where one fails."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from intriguing import tables
from intriguing.errors import InputError

if TYPE_CHECKING:
    import duckdb


def named_in(query: str) -> list[str]:
    """The tables that a query names."""
    return [name for name in tables.TABLES if name in query.lower()]


def answer_of_files(
    folder: str, files: Mapping[str, Sequence[str]], query: str, parameters: Any, views: Mapping[str, pa.Table]
) -> pd.DataFrame | None:
    """The answer to one of this package's own queries, by DuckDB's own reader: a quarter of the time of Arrow's.

    folder: where the tables lie, on this machine; files: of each table that the query names; views: other tables that
    it names. None where this cannot be relied on: a path that reads like a pattern, an older file that lacks a column,
    whatever DuckDB complains about.
    """
    import duckdb

    if any(character in folder for character in "*?[]{}"):
        return None
    schemas = {name: tables.named(name).schema for name in files}
    if not all(set(schemas[name].names) <= set(pq.read_schema(of[0]).names) for name, of in files.items() if of):
        return None
    try:
        with duckdb.connect(config={"temp_directory": ""}) as connection:
            connection.execute(f"set enable_progress_bar = false; set allowed_directories = [{_text(folder)}]")
            connection.execute("set enable_external_access = false")
            for name, of in files.items():
                if of:
                    columns = ", ".join(f'"{column}"' for column in schemas[name].names)
                    listed = ", ".join(map(_text, of))
                    connection.execute(f"create view {name} as select {columns} from read_parquet([{listed}])")
                else:
                    connection.register(name, schemas[name].empty_table())
            for name, view in views.items():
                connection.register(name, view)
            return connection.execute(query, parameters).df()
    except duckdb.Error:
        return None


def _text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


SEARCHES = "searches"
FOUND_SEARCHES = """
    select dataset, model, model_seed, search_id, coalesce(label = clean_prediction, false) as source_correct
    from distortions where status = 'found'
"""
"""What own queries call `searches`: those that found something, and whether their model was right before the change."""

_TEXT, _SEED = pa.string(), pa.int32()
SEARCH_SCHEMA = pa.schema(
    {"dataset": _TEXT, "model": _TEXT, "model_seed": _SEED, "search_id": _TEXT, "source_correct": pa.bool_()}
)


def answer(connection: "duckdb.DuckDBPyConnection", query: str, parameters: Any) -> pd.DataFrame:
    """The answer to a query; raises `InputError` with DuckDB's own message, and what to write where that is known."""
    import duckdb

    try:
        return connection.execute(query, parameters).df()
    except duckdb.InvalidInputException as error:
        # What Arrow complains about while DuckDB pulls rows through it comes back as text.
        kind = pa.ArrowInvalid if ".parquet'" in str(error) else InputError
        raise kind(f"The query failed: {error}") from error
    except duckdb.ParserException as error:
        raise InputError(f"The query failed: {error}{_to_quote(connection, query)}") from error
    except duckdb.Error as error:
        raise InputError(f"The query failed: {error}") from error


def _to_quote(connection: "duckdb.DuckDBPyConnection", query: str) -> str:
    """Which columns a query names bare although their names are words of SQL, as a sentence; else empty.

    DuckDB points at the place where its parser gave up, which often is the word after.
    """
    kinds = "keyword_category in ('reserved', 'type_function')"
    reserved = {
        word for (word,) in connection.execute(f"select keyword_name from duckdb_keywords() where {kinds}").fetchall()
    }
    bare = set(re.findall(r"(?<![\w.])[a-z_]+", re.sub(r"'[^']*'|\"[^\"]*\"", " ", query.lower())))
    named = [table for name, table in tables.TABLES.items() if name in query.lower()]
    columns_to_quote = list(dict.fromkeys(c for table in named for c in table.schema.names if c in reserved & bare))
    if not columns_to_quote:
        return ""
    quoted = ", ".join(f'"{column}"' for column in columns_to_quote)
    return f"\nWords of SQL that name a column must stand in double quotes: {quoted}."
