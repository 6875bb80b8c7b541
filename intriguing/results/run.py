"""A run that is open (`open_run`): its tables as Arrow, pandas or SQL, and transfer matrices.

Reads `plan.json` and `tables/` alone, from a local folder or an object store, while the run is going or long after it;
needs no cluster, and imports neither torch nor ray. Nothing here writes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from importlib import import_module
from operator import or_
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from intriguing import tables
from intriguing.basics.folders.folder import Place
from intriguing.basics.folders.saved_plan import SavedPlan
from intriguing.errors import InputError, check_names, unknown_name
from intriguing.results import queries, rays
from intriguing.results.files import (
    Reading,
    as_frame,
    check_known,
    first_rows,
    is_layer,
    matches,
    table_files,
    warn_of_absent,
    with_later_columns,
    worth_threads,
)
from intriguing.results.in_notebooks import run_as_html
from intriguing.results.matrices import AMONG, KINDS, WITHOUT_SOURCE, Fed
from intriguing.results.queries import FileQueries, answer, heard_in_queries, leave_out_bar, named_in

if TYPE_CHECKING:
    from intriguing.sweep.reporting.figures import Figures

_NAMES = ("dataset", "model", "source_model", "layer")
_LAYER_KEYS = ("dataset", "model", "model_seed", "layer")


@dataclass(frozen=True)
class Run:
    """A run's folder, opened by `open_run`.

        import intriguing as ig
        run = ig.open_run("outputs/demo")
        run.pandas("distortions", columns=["l2"], model="mlp")
        run.sql("select model, test_error from models")
        run.transfer_matrix(target_rule="untargeted")

    Every call reads the tables as they are at that moment.
    """

    path: str
    """The folder, as it was given, without credentials or options of its URI."""
    spec: dict[str, Any] = field(repr=False)
    """The spec that the run follows."""
    name: str
    """The spec's name."""
    tasks: int
    """Number of tasks of the plan."""
    datasets: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """The run's data sets by name: source, root, content_hash."""
    place: Place | None = field(repr=False)
    """The folder as a place that can be written to; None where runs can only be read."""
    _system: fs.FileSystem = field(repr=False)
    _root: str = field(repr=False)
    version: str = field(default="", repr=False)
    """The version of this package that made the plan; "" if the plan does not say."""

    plan: SavedPlan | None = field(default=None, repr=False, compare=False)
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    _repr_html_ = run_as_html

    @property
    def figures(self) -> "Figures":
        """Every figure of the run as a function that returns matplotlib axes.

        ``run.figures.distortions(target_rule="untargeted")`` names which, where the run has several rules.
        ``run.figures.names()`` lists them, ``run.figures.save("figures")`` writes all as PDF and PNG.
        """
        # Stages know their figures, and stand above this floor: they are looked up when one is asked for.
        found: Figures = import_module("intriguing.sweep.reporting.figures").Figures(self)
        return found

    def section(self, name: str) -> dict[str, Any]:
        """The section `name` of the spec (``run.section("units")``); {} where there is none, or no mapping."""
        section = self.spec.get(name)
        return dict(section) if isinstance(section, Mapping) else {}

    def tables(self) -> list[str]:
        """The names of the tables that have files, in the order of `intriguing.tables`."""
        return [name for name in tables.TABLES if self._files(name)]

    def table(self, name: str, *, columns: Sequence[str] | None = None, **filters: object) -> pa.Table:
        """The table `name`: all rows, or those whose columns equal `filters`; all columns, or `columns` in that order.

        A filter is a value, a list of values of which one must match, or None for a missing value:
        ``run.table("distortions", columns=["l2"], model="007", status=["found", "not_found"])``. A table that the run
        does not have is returned without rows (`tables` lists those that it has). Activations are read one layer of one
        model at a time: select it by as many of dataset, model, model_seed and layer as are needed to identify it
        (`activation_layers` lists them).

        Raises `UnknownNameError` for a table or column that does not exist, `InputError` for a filter of a wrong type
        or where several layers' activations fit (listing the choices), `CorruptError` for a damaged file.
        """
        schema = tables.named(name).schema
        check_names(f"column of table {name!r}", (*filters, *(columns or ())), schema.names)
        files = self._files(name)
        if name == "activations" and files:
            chosen = self._layer({k: v for k, v in filters.items() if k in _LAYER_KEYS})
            files, schema = self._activations[chosen]
        if not files:
            return schema.empty_table().select(list(columns) if columns is not None else schema.names)
        condition = None
        for column, value in filters.items():
            part = matches(schema.field(column), value)
            condition = part if condition is None else condition & part
        with self._reading(f"Table {name!r}"):
            dataset = self._dataset(files, schema)
            shown = list(columns) if columns is not None else None
            return dataset.to_table(columns=shown, filter=condition, use_threads=worth_threads(self._system, files))

    def pandas(self, name: str, *, columns: Sequence[str] | None = None, **filters: object) -> pd.DataFrame:
        """`table` as pandas. Integer columns that may lack a value are pandas' Int64, so labels stay whole numbers.

        Warns if the table has no row of the data set, model or layer asked for, and names those that it has.
        """
        found = self.table(name, columns=columns, **filters)
        if not len(found) and name != "activations":
            named = [c for c in _NAMES if isinstance(filters.get(c), str)]
            warn_of_absent(name, {c: self.table(name, columns=[c])[c] for c in named}, filters)
        return as_frame(found)

    def head(self, name: str, rows: int = 20) -> tuple[pd.DataFrame, int]:
        """The first `rows` of a table, as `pandas` gives them, and its number of rows; only these rows are read.

        For `activations` the stored layers are returned, as by `activation_layers`.
        """
        if rows < 0:
            raise InputError(f"{rows} rows were asked for: give 0 or more.")
        schema, files = tables.named(name).schema, self._files(name)
        if name == "activations":
            layers = self.activation_layers()
            return layers.head(rows), len(layers)
        if not files:
            return as_frame(schema.empty_table()), 0
        with self._reading(f"Table {name!r}"):
            dataset = self._dataset(files, schema)
            return as_frame(first_rows(files, rows, schema, self._system)), dataset.count_rows()

    def has_rows(self, name: str) -> bool:
        """Whether the table `name` has any row, by the metadata of its files."""
        files, system = self._files(name), self._system
        with self._reading(f"Table {name!r}"):
            return any(pq.read_metadata(file, filesystem=system).num_rows for file in files)

    def activation_layers(self) -> pd.DataFrame:
        """The layers with stored activations, one per row: dataset, model, model_seed, layer, units, dtype and folder.

        Layers have vectors of different lengths and types, so each has its own folder, which any Parquet reader takes:
        ``pandas.read_parquet(run.activation_layers().folder[0])``. Folders whose files have no rows are left out.
        """
        layers = []
        for key, (files, schema) in sorted(self._activations.items()):
            vector = schema.field("vector").type
            folder = f"{self.path.rstrip('/')}/tables/activations/{files[0].rsplit('/', 2)[1]}"
            row = dict(zip(_LAYER_KEYS, key, strict=True))
            layers.append(
                row
                | {
                    "units": vector.list_size,
                    "dtype": str(np.dtype(vector.value_type.to_pandas_dtype())),
                    "folder": folder,
                }
            )
        return pd.DataFrame(layers, columns=[*_LAYER_KEYS, "units", "dtype", "folder"])

    def check_whole(self) -> None:
        """Raise `CorruptError` where a column that has a value in every row lacks one: no run writes that.

        Files' statistics tell it nearly always, so little is read. Columns of vectors and of images are left out.
        """
        for name in self.tables():
            schema, files = tables.named(name).schema, self._files(name)
            needed = [f.name for f in schema if not f.nullable and not pa.types.is_nested(f.type)]
            if name == "activations" or not needed:
                continue
            with self._reading(f"Table {name!r}"):
                lacking = reduce(or_, (pc.field(column).is_null() for column in needed))
                rows = self._dataset(files, schema).to_table(columns=needed, filter=lacking)
                if rows.num_rows:
                    empty = [column for column in needed if rows[column].null_count]
                    raise pa.ArrowInvalid(f"{rows.num_rows:,} rows lack a value in {', '.join(empty)}.")

    def sql(self, query: str, parameters: Sequence[object] | Mapping[str, object] | None = None) -> pd.DataFrame:
        """The result of a DuckDB `query`, in which every table of the run is a view by its name.

        Pass values through `parameters`: ``run.sql("select * from models where model = ?", ["007"])``. The database is
        in memory and has no access to files: it reads this run, and writes nothing. The activations of all layers are
        one view, with vectors as lists of float32.

        Raises `InputError` with DuckDB's own message when the query fails.
        """
        return self._answer(query, parameters, {})

    def _answer(self, query: str, parameters: Any, views: Mapping[str, pa.Table]) -> pd.DataFrame:
        import duckdb

        # An empty temp_directory: a query that outgrows memory fails, rather than spill into the current folder.
        config: dict[str, Any] = {"enable_external_access": "false", "temp_directory": ""}
        with heard_in_queries(), duckdb.connect(config=config) as connection, self._reading("A table"):
            leave_out_bar(connection)
            connection.execute("set lock_configuration = true")
            # Opening a table lists its files, so only those that the query names; none named, as in `show tables`: all.
            for name in named_in(query) or tables.TABLES:
                connection.register(name, self._view(name))
            for name, view in views.items():
                connection.register(name, view)
            return answer(connection, query, parameters)

    def own_query(self, query: str, parameters: Sequence[object] | Mapping[str, object] | None = None) -> pd.DataFrame:
        """`sql` for the queries of this package, faster where the run lies on this machine; not for activations.

        They may name a view that users do not have: `found_searches` (`FOUND_SEARCHES`).
        """
        files = {name: self._files(name) for name in named_in(query, own=True)}
        if isinstance(self._system, fs.LocalFileSystem) and "activations" not in files:
            with self._reading("A table"):
                for of in filter(None, files.values()):
                    self._check_known(of[0])
            kept: FileQueries = self._kept.setdefault("queries", FileQueries(f"{self._root}/tables"))
            found = kept.answer(files, query, parameters)
            if found is not None:
                return found
        return self._answer(
            query, parameters, {queries.SEARCHES: self._searches(files)} if queries.SEARCHES in query else {}
        )

    def _searches(self, files: Mapping[str, list[str]]) -> pa.Table:
        """The view `found_searches`, where DuckDB does not read the files itself; kept as long as they are the same."""
        if self._kept.get("files") != files["distortions"]:
            rows = pa.Table.from_pandas(
                self._answer(queries.FOUND_SEARCHES, None, {}), queries.SEARCH_SCHEMA, preserve_index=False
            )
            self._kept.update(files=files["distortions"], searches=rows)
        return self._kept["searches"]

    def groups(self, table: str) -> pd.DataFrame:
        """Which data sets, grades and rules `transfer` or `rays` has (`GROUPS`); kept while its files are the same."""
        files, kept = self._files(table), self._kept.setdefault("groups", {})
        if table not in kept or kept[table][0] != files:
            kept[table] = files, self.own_query(queries.GROUPS[table])
        return kept[table][1].copy()

    def models(self, dataset: str | None = None) -> list[tuple[str, int]]:
        """The (model, model_seed) pairs of the run (of one data set), models in the order of the spec."""
        chosen = {} if dataset is None else {"dataset": dataset}
        rows = self.table("models", columns=["model", "model_seed"], **chosen).to_pylist()
        return self.in_order({(row["model"], row["model_seed"]) for row in rows})

    def class_names(self) -> dict[tuple[str, int], str]:
        """The names of the classes by (dataset, label), for data sets with class names."""
        rows = self.table("examples", columns=["dataset", "label", "class_name"])
        classes = rows.group_by(rows.column_names).aggregate([]).to_pylist()
        return {(row["dataset"], row["label"]): row["class_name"] for row in classes if row["class_name"] is not None}

    def transfer_matrix(
        self,
        kind: str = "minimal",
        grade: str | None = None,
        target_rule: str | None = None,
        dataset: str | None = None,
        *,
        among: str = "found",
    ) -> pd.DataFrame:
        """Error rates, in [0, 1], of every model (columns) on the images made for every model (rows).

        kind: "minimal" (the adversarial images as found), "amplified", "gaussian" (noise of the same RMS), "clean" (one
        row of that name: the attacked images unchanged) or "noise" (rows "noise 0.1", ...: the attacked images plus
        Gaussian noise of that standard deviation, clipped). grade and target_rule are ignored for the last two. grade,
        target_rule and dataset may be omitted if the run has only one. Models are named "model", or "model#seed" if
        they have several seeds. NaN where a pair has no image, or has not been computed yet.

        among: which images are counted, among those of searches with the status `found`.

        - "found": all of them. A targeted search may start from an image that its own model misclassifies, and the
          model that is fed may have misclassified the unchanged image.
        - "source_correct": those whose unchanged image the source classifies correctly.
        - "target_correct": those whose unchanged image the target classifies correctly: every error is due to the
          change.
        - "both_correct": those that satisfy both.

        ``.attrs["low"]`` and ``.attrs["high"]`` are frames of the same shape, the ends of the 95 % Wilson interval;
        ``.attrs["n"]`` is the number of images counted, ``.attrs["left_out"]`` that of the found ones not counted
        (including those whose unchanged image the target was not fed yet), ``.attrs["rms"]`` the mean RMS of the change
        of each row's images, as fed, and ``.attrs["selection"]`` a `Selection`.

        Raises `InputError` if the run has several data sets, grades or rules and none is chosen, or no image of the
        kind; it lists the choices. Source: Szegedy et al. 2013, tables 2 and 4.
        """
        if kind not in KINDS:
            raise unknown_name("kind of image", kind, KINDS)
        if among not in AMONG:
            raise unknown_name("denominator (among)", among, AMONG)
        chosen = {"dataset": dataset} | ({} if kind in WITHOUT_SOURCE else {"grade": grade, "target_rule": target_rule})
        return Fed(self, [kind], chosen, self.in_order).matrix(kind, among)

    def amplification(
        self,
        grade: str | None = None,
        target_rule: str | None = None,
        dataset: str | None = None,
        *,
        among: str = "both_correct",
    ) -> pd.DataFrame:
        """The amplification curves: error rates of every model on found changes scaled to a series of sizes.

        One row per source, target and size (RMS after clipping, the same for every source): `rms` as fed (smaller if an
        image's ray ends before), `rate` with its 95 % Wilson interval `low` to `high` among `n` images, and
        `noise_rate`, `noise_low`, `noise_high`, `noise_n` for the same images with Gaussian noise of that size. grade,
        target_rule and dataset may be omitted if the run has only one. among: as in `transfer_matrix`; by default the
        images that source and target classify correctly, so that every error is due to the change.

        Raises `InputError` if the run has several of these and none is chosen, or no rays.
        """
        return rays.amplification(self._rays(grade, target_rule, dataset, among))

    def half_rms(
        self,
        grade: str | None = None,
        target_rule: str | None = None,
        dataset: str | None = None,
        *,
        among: str = "both_correct",
    ) -> pd.DataFrame:
        """How large a change made for a source (rows) must be to fool a target (columns) half of the time.

        A cell is the median over images of the smallest RMS (after clipping, along the ray through the found image) at
        which the target is wrong; infinity if half of the images never fool it inside the box. It depends on the
        direction of the found change, not on its size. Arguments as in `amplification`.

        ``.attrs["low"]``, ``["high"]``: the exact 95 % interval; ``["n"]``, ``["never"]``, ``["left_out"]``: the number
        of images counted, of those whose ray never fools, and of those not counted; ``["own"]``: the median distortion
        of each target's own searches, for comparison with its column; ``["noise"]``: the same median for Gaussian
        noise.

        Raises `InputError` if the run has several grades, rules or data sets and none is chosen, or no rays.
        """
        return rays.half_rms(self._rays(grade, target_rule, dataset, among))

    def grade_comparison(
        self,
        first: str,
        second: str,
        target_rule: str | None = None,
        dataset: str | None = None,
        *,
        among: str = "both_correct",
    ) -> pd.DataFrame:
        """Whether the changes found by one grade transfer less than those of another, at equal size, image by image.

        One row per source, other target and size: the error rates of the `first` and the `second` grade on the `n`
        images for which both found a change, the number of images that only one of them fools (`only_first`,
        `only_second`), McNemar's exact `p`, and `p_holm` over all rows.

        Raises `InputError` if the run has several rules or data sets and none is chosen, or no rays of a grade.
        """
        one, other = (self._rays(grade, target_rule, dataset, among) for grade in (first, second))
        return rays.grade_comparison(one, other)

    def _rays(self, grade: str | None, target_rule: str | None, dataset: str | None, among: str) -> rays.Rays:
        chosen = {"dataset": dataset, "grade": grade, "target_rule": target_rule}
        return rays.Rays(self, chosen, self.in_order, among)

    def in_order(self, models: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """Models as the spec lists them, others after them by name; seeds ascending."""
        names = [m.get("name") if isinstance(m, Mapping) else m for m in self.spec.get("models", [])]
        order = {name: i for i, name in reversed(list(enumerate(names)))}
        return sorted(models, key=lambda m: (order.get(m[0], len(names)), *m))

    def file_names(self, name: str) -> list[str]:
        """The names of a table's files."""
        return [file.rpartition("/")[2] for file in self._files(name)]

    def _files(self, name: str) -> list[str]:
        """The Parquet files of a table, sorted."""
        listed, _ = self._kept.get(self._listing, ({}, set()))
        if name not in listed:
            with self._reading(f"Table {name!r}"):
                folder = f"{self._root}/tables/{name}"
                listed[name] = table_files(self._system, folder, recursive=name == "activations")
        return listed[name]

    @property
    def _listing(self) -> str:
        """Where is kept what was listed once in this thread: others that read this run know nothing of it."""
        return f"listed by thread {get_ident()}"

    @contextmanager
    def listed_once(self) -> Iterator[None]:
        """Inside, in this thread, a table's files on an object store are listed and checked once: it takes requests.

        What a run that is at work adds meanwhile is not seen, and a file that it replaced is a `CorruptError`.
        """
        here = self._listing
        if isinstance(self._system, fs.LocalFileSystem) or here in self._kept:
            yield  # there is nothing to save, or this lies inside of another
            return
        self._kept[here] = {}, set()
        try:
            yield
        finally:
            del self._kept[here]

    def _check_known(self, file: str) -> None:
        known: set[str] = self._kept.get(self._listing, ({}, set()))[1]
        if file not in known:
            check_known(file, self.path, self._system)
            known.add(file)

    def _reading(self, what: str) -> Reading:
        return Reading(f"{what} of {self.path}", self.version)

    def _dataset(self, files: list[str], schema: pa.Schema) -> ds.Dataset:
        self._check_known(files[0])
        return ds.dataset(files, schema=schema, format="parquet", filesystem=self._system)

    @property
    def _activations(self) -> dict[tuple[str, str, int, str], tuple[list[str], pa.Schema]]:
        """Files and schema of each stored layer by (dataset, model, seed, layer), told by each folder's first row."""
        folders: dict[str, list[str]] = {}
        for file in self._files("activations"):
            folders.setdefault(file.rpartition("/")[0], []).append(file)
        layers: dict[tuple[str, str, int, str], tuple[list[str], pa.Schema]] = {}
        with self._reading("Table 'activations'"):
            for files in folders.values():
                for file in files:
                    parquet = pq.ParquetFile(file, filesystem=self._system)
                    row = next(parquet.iter_batches(batch_size=1, columns=list(_LAYER_KEYS)), None)
                    if row is not None and row.num_rows:
                        if not is_layer(parquet.schema_arrow):
                            raise pa.ArrowInvalid(f"{file} has no column `vector` of vectors of one length.")
                        key = tuple(row.to_pylist()[0][k] for k in _LAYER_KEYS)
                        layers[key] = (files, with_later_columns(parquet.schema_arrow))
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
            at = schema.get_field_index("maxima")
            schema = schema.set(at, pa.field("maxima", pa.list_(pa.uint16())))
        files = self._files(name)
        return self._dataset(files, schema) if files else schema.empty_table()
