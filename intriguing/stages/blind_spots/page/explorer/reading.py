"""The searches of a run as arrays, with what is proven beside them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from intriguing.report.parts import Context, Row

GROUP = ("dataset", "model", "model_seed", "target_rule", "grade")
STATUSES = ("found", "misclassified", "not_found", "no_gradient", "unstable", "bad_output", "bad_input")
SEARCHES = ("label", "prediction", "before")
"""Columns that hold classes, -1 where there is none."""
_COLUMNS = ("search_id", "example_id", "label", "prediction", "clean_prediction", "status", "distortion", "linf", "l2")


@dataclass(frozen=True)
class Searches:
    """Searches as arrays of one length: group (an index of `groups`), example, label, prediction, before (the class
    that the model gave the unchanged image), status (an index of STATUSES), distortion, linf, and bound: the distance
    that is proven, as a distortion. NaN and -1 stand for none.

    total: how many the run has; found: how many of them found something and may have kept an image; each: whether some
    are of the rule `each`, of which no image is kept.
    """

    groups: list[Row]
    columns: dict[str, np.ndarray]
    names: np.ndarray
    total: int
    found: int
    each: bool

    @property
    def rows(self) -> int:
        """How many searches the arrays hold."""
        return len(self.names)


def read_searches(context: Context, most: int) -> Searches | None:
    """The searches, or an even spread of `most` of them over all groups; None without any."""
    table = context.run.table("distortions", columns=[*GROUP, *_COLUMNS, "lower_bound"])
    if not table.num_rows:
        return None
    frame = table.to_pandas(strings_to_categorical=True)
    total = len(frame)
    found = frame[(frame["status"] == "found") & (frame["target_rule"] != "each")]
    images, each = len(found), bool((frame["target_rule"] == "each").any())
    if int(frame["example_id"].abs().max()) >= 2**31:
        most //= 3  # such numbers stand in the page as texts
    if total > most:
        frame = frame.iloc[np.linspace(0, total - 1, most).astype(int)]
    keys = frame.groupby(list(GROUP), observed=True, sort=False).ngroup().to_numpy()
    first = {number: i for i, number in reversed(list(enumerate(keys.tolist())))}
    listed = [{name: _value(frame[name].iloc[first[n]]) for name in GROUP} | {"at": n} for n in sorted(first)]
    ordered = [key for key, _ in context.grouped(listed, *GROUP, "at")]
    place = np.empty(len(ordered), np.int64)
    for new, key in enumerate(ordered):
        place[key.pop("at")] = new
    bound = _bounds(context, frame, ordered)
    root = _root(frame)
    columns = {
        "group": place[keys],
        "example": frame["example_id"].to_numpy(np.int64),
        "label": _classes(frame["label"]),
        "prediction": _classes(frame["prediction"]),
        "before": _classes(frame["clean_prediction"]),
        "status": np.array([_status(s) for s in frame["status"].cat.categories])[frame["status"].cat.codes],
        "distortion": frame["distortion"].to_numpy(float),
        "linf": frame["linf"].to_numpy(float),
        "bound": bound / root if np.isfinite(root) else np.full(len(frame), np.nan),
    }
    return Searches(ordered, columns, frame["search_id"].to_numpy(str), total, images, each)


def _root(frame: Any) -> float:
    """The root of how many numbers an image has; NaN where no search changed anything.

    The distortion is the norm over this root: their ratio is known.
    """
    norm, distortion = frame["l2"].to_numpy(float), frame["distortion"].to_numpy(float)
    changed = (norm > 0) & (distortion > 0)
    return float(np.median(norm[changed] / distortion[changed])) if changed.any() else float("nan")


def _bounds(context: Context, frame: Any, groups: list[Row]) -> np.ndarray:
    """The larger of what the search and the stage of stability proved: L2 norms, NaN where nothing is."""
    bound = frame["lower_bound"].to_numpy(float)
    columns = ["dataset", "model", "model_seed", "search_id", "lower_bound"]
    proven = context.run.table("certificates", columns=columns)
    if not proven.num_rows or not groups:
        return bound
    rows = proven.to_pandas().set_index(columns[:4])["lower_bound"]
    wanted = pd.MultiIndex.from_frame(frame[columns[:4]].astype(dict.fromkeys(("dataset", "model", "search_id"), str)))
    return np.fmax(bound, rows.reindex(wanted).to_numpy(float))


def _classes(column: pd.Series) -> np.ndarray:
    return column.fillna(-1).to_numpy(np.int64)


def _status(status: str) -> int:
    return STATUSES.index(status) if status in STATUSES else len(STATUSES)


def _value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
