"""Transfer matrices: error rates by source and target, from rows of the tables `transfer` and `distortions`."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as _compute

from intriguing.errors import InputError, unknown_name
from intriguing.results.in_notebooks import Matrix
from intriguing.stats.intervals import wilson

pc: Any = _compute

KINDS = ("clean", "noise", "minimal", "amplified", "gaussian")
WITHOUT_SOURCE = ("clean", "noise")
"""Kinds of images that were made for no model."""

AMONG = ("found", "source_correct", "target_correct", "both_correct")

Model = tuple[str, int]
"""A model's name and seed."""

_FED = ("source_model", "source_seed", "search_id")
_CELL = ("source_model", "source_seed", "model", "model_seed")
_CHOICES = ("dataset", "grade", "target_rule")
_ROWS = [*_FED, *_CHOICES, "model", "model_seed", "example_id", "kind", "size", "rms", "is_error"]


@dataclass(frozen=True, eq=False)
class Selection:
    """What a transfer matrix shows: the choices made by the caller, or by there being only one.

    Each matrix has its own, equal to itself alone, so that pandas never compares the frames beside it in `.attrs`: the
    concatenation of two matrices drops them, rather than fail.
    """

    kind: str
    among: str
    dataset: str
    grade: str | None
    target_rule: str | None


class Tables(Protocol):
    """What matrices need of a run: its tables."""

    def table(self, name: str, *, columns: Sequence[str] | None = None, **filters: object) -> pa.Table:
        """Rows of a table."""
        ...


class Fed:
    """The images of one data set, grade and target rule that were fed to models, read once for all their matrices."""

    def __init__(self, run: Tables, kinds: Sequence[str], chosen: Mapping[str, str | None], order: "Order") -> None:
        """`chosen`: dataset, grade and target_rule, or None where there is only one.

        Raises `InputError`, listing the choices, where there are several or none.
        """
        self._run, self._order = run, order
        filters = {name: value for name, value in chosen.items() if value is not None}
        rows = run.table("transfer", columns=_ROWS, kind=list(kinds), **filters)
        if not rows.num_rows:
            # Nothing matches: read again without the choices, to say what there is to choose from.
            rows = run.table("transfer", columns=_ROWS, kind=list(kinds))
        if not rows.num_rows:
            present = run.table("transfer", columns=["kind"])["kind"].unique().to_pylist()
            named = " or ".join(map(repr, kinds))
            raise InputError(f"The run has no rows of kind {named} in table 'transfer'; it has: {_listed(present)}.")
        rows, self._chosen = only(rows, chosen)
        self._starts: dict[Model, tuple[int, int]] = {}
        self._rows = _once_each(rows) if set(kinds) & set(WITHOUT_SOURCE) else self._known(rows)

    def matrix(self, kind: str, among: str = "found") -> pd.DataFrame:
        """The matrix of a kind of image, as `Run.transfer_matrix` describes it."""
        if among not in AMONG:
            raise unknown_name("denominator (among)", among, AMONG)
        if kind == "clean" and among != "found":
            raise InputError(
                f"among={among!r} plays no part for clean images: no model's search made them, and a model is never "
                "wrong on the clean images that it gets right. Leave it out."
            )
        if kind == "noise" and among not in ("found", "target_correct"):
            raise InputError(
                f"among={among!r} plays no part for noise: no model's search made it. Take 'target_correct' for the "
                "images that the model fed gets right without it, or leave it out."
            )
        rows = self._rows.append_column("kept", self._kept(among))
        rows = rows.filter(pc.equal(rows["kind"], kind))
        kept = rows["kept"]
        columns = {
            "errors": pc.and_(kept, rows["is_error"]),
            "change": pc.if_else(kept, rows["rms"], pa.scalar(0, pa.float32())),
        }
        for name, values in columns.items():
            rows = rows.append_column(name, values)
        # One thread: sums of floating numbers are the same each time.
        sums = [("errors", "sum"), ("kept", "sum"), ("kept", "count"), ("change", "sum")]
        cells = rows.group_by(list(_CELL), use_threads=False).aggregate(sums).to_pylist()
        sources = self._order({(c["source_model"], c["source_seed"]) for c in cells})
        matrix = _matrix(cells, sources, self._order({(c["model"], c["model_seed"]) for c in cells}))
        dataset, grade, target_rule = (self._chosen[name] for name in _CHOICES)
        selection = Selection(kind, among, str(dataset), grade, target_rule)
        matrix.attrs = {"selection": selection, **matrix.attrs}
        return matrix

    def _kept(self, among: str) -> pa.ChunkedArray:
        """Per row: whether it is counted."""
        match among:
            case "source_correct":
                return self._rows["source_correct"]
            case "target_correct":
                # Where nobody knows whether a model is right it counts as not right.
                return pc.fill_null(self._target_correct, False)
            case "both_correct":
                return pc.and_(self._kept("source_correct"), self._kept("target_correct"))
            case _:
                return pc.is_valid(self._rows["is_error"])

    @property
    def unknown(self) -> int:
        """Images fed to a model that was not fed the unchanged image yet, so that its answer to that is not known."""
        return self._target_correct.null_count

    def starts(self) -> list[tuple[str, int, int]]:
        """Per source: its name, how many of its searches found something, and how many of those started from an image
        that it did not classify rightly.
        """
        label = labels_of(self._starts)
        return [(label[model], *self._starts[model]) for model in self._order(self._starts)]

    def _known(self, rows: pa.Table) -> pa.Table:
        """The rows whose search has status `found`, with whether source and target were right before the change."""
        dataset = self._chosen["dataset"]
        keys = ["model", "model_seed", "search_id"]
        columns = [*keys, "label", "clean_prediction"]
        found_searches = self._run.table("distortions", columns=columns, dataset=dataset, status="found")
        right = pc.fill_null(pc.equal(found_searches["label"], found_searches["clean_prediction"]), False)
        found_searches = found_searches.select(keys).append_column("source_correct", right)
        # What is the same in every row is not carried through the joins.
        rows = rows.drop_columns(list(_CHOICES))
        rows = rows.join(found_searches, list(_FED), keys, join_type="inner", use_threads=False)
        searches = rows.group_by(list(_FED), use_threads=False).aggregate([("source_correct", "min")])
        each = searches.group_by(list(_FED[:2]), use_threads=False)
        totals = each.aggregate([("source_correct_min", "count"), ("source_correct_min", "sum")]).to_pylist()
        for row in totals:
            n, correct = row["source_correct_min_count"], row["source_correct_min_sum"]
            self._starts[row["source_model"], row["source_seed"]] = (n, n - correct)
        return rows.drop_columns(["search_id"])

    @cached_property
    def _target_correct(self) -> pa.ChunkedArray:
        """Per row: whether the model fed was right before the change; null where it was not fed the image unchanged."""
        columns = ["model", "model_seed", "example_id", "is_error"]
        clean = self._run.table("transfer", columns=columns, dataset=self._chosen["dataset"], kind="clean")
        clean = clean.group_by(columns[:3]).aggregate([("is_error", "max")])
        clean = clean.select(columns[:3]).append_column("target_correct", pc.invert(clean["is_error_max"]))
        rows = self._rows.select(columns[:3]).append_column("row", pa.array(np.arange(self._rows.num_rows)))
        joined = rows.join(clean, columns[:3], join_type="left outer", use_threads=False)
        return joined.sort_by("row")["target_correct"]


Order = Callable[[Iterable[Model]], list[Model]]
"""Models in the order that a run shows them in."""


def only(
    rows: pa.Table, chosen: Mapping[str, str | None], what: str = "transfer rows"
) -> tuple[pa.Table, dict[str, str | None]]:
    """The rows whose columns have the `chosen` values, and those values; a column without a choice has one value."""
    values: dict[str, str | None] = dict.fromkeys(_CHOICES)
    several, named = [], []
    for column, choice in chosen.items():
        present = sorted(rows[column].unique().to_pylist())
        if choice is not None:
            named.append(f"{column} {choice!r}")
            if choice not in present:
                raise InputError(
                    f"The run has no {what} with {' and '.join(named)}: choose {column}= one of {_listed(present)}."
                )
        elif len(present) > 1:
            several.append((column, present))
            continue
        value = values[column] = present[0] if choice is None else choice
        rows = rows.filter(pc.equal(rows[column], value)) if len(present) > 1 else rows
    if several:
        choices = " and ".join(f"{column}= one of {_listed(present)}" for column, present in several)
        raise InputError(f"The run has several values of {' and '.join(c for c, _ in several)}: choose {choices}.")
    return rows, values


def _once_each(rows: pa.Table) -> pa.Table:
    """Rows of images made for no model, under the sources "clean" and "noise 0.1": one per model, image and size,
    whatever searches the image stands for.
    """
    keys = ["kind", "size", "model", "model_seed", "example_id"]
    rows = rows.group_by(keys, use_threads=False).aggregate([("is_error", "max"), ("rms", "max")])
    called = {size: "clean" if size is None else f"noise {size:g}" for size in rows["size"].unique().to_pylist()}
    names = pa.array([called[size] for size in rows["size"].to_pylist()], pa.string())
    source = [names, pa.array(np.full(len(rows), -1), pa.int32())]
    return pa.table([*source, *rows.columns], ["source_model", "source_seed", *keys, "is_error", "rms"])


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(repr, values)) or "none"


def _matrix(cells: list[dict[str, Any]], sources: list[Model], targets: list[Model]) -> pd.DataFrame:
    """Error rates by source and target, with interval, counts and RMS in attrs."""
    shape = (len(sources), len(targets))
    errors, n, left_out = (np.zeros(shape, np.int64) for _ in range(3))
    rms = np.zeros(len(sources))
    rows, columns = ({model: i for i, model in enumerate(models)} for models in (sources, targets))
    for cell in cells:
        i, j = rows[cell["source_model"], cell["source_seed"]], columns[cell["model"], cell["model_seed"]]
        errors[i, j], n[i, j] = cell["errors_sum"], cell["kept_sum"]
        left_out[i, j] = cell["kept_count"] - cell["kept_sum"]
        rms[i] += cell["change_sum"]
    label = labels_of({*sources, *targets})
    index = pd.Index([label[m] for m in sources], name="source", dtype="str")
    names = pd.Index([label[m] for m in targets], name="target", dtype="str")
    low, high = wilson(errors, n)
    with np.errstate(invalid="ignore"):
        matrix = Matrix(errors / n, index, names)
        rms = rms / n.sum(axis=1)
    frames = {"low": low, "high": high, "n": n, "left_out": left_out}
    matrix.attrs = {name: pd.DataFrame(values, index, names) for name, values in frames.items()}
    matrix.attrs["rms"] = pd.Series(rms, index, name="rms")
    return matrix


def labels_of(models: Iterable[Model]) -> dict[Model, str]:
    """What models are called: the bare name where it has one seed."""
    seeds = Counter(name for name, _ in models)
    return {(name, seed): name if seeds[name] == 1 else f"{name}#{seed}" for name, seed in models}
