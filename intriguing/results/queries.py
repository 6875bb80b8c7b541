"""Queries of a run's tables by DuckDB, and what is said where one fails."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from intriguing import tables
from intriguing.errors import InputError

if TYPE_CHECKING:
    import duckdb


def named_in(query: str, own: bool = False) -> list[str]:
    """The tables that a query names.

    own: it is one of this package's, in which a name within quotes is a value, and which may name `found_searches`.
    """
    read = re.sub("'[^']*'", "", query) if own else query
    return [name for name in tables.TABLES if name in read.lower() or (own and name == _SOURCE and SEARCHES in read)]


SEARCHES, _SOURCE = "found_searches", "distortions"
FOUND_SEARCHES = """
    select dataset, model, model_seed, search_id, target_rule, grade, distortion::double as distortion,
        coalesce(label = clean_prediction, false) as source_correct
    from distortions where status = 'found'
"""
"""What own queries call `found_searches`, and whether their model was right before the change."""

GROUPS = {
    "transfer": "select distinct kind, dataset, grade, target_rule from transfer order by all",
    "rays": "select dataset, grade, target_rule, first(sizes) as sizes, min(len(sizes)) as least, "
    "max(len(sizes)) as most from rays where kind = 'adversarial' group by dataset, grade, target_rule order by all",
}
"""Of which data sets, grades and rules for targets the images of a table are, which every matrix asks first."""

_TEXT = pa.string()
SEARCH_SCHEMA = pa.schema(
    {"dataset": _TEXT, "model": _TEXT, "model_seed": pa.int32(), "search_id": _TEXT, "target_rule": _TEXT,
     "grade": _TEXT, "distortion": pa.float64(), "source_correct": pa.bool_()}
)  # fmt: skip


@contextmanager
def heard_in_queries() -> Iterator[None]:
    """Raises `KeyboardInterrupt` where DuckDB swallowed one: of a signal that comes in a query it makes an error."""
    import duckdb

    try:
        yield
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise


@contextmanager
def _unless_interrupted() -> Iterator[None]:
    """Passes over what DuckDB complains about, but for a signal."""
    import duckdb

    try:
        yield
    except duckdb.InterruptException:
        raise
    except duckdb.Error:
        pass


class FileQueries:
    """Own queries of tables on this machine, by DuckDB's own reader: a quarter of the time of Arrow's.

    The connection and its views are kept from query to query, for making them takes most of a short one.
    """

    def __init__(self, folder: str) -> None:
        """`folder` is where the tables lie."""
        self._folder = folder
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._files: dict[str, tuple[str, ...]] = {}
        self._asked = 0  # queries of what searches found since its files changed
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["FileQueries"], tuple[str]]:
        """A run is copied and sent to other processes; its connection stays here."""
        return FileQueries, (self._folder,)

    def answer(self, files: Mapping[str, Sequence[str]], query: str, parameters: Any) -> pd.DataFrame | None:
        """The answer; files: of each table that the query names, and of `distortions` for `found_searches`.

        None where this cannot be relied on: a path that reads like a pattern, an older file that lacks a column,
        whatever DuckDB complains about.
        """
        import duckdb

        if any(character in self._folder for character in "*?[]{}"):
            return None
        with self._lock, heard_in_queries():
            try:
                connection = self._connected()
                changed = {name for name, of in files.items() if self._files.get(name) != tuple(of)}
                if not all(self._view(connection, name, files[name]) for name in sorted(changed)):
                    return None
                if SEARCHES in query:
                    self._show_searches(connection)
                return connection.execute(query, parameters).df()
            except duckdb.InterruptException:
                raise
            except duckdb.Error:
                return None

    def _show_searches(self, connection: "duckdb.DuckDBPyConnection") -> None:
        """Have what searches found under its name: a view for one query, and a table from the second query on.

        A run has hundreds of files of searches, which are not to be read for every matrix.
        """
        self._asked += 1
        if self._asked == 1:
            connection.execute(f"create or replace temp view {SEARCHES} as {FOUND_SEARCHES}")
        elif self._asked == 2:
            connection.execute("set preserve_insertion_order = false")
            with _unless_interrupted():  # too many for memory: the view stays
                connection.execute(f"create or replace temp table kept_searches as {FOUND_SEARCHES}")
                connection.execute(f"create or replace temp view {SEARCHES} as select * from kept_searches")
            connection.execute("set preserve_insertion_order = true")

    def _connected(self) -> "duckdb.DuckDBPyConnection":
        """The connection, which reads the tables' folder and nothing else."""
        import duckdb

        if self._connection is None:
            connection = duckdb.connect(config={"temp_directory": ""})
            with _unless_interrupted():  # switches of later versions: files' footers are kept, their content is not
                connection.execute("set parquet_metadata_cache = true; set enable_external_file_cache = false")
            leave_out_bar(connection)
            connection.execute(f"set allowed_directories = [{_text(self._folder)}]")
            connection.execute("set enable_external_access = false")
            self._connection = connection
        return self._connection

    def _view(self, connection: "duckdb.DuckDBPyConnection", name: str, files: Sequence[str]) -> bool:
        """Show a table's files under its name; whether they have all of its columns."""
        schema = tables.named(name).schema
        source, columns = f"no_{name}", ", ".join(f'"{column}"' for column in schema.names)
        if not files:
            connection.register(source, schema.empty_table())
        elif set(schema.names) <= set(pq.read_schema(files[0]).names):
            source = f"read_parquet([{', '.join(map(_text, files))}])"
        else:
            return False
        connection.execute(f"create or replace temp view {name} as select {columns} from {source}")
        if name == _SOURCE:
            self._asked = 0
        self._files[name] = tuple(files)
        return True


def leave_out_bar(connection: "duckdb.DuckDBPyConnection") -> None:
    """Leave out DuckDB's own bar, which would stand among what is printed; that can only be said once connected.

    In a notebook without ipywidgets there is none, and DuckDB refuses to hear of it.
    """
    import duckdb

    with suppress(duckdb.InvalidInputException):
        connection.execute("set enable_progress_bar = false")


def _text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


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
    except duckdb.InterruptException:
        raise
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
