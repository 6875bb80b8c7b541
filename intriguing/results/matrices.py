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

_CELL = ["source_model", "source_seed", "model", "model_seed"]
_CHOICES = ("dataset", "grade", "target_rule")

FOUND = """found as (
    select model as source_model, model_seed as source_seed, search_id, source_correct
    from found_searches where dataset = $dataset
)"""
_CLEAN = """clean as (
    select model, model_seed, example_id, not bool_or(is_error) as target_correct
    from transfer where dataset = $dataset and kind = 'clean' group by all
)"""
_CHOSEN = "dataset = $dataset and grade = $grade and target_rule = $target_rule and list_contains($kinds, kind)"
# The sum of decimals is the same in whatever order they come.
_COUNTS = "count(*) as n, count(*) filter (is_error) as errors, sum(rms::decimal(18, 12)) as change"
# Whether models were right before the change is looked up where it is asked for: that takes as long again.
_RIGHT = ("source_correct, target_correct", f", {_CLEAN}", "left join clean using (model, model_seed, example_id)")
_ALL = ("true as source_correct, true as target_correct", "", "")
_COUNTED = f"""
    with {FOUND} {{clean}}
    select kind, source_model, source_seed, model, model_seed, {{right}}, {_COUNTS}
    from transfer join found using (source_model, source_seed, search_id) {{join}}
    where {_CHOSEN} group by all order by all
"""
# Of images made for no model one per model, image and size, whatever searches it stands for.
_COUNTED_WITHOUT_SOURCE = f"""
    with fed as (
        select kind, size, model, model_seed, example_id, bool_or(is_error) as is_error, max(rms) as rms,
               false as source_correct
        from transfer where dataset = $dataset and list_contains($kinds, kind) group by all
    ) {{clean}}
    select kind, case when size is null then 'clean' else printf('noise %g', size) end as source_model,
           -1 as source_seed, model, model_seed, {{right}}, {_COUNTS}
    from fed {{join}} group by all order by all
"""
_STARTS = f"""
    with {FOUND}, fed as (
        select distinct source_model, source_seed, search_id from transfer where {_CHOSEN}
    )
    select source_model, source_seed, count(*) as n, count(*) filter (not source_correct) as wrong
    from fed join found using (source_model, source_seed, search_id) group by all
"""


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

    def own_query(self, query: str, parameters: Mapping[str, object] | None = None) -> pd.DataFrame:
        """The answer to a query of this package's own."""
        ...

    def groups(self, table: str) -> pd.DataFrame:
        """Of which data sets, grades and rules the images of a table are."""
        ...


class Fed:
    """The images of one data set, grade and target rule that were fed to models, counted once for all their matrices.

    The counts are by kind, source, target, and whether source and target were right before the change: all matrices,
    whatever images they count, are sums of these.
    """

    def __init__(self, run: Tables, kinds: Sequence[str], chosen: Mapping[str, str | None], order: "Order") -> None:
        """`chosen`: dataset, grade and target_rule, or None where there is only one.

        Raises `InputError`, listing the choices, where there are several or none.
        """
        self._run, self._order = run, order
        present = run.groups("transfer")
        rows = present[present["kind"].isin(list(kinds))]
        if not len(rows):
            named = " or ".join(map(repr, kinds))
            has = _listed(dict.fromkeys(present["kind"]))
            raise InputError(f"The run has no rows of kind {named} in table 'transfer'; it has: {has}.")
        _, self._chosen = only(pa.Table.from_pandas(rows, preserve_index=False), chosen)
        self._given: dict[str, object] = {"dataset": self._chosen["dataset"], "kinds": list(kinds)}
        self._query = _COUNTED_WITHOUT_SOURCE
        if not set(kinds) & set(WITHOUT_SOURCE):
            self._query = _COUNTED
            self._given |= {"grade": self._chosen["grade"], "target_rule": self._chosen["target_rule"]}

    @cached_property
    def _all(self) -> Any:
        """The counts, whoever was right before the change."""
        return self._counts(*_ALL)

    @cached_property
    def _by_who_was_right(self) -> Any:
        """The counts by source_correct and target_correct too; null where that is not known."""
        return self._counts(*_RIGHT)

    def _counts(self, right: str, clean: str, join: str) -> Any:
        return self._run.own_query(self._query.format(right=right, clean=clean, join=join), self._given)

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
        counts = self._all if among == "found" else self._by_who_was_right
        rows = counts[counts["kind"] == kind]
        kept = np.ones(len(rows), dtype=bool)
        if among in ("source_correct", "both_correct"):
            kept &= rows["source_correct"].to_numpy(bool)
        if among in ("target_correct", "both_correct"):
            # Where nobody knows whether a model is right it counts as not right.
            kept &= rows["target_correct"].eq(True).fillna(False).to_numpy(bool)
        counted = rows[["n", "errors", "change"]].astype(float).mul(kept, axis=0)
        frame = rows[_CELL].assign(**counted, left_out=np.where(kept, 0, rows["n"]))
        cells = frame.groupby(_CELL, sort=False, as_index=False).sum().to_dict("records")
        sources = self._order({(c["source_model"], c["source_seed"]) for c in cells})
        matrix = _matrix(cells, sources, self._order({(c["model"], c["model_seed"]) for c in cells}))
        dataset, grade, target_rule = (self._chosen[name] for name in _CHOICES)
        selection = Selection(kind, among, str(dataset), grade, target_rule)
        matrix.attrs = {"selection": selection, **matrix.attrs}
        return matrix

    @property
    def unknown(self) -> int:
        """Images fed to a model that was not fed the unchanged image yet, so that its answer to that is not known."""
        counts = self._by_who_was_right
        return int(counts["n"][counts["target_correct"].isna()].sum())

    def starts(self) -> list[tuple[str, int, int]]:
        """Per source: its name, how many of its searches found something, and how many of those started from an image
        that it did not classify rightly.
        """
        rows = self._run.own_query(_STARTS, self._given).to_dict("records")
        found = {(row["source_model"], int(row["source_seed"])): (int(row["n"]), int(row["wrong"])) for row in rows}
        label = labels_of(found)
        return [(label[model], *found[model]) for model in self._order(found)]


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
        errors[i, j], n[i, j], left_out[i, j] = cell["errors"], cell["n"], cell["left_out"]
        rms[i] += cell["change"]
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
