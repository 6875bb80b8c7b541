"""Open a run and read it: tables as Arrow, pandas or SQL, and transfer matrices.

Reads `plan.json` and `tables/` alone, from a local folder or an object store, while the run is going or long after it;
needs no cluster, and imports neither torch nor ray. Nothing here writes.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from intriguing import tables
from intriguing.errors import CorruptError, InputError, StoreError, unknown_name
from intriguing.files import is_table_file
from intriguing.transfer.intervals import wilson

if TYPE_CHECKING:
    import duckdb

_LAYER_KEYS = ("dataset", "model", "model_seed", "layer")
_KINDS = ("clean", "minimal", "amplified", "gaussian")
_SMALL = 1 << 26
_CELL_KEYS = ("source_model", "source_seed", "model", "model_seed")
_SEARCH_KEYS = ("dataset", "source_model", "source_seed", "search_id")


def open_run(path: str | Path) -> "Run":
    """The run in the folder `path`: a local path, or a URI that pyarrow.fs knows (s3://bucket/folder, gs://, file://).

    Raises `StoreError` where there is no run, and `CorruptError` when its plan cannot be read.
    """
    text = str(path)
    shown = _without_secrets(text)
    try:
        system, root = fs.FileSystem.from_uri(text) if "://" in text else (fs.LocalFileSystem(), str(Path(text)))
        kind = system.get_file_info(root).type
        plan = system.get_file_info(f"{root}/plan.json").type
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{shown!r} cannot be opened: {error}") from error
    if plan != fs.FileType.File:
        found = {fs.FileType.NotFound: "does not exist", fs.FileType.File: "is a file"}.get(kind, "has no plan.json")
        raise StoreError(
            f"{shown!r} is not the folder of a run: it {found}. Give the folder that `intriguing run SPEC --out FOLDER`"
            " wrote (it holds plan.json and tables/)."
        )
    try:
        with system.open_input_stream(f"{root}/plan.json") as stream:
            content = json.loads(stream.read())
        spec, name, tasks = dict(content["spec"]), str(content.get("name", "")), int(content.get("tasks", 0))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(
            f"{shown}/plan.json cannot be read ({error}). If the folder is a run's, move its store/ into a new folder "
            "and run the spec there: what is in the store is not computed again."
        ) from error
    return Run(path=shown, spec=spec, name=name, tasks=tasks, _system=system, _root=root)


def _without_secrets(uri: str) -> str:
    """s3://KEY:SECRET@bucket/run?option=value as s3://bucket/run: paths end up in messages and on pages."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri).partition("?")[0] if "://" in uri else uri


@dataclass(frozen=True, eq=False)
class Selection:
    """What a transfer matrix shows: the choices made by the caller, or by there being only one.

    Each matrix has its own, equal to itself alone, so that pandas never compares the frames beside it in `.attrs`: the
    concatenation of two matrices drops them, rather than fail.
    """

    dataset: str
    kind: str
    grade: str | None
    target_rule: str | None


@dataclass(frozen=True)
class Run:
    """A run's folder, opened by `open_run`. Every call reads the tables as they are at that moment."""

    path: str
    """The folder, as it was given, without credentials or options of its URI."""
    spec: dict[str, Any] = field(repr=False)
    """The spec that the run follows."""
    name: str
    """The spec's name."""
    tasks: int
    """How many tasks the plan has."""
    _system: fs.FileSystem = field(repr=False)
    _root: str = field(repr=False)

    def tables(self) -> list[str]:
        """The names of the tables that have files, in the order of `intriguing.tables`."""
        return [name for name in tables.TABLES if self._files(name)]

    def table(self, name: str, *, columns: Sequence[str] | None = None, **filters: object) -> pa.Table:
        """The table `name`: all rows, or those whose columns equal `filters`; all columns, or `columns` in that order.

        A filter is a value, a list of values of which one must match, or None for a missing value:
        ``run.table("distortions", columns=["l2"], model="007", status=["found", "not_found"])``. A table that has no
        rows yet is empty and has its schema. Activations are one layer of one model at a time: select it by dataset,
        model, model_seed and layer, as far as needed to tell it from the others.

        Raises `UnknownNameError` for a table or column that does not exist, `InputError` for a filter of a wrong type
        or activations that are not told apart (listing the choices), `CorruptError` for a damaged file.
        """
        schema = tables.named(name).schema
        for column in (*filters, *(columns or ())):
            if column not in schema.names:
                raise unknown_name(f"column of table {name!r}", column, schema.names)
        files = self._files(name)
        if name == "activations" and files:
            chosen = self._layer({k: v for k, v in filters.items() if k in _LAYER_KEYS})
            files, schema = self._activations[chosen]
        if not files:
            return schema.empty_table().select(list(columns) if columns is not None else schema.names)
        wanted = [_matches(schema.field(c), value) for c, value in filters.items()]
        condition = None
        for part in wanted:
            condition = part if condition is None else condition & part
        with _Reading(f"Table {name!r} of {self.path}"):
            dataset = self._dataset(files, schema)
            shown = list(columns) if columns is not None else None
            return dataset.to_table(columns=shown, filter=condition, use_threads=self._worth_threads(files))

    def pandas(self, name: str, *, columns: Sequence[str] | None = None, **filters: object) -> pd.DataFrame:
        """`table` as pandas. Integer columns that may lack a value are pandas' Int64, so labels stay whole numbers."""
        table = self.table(name, columns=columns, **filters)
        nullable = [f.name for f in table.schema if f.nullable and pa.types.is_integer(f.type)]
        frame = table.drop_columns(nullable).to_pandas()
        for column in nullable:
            frame[column] = pd.array(table[column].to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))
        return frame[table.column_names]

    def sql(self, query: str, parameters: Sequence[object] | Mapping[str, object] | None = None) -> pd.DataFrame:
        """The answer of DuckDB to `query`, in which every table of the run is a view by its name.

        Values go in through `parameters`: ``run.sql("select * from models where model = ?", ["007"])``. The database
        lives in memory and has no access to files: it reads this run, and writes nothing. Activations of all layers
        are one view, their vectors lists of float32.

        Raises `InputError` with DuckDB's own message when the query fails.
        """
        import duckdb

        # An empty temp_directory: a query that outgrows memory fails, rather than spill into the current folder.
        config: dict[str, Any] = {"enable_external_access": "false", "lock_configuration": "true", "temp_directory": ""}
        with duckdb.connect(config=config) as connection, _Reading(f"A table of {self.path}"):
            # Opening a table lists its files, so only those that the query names; none named, as in `show tables`: all.
            for name in [n for n in tables.TABLES if n in query.lower()] or tables.TABLES:
                connection.register(name, self._view(name))
            return _answer(connection, query, parameters)

    def models(self, dataset: str | None = None) -> list[tuple[str, int]]:
        """The (model, model_seed) pairs of the run (of one data set), models in the order of the spec."""
        chosen = {} if dataset is None else {"dataset": dataset}
        found = self.table("models", columns=["model", "model_seed"], **chosen).to_pylist()
        return self._in_order({(row["model"], row["model_seed"]) for row in found})

    def transfer_matrix(
        self,
        kind: str = "minimal",
        grade: str | None = "best",
        target_rule: str | None = None,
        dataset: str | None = None,
    ) -> pd.DataFrame:
        """Error rates, in [0, 1], of every model (columns) on the images made for every model (rows).

        kind: "minimal" (the adversarial images as found), "amplified", "gaussian" (noise of the same RMS) or "clean"
        (one row of that name: the attacked images unchanged; grade and target_rule play no part). Of the searches only
        those with status `found` enter. A model is called by its name where it has one seed, else "model#seed".
        NaN where a pair has not been computed yet.

        ``.attrs["low"]`` and ``.attrs["high"]`` are frames of the same shape, the ends of the 95 % Wilson interval;
        ``.attrs["n"]`` how many images; ``.attrs["rms"]`` the mean RMS of the change of each row's images, as fed;
        ``.attrs["selection"]`` a `Selection`. Raises `InputError` when the run has several data sets, grades or rules
        and none is chosen, or none of the kind, listing the choices. Source: Szegedy et al. 2013, tables 2 and 4.
        """
        if kind not in _KINDS:
            raise unknown_name("kind of image", kind, _KINDS)
        wanted = {"dataset": dataset} | ({} if kind == "clean" else {"grade": grade, "target_rule": target_rule})
        given = {column: value for column, value in wanted.items() if value is not None}
        columns = [*_SEARCH_KEYS, "model", "model_seed", "example_id", "grade", "target_rule", "rms", "is_error"]
        rows = self.table("transfer", columns=columns, kind=kind, **given)
        if not rows.num_rows:
            # Nothing matches: read again without the choices, to say what there is to choose from.
            rows = self.table("transfer", columns=columns, kind=kind)
        if not rows.num_rows:
            present = self.table("transfer", columns=["kind"])["kind"].unique().to_pylist()
            raise InputError(f"The run has no rows of kind {kind!r} in table 'transfer'; it has: {_listed(present)}.")
        rows, dataset = _only(rows, "dataset", dataset)
        if kind == "clean":
            grade = target_rule = None
            rows = _once_each(rows)
        else:
            rows, grade = _only(rows, "grade", grade)
            rows, target_rule = _only(rows, "target_rule", target_rule)
            rows = self._found(rows, dataset)
        cells = rows.group_by(list(_CELL_KEYS)).aggregate([("is_error", "sum"), ("is_error", "count"), ("rms", "sum")])
        sources = self._in_order({(c["source_model"], c["source_seed"]) for c in cells.to_pylist()})
        targets = self._in_order({(c["model"], c["model_seed"]) for c in cells.to_pylist()})
        matrix = _matrix(cells, sources, targets)
        matrix.attrs = {"selection": Selection(dataset, kind, grade, target_rule), **matrix.attrs}
        return matrix

    def _found(self, rows: pa.Table, dataset: str) -> pa.Table:
        """The rows of `transfer` whose search has status `found`."""
        keys = ["dataset", "model", "model_seed", "search_id"]
        found = self.table("distortions", columns=keys, dataset=dataset, status="found")
        return rows.join(found, list(_SEARCH_KEYS), keys, join_type="left semi")

    def _in_order(self, found: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """Models as the spec lists them, others after them by name; seeds ascending."""
        listed = self.spec.get("models", [])
        names = [m.get("name") if isinstance(m, Mapping) else m for m in listed]
        place = {name: i for i, name in reversed(list(enumerate(names)))}
        return sorted(found, key=lambda m: (place.get(m[0], len(names)), *m))

    def _files(self, name: str) -> list[str]:
        """The Parquet files of a table, sorted."""
        selector = fs.FileSelector(f"{self._root}/tables/{name}", recursive=name == "activations", allow_not_found=True)
        with _Reading(f"Table {name!r} of {self.path}"):
            found = self._system.get_file_info(selector)
        # By their names: a file still being published, or one that the user put there, is no part of the table.
        return sorted(f.path for f in found if f.type == fs.FileType.File and is_table_file(f.base_name))

    def _worth_threads(self, files: list[str]) -> bool:
        """Whether to read with threads: for many small local files they cost several times what they save."""
        if not isinstance(self._system, fs.LocalFileSystem):
            return True
        return sum(info.size or 0 for info in self._system.get_file_info(files)) > _SMALL

    def _dataset(self, files: list[str], schema: pa.Schema) -> ds.Dataset:
        return ds.dataset(files, schema=schema, format="parquet", filesystem=self._system)

    @property
    def _activations(self) -> dict[tuple[str, str, int, str], tuple[list[str], pa.Schema]]:
        """Files and schema of each stored layer by (dataset, model, seed, layer), told by each folder's first row."""
        folders: dict[str, list[str]] = {}
        for file in self._files("activations"):
            folders.setdefault(file.rpartition("/")[0], []).append(file)
        layers: dict[tuple[str, str, int, str], tuple[list[str], pa.Schema]] = {}
        with _Reading(f"Table 'activations' of {self.path}"):
            for files in folders.values():
                for file in files:
                    parquet = pq.ParquetFile(file, filesystem=self._system)
                    row = next(parquet.iter_batches(batch_size=1, columns=list(_LAYER_KEYS)), None)
                    if row is not None and row.num_rows:
                        key = tuple(row.to_pylist()[0][k] for k in _LAYER_KEYS)
                        layers[key] = (files, parquet.schema_arrow)
                        break
        return layers

    def _layer(self, chosen: Mapping[str, object]) -> tuple[str, str, int, str]:
        """The one stored layer that `chosen` names."""
        layers = list(self._activations)
        accepted = {k: v if isinstance(v, list | tuple | set) else [v] for k, v in chosen.items()}
        matching = [key for key in layers if all(key[_LAYER_KEYS.index(k)] in v for k, v in accepted.items())]
        if len(matching) == 1:
            return matching[0]
        shown = "; ".join(str(dict(zip(_LAYER_KEYS, key, strict=True))) for key in sorted(matching or layers)[:20])
        said = "Several stored layers match" if matching else "No stored layer matches"
        raise InputError(f"{said} {dict(chosen)}: activations are read one layer at a time. Choose one of: {shown}.")

    def _view(self, name: str) -> pa.Table | ds.Dataset:
        """What DuckDB sees of a table."""
        schema = tables.named(name).schema
        if name == "activations":
            at = schema.get_field_index("vector")
            schema = schema.set(at, pa.field("vector", pa.list_(pa.float32())))
        files = self._files(name)
        return self._dataset(files, schema) if files else schema.empty_table()


class _Reading:
    """Turns Arrow's complaint about a file into ours."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError | pa.ArrowException) and not isinstance(error, StoreError):
            raise CorruptError(
                f"{self.what} cannot be read: {error} If a file is truncated or damaged, `intriguing verify RUN` names "
                "it; then run the same command again: it is computed anew."
            ) from error


def _answer(connection: "duckdb.DuckDBPyConnection", query: str, parameters: Any) -> pd.DataFrame:
    import duckdb

    try:
        return connection.execute(query, parameters).df()
    except duckdb.InvalidInputException as error:
        # What Arrow complains about while DuckDB pulls rows through it comes back as text.
        kind = pa.ArrowInvalid if ".parquet'" in str(error) else InputError
        raise kind(f"The query failed: {error}") from error
    except duckdb.Error as error:
        raise InputError(f"The query failed: {error}") from error


def _matches(column: pa.Field, value: Any) -> pc.Expression:
    """The condition that a column equals a value, or one of several; None matches a missing value."""
    values = list(value) if isinstance(value, list | tuple | set | frozenset | np.ndarray | pa.Array) else [value]
    try:
        accepted = pa.array([v for v in values if v is not None], column.type)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise InputError(f"Column {column.name!r} is {column.type}: it cannot equal {value!r} ({error}).") from error
    found = pc.field(column.name)
    condition = found.isin(accepted)
    if pa.types.is_floating(column.type):
        # A file's statistics say -0 where its smallest value is 0, and `isin` takes that for another number.
        condition = reduce(or_, (found == v for v in accepted), pc.scalar(False))
    return condition | found.is_null() if len(accepted) < len(values) else condition


def _only(rows: pa.Table, column: str, chosen: str | None) -> tuple[pa.Table, str]:
    """The rows whose `column` is `chosen`, or all of them when it has one value only."""
    values = sorted(rows[column].unique().to_pylist())
    if chosen is None and len(values) > 1:
        raise InputError(f"The run has several values of {column}: choose {column}= one of {_listed(values)}.")
    value = values[0] if chosen is None else chosen
    if value not in values:
        raise InputError(
            f"The run has no transfer rows with {column} {value!r}: choose {column}= one of {_listed(values)}."
        )
    return rows.filter(pc.equal(rows[column], value)), value  # pyright: ignore[reportAttributeAccessIssue]


def _once_each(rows: pa.Table) -> pa.Table:
    """Clean rows under the source "clean": one per model and image, whatever searches the image stands for."""
    rows = rows.group_by(["model", "model_seed", "example_id"]).aggregate([("is_error", "max"), ("rms", "max")])
    source = [pa.array([value] * len(rows), kind) for value, kind in (("clean", pa.string()), (-1, pa.int32()))]
    names = ["source_model", "source_seed", "model", "model_seed", "example_id", "is_error", "rms"]
    return pa.table([*source, *rows.columns], names)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(repr, values)) or "none"


def _matrix(cells: pa.Table, sources: list[tuple[str, int]], targets: list[tuple[str, int]]) -> pd.DataFrame:
    """Error rates by source and target, with interval, count and RMS in attrs."""
    errors, n = np.zeros((len(sources), len(targets)), np.int64), np.zeros((len(sources), len(targets)), np.int64)
    rms = np.zeros(len(sources))
    for cell in cells.to_pylist():
        i = sources.index((cell["source_model"], cell["source_seed"]))
        j = targets.index((cell["model"], cell["model_seed"]))
        errors[i, j], n[i, j] = cell["is_error_sum"], cell["is_error_count"]
        rms[i] += cell["rms_sum"]
    label = _labels({*sources, *targets})
    index = pd.Index([label[m] for m in sources], name="source", dtype="str")
    columns = pd.Index([label[m] for m in targets], name="target", dtype="str")
    low, high = wilson(errors, n)
    with np.errstate(invalid="ignore"):
        matrix = pd.DataFrame(errors / n, index, columns)
    matrix.attrs = {
        "low": pd.DataFrame(low, index, columns),
        "high": pd.DataFrame(high, index, columns),
        "n": pd.DataFrame(n, index, columns),
        "rms": pd.Series(rms / n.sum(axis=1), index, name="rms"),
    }
    return matrix


def _labels(models: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """What models are called: the bare name where it has one seed."""
    seeds = Counter(name for name, _ in models)
    return {(name, seed): name if seeds[name] == 1 else f"{name}#{seed}" for name, seed in models}
