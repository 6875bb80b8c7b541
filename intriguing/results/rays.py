"""What the rays of a run say: errors at equal size, the size that fools half of the time, and grades in pairs.

From rows of the tables `rays` and `distortions`.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as _compute

from intriguing.errors import InputError, unknown_name
from intriguing.results.matrices import AMONG, FOUND, Model, Order, Tables, labels_of, only
from intriguing.stats.intervals import median_interval, wilson
from intriguing.stats.multiple import holm
from intriguing.stats.paired import mcnemar

pc: Any = _compute

_CHOICES = ("dataset", "grade", "target_rule")
_POINTS = ("sizes", "rms", "predictions")
_KEYS = ["source_model", "source_seed", "model", "model_seed", "search_id", "example_id", "label"]
_READ = [*_KEYS, *_CHOICES, "clean_error", "status", "crossing", *_POINTS]
Cell = tuple[Model, Model]
"""A source and a target."""

_COUNTED = {
    "found": "true",
    "source_correct": "coalesce(source_correct, false)",
    "target_correct": "not clean_error",
    "both_correct": "not clean_error and coalesce(source_correct, false)",
}
"""Which rays count, by the word for it."""
_CROSSING = "list(case when status = 'never' then 'infinity' when clean_error then 0 else crossing end) as crossing"
_FED = """rays left join found using (source_model, source_seed, search_id)
    where kind = 'adversarial' and dataset = $dataset and grade = $grade and target_rule = $target_rule"""


class Rays:
    """The rays of one data set, grade and target rule, by source and target."""

    def __init__(
        self, run: Tables, chosen: Mapping[str, str | None], order: Order, among: str = "both_correct"
    ) -> None:
        """`chosen`: dataset, grade and target_rule, or None where there is only one; `among`: which images count.

        Raises `InputError`, listing the choices, where there are several or none; where the run has no rays; and where
        not all of them have the same sizes.
        """
        if among not in AMONG:
            raise unknown_name("denominator (among)", among, AMONG)
        self._run, self._order, self._among = run, order, among
        present = run.groups("rays")
        if not len(present):
            raise InputError(
                "The run has no rays: they are followed where [transfer] has `sizes` and a data set has two models."
            )
        groups, self.chosen = only(pa.Table.from_pandas(present, preserve_index=False), chosen, "rays")
        [group] = groups.to_pylist()
        if group["least"] < group["most"]:
            raise InputError("The run's rays have different sizes: it holds rows of two specs.")
        self.sizes = np.array(group["sizes"], np.float32)

    @property
    def cells(self) -> list[Cell]:
        """Every pair that was fed, sources and targets in the run's order."""
        sources, targets = (self._order({cell[i] for cell in self.crossings}) for i in (0, 1))
        return [(source, target) for source in sources for target in targets if (source, target) in self.crossings]

    @property
    def counted(self) -> str:
        """The condition on a row of `rays`, in SQL, that it counts."""
        return _COUNTED[self._among]

    @cached_property
    def crossings(self) -> dict[Cell, tuple[np.ndarray, int]]:
        """Per pair: where its rays cross, in no order, as in `self[cell]`; and how many rays do not count."""
        rows = self.query(
            f"with {FOUND} select source_model, source_seed, model, model_seed, {self.counted} as counted, {_CROSSING} "
            f"from {_FED} group by all"
        )
        found: dict[Cell, tuple[np.ndarray, int]] = {}
        for row in rows.to_dict("records"):
            cell = ((row["source_model"], row["source_seed"]), (row["model"], row["model_seed"]))
            crossing, left_out = found.get(cell, (np.zeros(0), 0))
            values = np.asarray(row["crossing"], float)
            found[cell] = (values, left_out) if row["counted"] else (crossing, len(values))
        return found

    @cached_property
    def _cells(self) -> dict[Cell, dict[str, np.ndarray]]:
        filters = {name: value for name, value in self.chosen.items() if value is not None}
        return self._by_cell(self._run.table("rays", columns=_READ, kind="adversarial", **filters), self._among)

    def query(self, sql: str, **values: object) -> pd.DataFrame:
        """The answer to a query with the values that it asks for."""
        chosen = {name: value for name, value in {**self.chosen, **values}.items() if f"${name}" in sql}
        return self._run.own_query(sql, chosen)

    def noise_crossings(self) -> dict[Model, np.ndarray]:
        """The control: where rays of noise cross, by model, from images that it gets right."""
        rows = self.query(
            f"select model, model_seed, {_CROSSING} from rays "
            "where kind = 'gaussian' and dataset = $dataset and not clean_error group by all"
        )
        return {(r["model"], r["model_seed"]): np.asarray(r["crossing"], float) for r in rows.to_dict("records")}

    def __getitem__(self, cell: Cell) -> dict[str, np.ndarray]:
        """The rays of a pair: example_id (n,), crossing (n,), wrong and rms (n, S); left_out: how many do not count.

        A crossing is 0 where the target was wrong before any change, and infinity where the ray never fools it.
        """
        return self._cells[cell]

    def noise(self) -> dict[Model, dict[str, np.ndarray]]:
        """The control: rays of noise by model, example_id ascending, as of a pair, with clean_error (n,)."""
        rows = self._run.table("rays", columns=_READ, kind="gaussian", dataset=self.chosen["dataset"])
        each: dict[Model, dict[str, np.ndarray]] = {}
        arrays = _arrays(rows)
        for model, at in _groups(arrays, "model", "model_seed"):
            at = at[np.argsort(arrays["example_id"][at], kind="stable")]
            each[model] = {name: arrays[name][at] for name in ("example_id", "wrong", "crossing", "clean_error")}
        return each

    def own(self, models: Sequence[Model], labels: pd.Index) -> pd.Series:
        """The median distortion of each model's own searches, from images that it got right."""
        rows = self.query(
            "select model, model_seed, median(distortion) as half from found_searches where source_correct "
            "and dataset = $dataset and grade = $grade and target_rule = $target_rule group by all"
        )
        medians = {(row["model"], row["model_seed"]): row["half"] for row in rows.to_dict("records")}
        return pd.Series([medians.get(model, np.nan) for model in models], labels, name="own", dtype=float)

    def _by_cell(self, rows: pa.Table, among: str) -> dict[Cell, dict[str, np.ndarray]]:
        arrays = _arrays(rows)
        counted = np.ones(rows.num_rows, dtype=bool)
        if among in ("target_correct", "both_correct"):
            counted &= ~arrays["clean_error"]
        if among in ("source_correct", "both_correct"):
            counted &= self._source_correct(rows)
        cells: dict[Cell, dict[str, np.ndarray]] = {}
        for key, at in _groups(arrays, "source_model", "source_seed", "model", "model_seed"):
            here = at[counted[at]]
            here = here[np.argsort(arrays["example_id"][here], kind="stable")]
            cell = {name: arrays[name][here] for name in ("example_id", "wrong", "crossing", "rms")}
            cells[key[:2], key[2:]] = cell | {"left_out": np.array(len(at) - len(here))}  # type: ignore[index]
        return cells

    def _source_correct(self, rows: pa.Table) -> np.ndarray:
        """Per ray: whether the model that the image was made for was right before the change."""
        columns = ["model", "model_seed", "search_id", "label", "clean_prediction"]
        searches = self._run.table("distortions", columns=columns, dataset=self.chosen["dataset"], status="found")
        right = pc.fill_null(pc.equal(searches["label"], searches["clean_prediction"]), False)
        searches = searches.select(columns[:3]).append_column("right", right)
        keys = ["source_model", "source_seed", "search_id"]
        numbered = rows.select(keys).append_column("row", pa.array(np.arange(rows.num_rows)))
        joined = numbered.join(searches, keys, columns[:3], join_type="left outer", use_threads=False).sort_by("row")
        return pc.fill_null(joined["right"], False).to_numpy()


def amplification(rays: Rays) -> pd.DataFrame:
    """The amplification curves, as `Run.amplification` describes them."""
    noise, label, rows = rays.noise(), _label(rays), []
    for source, target in rays.cells:
        cell = rays[source, target]
        control = _at(noise.get(target), cell["example_id"])
        for s, size in enumerate(rays.sizes):
            row = {"source": label[source], "target": label[target], "size": float(f"{size:g}")}
            row |= {"rms": float(cell["rms"][:, s].mean()) if len(cell["rms"]) else np.nan}
            row |= _rate("", cell["wrong"][:, s]) | _rate("noise_", control[:, s] if control.size else control)
            rows.append(row)
    return pd.DataFrame(rows)


def half_rms(rays: Rays) -> pd.DataFrame:
    """The matrix of sizes that fool half of the time, as `Run.half_rms` describes it."""
    label, noise = _label(rays), rays.noise_crossings()
    sources, targets = (list(dict.fromkeys(cell[i] for cell in rays.cells)) for i in (0, 1))
    index = pd.Index([label[m] for m in sources], name="source", dtype="str")
    columns = pd.Index([label[m] for m in targets], name="target", dtype="str")
    shape = (len(sources), len(targets))
    values = {name: np.full(shape, np.nan) for name in ("median", "low", "high")}
    values |= {name: np.zeros(shape, np.int64) for name in ("n", "never", "left_out")}
    for source, target in rays.cells:
        crossing, left_out = rays.crossings[source, target]
        at = (sources.index(source), targets.index(target))
        values["n"][at], values["never"][at], values["left_out"][at] = len(crossing), np.isinf(crossing).sum(), left_out
        if len(crossing):
            values["low"][at], values["high"][at] = median_interval(crossing)
            values["median"][at] = _median(crossing)
    frames = {name: pd.DataFrame(array, index, columns) for name, array in values.items()}
    matrix = frames.pop("median")
    matrix.attrs = {**frames, "selection": rays.chosen, "own": rays.own(targets, columns)}
    halves = [_median(noise[m]) if len(noise.get(m, ())) else np.nan for m in targets]
    matrix.attrs["noise"] = pd.Series(halves, columns, name="noise")
    return matrix


def grade_comparison(first: Rays, second: Rays) -> pd.DataFrame:
    """Two grades in pairs, as `Run.grade_comparison` describes it."""
    label, rows = _label(first), []
    for source, target in (cell for cell in first.cells if cell[0] != cell[1] and cell in second.cells):
        one, other = first[source, target], second[source, target]
        _, here, there = np.intersect1d(one["example_id"], other["example_id"], return_indices=True)
        for s, size in enumerate(first.sizes):
            a, b = one["wrong"][here, s], other["wrong"][there, s]
            row = {"source": label[source], "target": label[target], "size": float(f"{size:g}"), "n": len(a)}
            row |= {"first": a.mean() if len(a) else np.nan, "second": b.mean() if len(b) else np.nan}
            rows.append(row | {"only_first": int((a & ~b).sum()), "only_second": int((b & ~a).sum())})
    names = ["source", "target", "size", "n", "first", "second", "only_first", "only_second"]
    frame = pd.DataFrame(rows, columns=names)
    frame["p"] = mcnemar(frame["only_first"].to_numpy(int), frame["only_second"].to_numpy(int))
    frame["p_holm"] = holm(frame["p"].to_numpy(float))
    frame.attrs = {"first": first.chosen["grade"], "second": second.chosen["grade"], "selection": dict(first.chosen)}
    return frame


def _median(values: np.ndarray) -> float:
    """The median, where some may be infinite: of an even number of values the lower middle one if the upper is."""
    ordered = np.sort(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(low if np.isinf(high) and not np.isinf(low) else (low + high) / 2)


def _rate(prefix: str, wrong: np.ndarray) -> dict[str, float]:
    low, high = wilson(wrong.sum(), len(wrong))
    rate = float(wrong.mean()) if len(wrong) else np.nan
    return {f"{prefix}rate": rate, f"{prefix}low": float(low), f"{prefix}high": float(high), f"{prefix}n": len(wrong)}


def _at(noise: dict[str, np.ndarray] | None, ids: np.ndarray) -> np.ndarray:
    """Whether noise made a model wrong, (n, S), for the images with these `ids` that it was fed with noise."""
    if noise is None or not len(noise["example_id"]):
        return np.zeros((0,), dtype=bool)
    known = noise["example_id"]
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return noise["wrong"][place[known[place] == ids]]


def _arrays(rows: pa.Table) -> dict[str, np.ndarray]:
    """The columns of rays as arrays: crossing 0 for wrong before and infinity for never, wrong and rms (n, S)."""
    arrays = {
        name: rows[name].to_numpy() for name in ("label", "example_id", "clean_error", "source_seed", "model_seed")
    }
    for name in ("source_model", "model"):
        arrays[name] = rows[name].to_numpy()
    crossing = pc.fill_null(rows["crossing"], np.nan).to_numpy().astype(float)
    never = pc.equal(rows["status"], "never").to_numpy()
    predictions = _matrix(rows["predictions"])
    return arrays | {
        "crossing": np.where(never, np.inf, np.where(arrays["clean_error"], 0.0, crossing)),
        "wrong": predictions != arrays["label"][:, None],
        "rms": _matrix(rows["rms"]),
    }


def _matrix(lists: pa.ChunkedArray) -> np.ndarray:
    """Lists of one length as a matrix (n, S)."""
    flat = lists.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(lists), -1) if len(lists) else flat.reshape(0, 0)


def _groups(arrays: dict[str, np.ndarray], *keys: str) -> list[tuple[Any, np.ndarray]]:
    """The rows of each combination of keys."""
    frame = pd.DataFrame({key: arrays[key] for key in keys})
    groups: dict[Any, np.ndarray] = frame.groupby(list(keys), sort=True).indices  # type: ignore[assignment]
    return [(tuple(v.item() if isinstance(v, np.generic) else v for v in key), at) for key, at in groups.items()]


def _label(rays: Rays) -> dict[Model, str]:
    return labels_of({model for cell in rays.cells for model in cell})


def against_noise(rays: Rays, at: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per image: errors on the found changes, errors on noise of the same size, and how many of its rays count.

    Each (n,), over all pairs of different models, at the size number `at`. Images without a ray of noise are left out.
    """
    rows = rays.query(
        f"with {FOUND}, noise as ("
        "    select model, model_seed, example_id, predictions[$at] <> label as wrong from rays"
        "    where kind = 'gaussian' and dataset = $dataset"
        "), fed as ("
        f"    select model, model_seed, example_id, predictions[$at] <> label as wrong from {_FED} "
        f"    and {rays.counted} and (source_model, source_seed) <> (model, model_seed)"
        ") select sum(fed.wrong::int) as fed, sum(noise.wrong::int) as noise, count(*) as n "
        "from fed join noise using (model, model_seed, example_id) group by example_id order by example_id",
        at=at + 1,
    )
    wrong, noise, counted = (rows[name].to_numpy(float) for name in ("fed", "noise", "n"))
    return wrong, noise, counted
