"""Two runs side by side: what differs in their specs, and the figures that both have, with their intervals."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from intriguing.basics.text.printable import filled, width_of
from intriguing.errors import InputError
from intriguing.results.matrices import KINDS, WITHOUT_SOURCE
from intriguing.results.run import Run
from intriguing.stats.intervals import median_interval

_SEARCH = ("dataset", "model", "model_seed", "target_rule", "grade")
_TEST = ("dataset", "model", "model_seed", "layer", "condition", "metric", "judge", "control")
_ABSENT = "(absent)"


@dataclass(frozen=True)
class Measured:
    """A figure of one run, with the ends of its 95 % interval where it has one; all are finite."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Difference:
    """A figure of both runs. `apart` says whether their intervals do not touch (None: one of them has none)."""

    what: str
    first: Measured
    second: Measured

    @property
    def apart(self) -> bool | None:
        """Whether the intervals have no point in common. Touching intervals do not show that the figures are equal."""
        (low, high), (other_low, other_high) = ((m.low, m.high) for m in (self.first, self.second))
        if low is None or high is None or other_low is None or other_high is None:
            return None
        return high < other_low or other_high < low


@dataclass(frozen=True)
class RunsCompared:
    """What two runs have in common and where they differ.

    `spec`: per key of the specs that differs, the two values. `figures`: every figure that both have. `only_first`,
    `only_second`: the figures that one of them lacks, by name.
    """

    spec: Mapping[str, tuple[Any, Any]]
    figures: tuple[Difference, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "spec": {key: list(values) for key, values in self.spec.items()},
            "figures": [asdict(figure) | {"apart": figure.apart} for figure in self.figures],
            "only_first": list(self.only_first),
            "only_second": list(self.only_second),
        }

    def text(self, width: int | None = None) -> str:
        """What a person reads: the specs first, then the figures, those that are apart first.

        width: of a line (None: as long as it needs). Names that leave no room for their figures have a line of their
        own, and are cut where they still are too long; figures are not cut.
        """
        lines = ["The specs are equal." if not self.spec else "The specs differ in:"]
        for key, (a, b) in self.spec.items():
            lines += _lines(f"{key}:", _in_spec(a), _in_spec(b), len(key) + 1, width)
        apart = [figure for figure in self.figures if figure.apart]
        same = [figure for figure in self.figures if figure.first == figure.second]
        others = [figure for figure in self.figures if not figure.apart and figure.first != figure.second]
        for title, figures in (
            ("Intervals apart", apart),
            ("Different, with intervals that overlap or without any", others),
        ):
            if figures:
                lines += ["", f"{title}:"]
                wide = max(width_of(figure.what) for figure in figures)
                for f in figures:
                    lines += _lines(f.what, _told(f.first), _told(f.second), wide + 1, width)
        lines += ["", f"{len(same):,} of {len(self.figures):,} figures that both have are equal to the last bit."]
        for which, names in (("first", self.only_first), ("second", self.only_second)):
            if names:
                lines += [
                    f"Only the {which} run has {len(names):,} more figures, such as:",
                    _cut(f"  {names[0]}", width),
                ]
        return "\n".join(lines)


def compare(first: Run, second: Run) -> RunsCompared:
    """What differs between two runs; they may be unfinished, and of different specs."""
    a, b = _figures(first), _figures(second)
    return RunsCompared(
        _spec_differences(first.spec, second.spec),
        tuple(Difference(what, a[what], b[what]) for what in a if what in b),
        tuple(what for what in a if what not in b),
        tuple(what for what in b if what not in a),
    )


def _spec_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The keys that differ. A table that one of the specs lacks is one key: most of what is in it was never typed."""
    return {key: (a, b) for key, a, b in _pairs(first, second) if a != b}


def _pairs(first: Any, second: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    tables = isinstance(first, Mapping), isinstance(second, Mapping)
    if all(tables):
        for key in dict.fromkeys([*first, *second]):
            yield from _pairs(first.get(key, _ABSENT), second.get(key, _ABSENT), f"{path}.{key}" if path else str(key))
    elif any(tables):
        yield path, _ABSENT if first is None else first, _ABSENT if second is None else second  # a section left out
    else:
        yield path, first, second


def _figures(run: Run) -> dict[str, Measured]:
    """Every finite figure of a run by name: errors of models, distortions, transfer, effects of units."""
    return {
        name: Measured(value, *(float(end) for end in ends)) if np.isfinite(ends).all() else Measured(value)
        for name, value, *ends in _read(run)
        if np.isfinite(value)
    }


def _read(run: Run) -> Iterator[tuple[Any, ...]]:
    """Every figure's name and value, and the ends of its interval where it has one."""
    for row in run.table("models").to_pylist():
        for split in ("train", "test"):
            if row[f"{split}_error"] is not None:
                name = f"{split} error of {row['model']}#{row['model_seed']} on {row['dataset']}"
                yield name, row[f"{split}_error"]
    searches = run.table("distortions", columns=[*_SEARCH, "example_id", "distortion"], status="found").to_pylist()
    groups: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for row in searches:
        images = groups.setdefault(tuple(row[key] for key in _SEARCH), {})
        images.setdefault(row["example_id"], []).append(row["distortion"])
    for (dataset, model, seed, rule, grade), images in groups.items():
        # Searches for several classes share the image: the median is of images, each with its own median.
        values = [median(found) for found in images.values()]
        name = f"median distortion of {model}#{seed} on {dataset}, {rule}, {grade}"
        yield name, median(values), *median_interval(values)
    yield from _cells(run)
    for row in run.table("rotation_tests", alpha=0.0).to_pylist():
        if row["effect"] is not None:
            place = " ".join(str(row[key]) for key in _TEST if row[key] not in (None, ""))
            sd = row["null_sd"]
            known = sd and row["low"] is not None and row["high"] is not None
            ends = (row["low"] / sd, row["high"] / sd) if known else ()
            yield f"effect of {place}", row["effect"], *ends


def _cells(run: Run) -> Iterator[tuple[Any, ...]]:
    chosen = run.table("transfer", columns=["dataset", "grade", "target_rule", "kind"])
    chosen = chosen.group_by(chosen.column_names).aggregate([]).to_pylist()
    for key in sorted(chosen, key=lambda row: tuple(map(str, row.values()))):
        if key["kind"] not in KINDS or key["kind"] == "clean":
            continue
        try:
            matrix = run.transfer_matrix(**key)
        except InputError:
            continue
        low, high = matrix.attrs["low"], matrix.attrs["high"]
        for source in matrix.index:
            for target in matrix.columns:
                made = source if key["kind"] in WITHOUT_SOURCE else f"{key['kind']} from {source}"
                where = ", ".join(filter(None, (key["dataset"], key["target_rule"], key["grade"])))
                ends = float(low.loc[source, target]), float(high.loc[source, target])
                yield f"{made} fool {target}, {where}", float(matrix.loc[source, target]), *ends


def _in_spec(value: Any) -> str:
    """A value of a spec; of a table what says something."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_in_spec(v)}" for key, v in value.items() if v not in (None, "", [], {})) + "}"
    return _ABSENT if value == _ABSENT else repr(value)


def _told(figure: Measured) -> str:
    interval = "" if figure.low is None or figure.high is None else f" ({figure.low:.4g} to {figure.high:.4g})"
    return f"{figure.value:.4g}{interval}"


def _lines(what: str, first: str, second: str, wide: int, width: int | None) -> list[str]:
    """What differs and how, in one line where that fits, else in two or, of long values, three."""
    line = f"  {filled(what, wide)} {first} -> {second}"
    if width is None or width_of(line) <= width:
        return [line]
    both = f"      {first} -> {second}"
    values = [both] if width_of(both) <= width else [f"      {first}", f"      -> {second}"]
    return [_cut(part, width) for part in (f"  {what}", *values)]


def _cut(line: str, width: int | None) -> str:
    """A line of at most so many columns, without its middle where it is longer: a name's end tells as much."""
    if width is None or width_of(line) <= width:
        return line
    kept = len(line)
    while width_of(shown := f"{line[: kept // 2]}…{line[len(line) - (kept - 1) // 2 :]}") > width:
        kept -= 1
    return shown
