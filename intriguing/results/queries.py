"""Queries of a run's tables by DuckDB, and what is said where one fails."""

import re
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from intriguing import tables
from intriguing.errors import InputError

if TYPE_CHECKING:
    import duckdb


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
