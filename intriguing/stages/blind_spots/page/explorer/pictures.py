"""Pictures of searches: the image, the change as it is, the change stretched to be seen, and their sum."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from intriguing.report.parts import Context
from intriguing.report.pictures import as_pictures, on_grey
from intriguing.report.sheets import Sheets, sheets
from intriguing.stages.blind_spots.page.explorer.reading import STATUSES, Searches
from intriguing.stages.common.stored_images import StoredImages

_AT_ONCE = 32_000_000
"""Bytes of images that are read at once, about: a model's stored images are gone through once for each reading."""
_FOUND = STATUSES.index("found")


@dataclass(frozen=True)
class Strips:
    """Four pictures of each of the searches `rows`; scales: the largest change of a pixel in each."""

    rows: np.ndarray
    sheets: Sheets
    scales: list[float]


def pictured(context: Context, searches: Searches, most_bytes: float) -> Strips:
    """The strips of as many searches as `most_bytes` hold, at even steps of distortion in every group."""
    strips = _Strips(context, searches)
    first = next(iter(strips.of(_spread(searches, 1))), None)
    if first is None:
        return Strips(np.zeros(0, np.int64), sheets("strips", (), 0, most_bytes), [])
    # A small picture is kept exactly and takes a byte a pixel, about; a photo is made small.
    pixels = min(first.shape[1] * first.shape[2], 64 * 64)
    count = int(min(most_bytes / (2.2 * pixels), 1e9))
    rows = _spread(searches, max(6, count // max(len(searches.groups), 1)))
    strips = _Strips(context, searches)
    made = sheets("strips", strips.of(rows), 4 * len(rows), most_bytes)
    shown = np.array(strips.rows[: made.count // 4], np.int64)
    return Strips(shown, made, strips.scales[: len(shown)])


def _spread(searches: Searches, each: int) -> np.ndarray:
    """Up to `each` rows of every group that found something, at even steps of distortion: chosen by rule, not by eye.

    Groups take turns, so that a cut of the last rows takes as much from each.
    """
    columns = searches.columns
    kept = np.array([key["target_rule"] != "each" for key in searches.groups], bool)
    usable = (columns["status"] == _FOUND) & kept[columns["group"]]
    turns: list[tuple[int, int, int]] = []
    for group in np.unique(columns["group"][usable]):
        rows = np.flatnonzero(usable & (columns["group"] == group))
        ordered = rows[np.lexsort((searches.names[rows], columns["distortion"][rows]))]
        chosen = ordered[np.unique(np.linspace(0, len(ordered) - 1, min(each, len(ordered))).round().astype(int))]
        turns += [(turn, int(group), int(row)) for turn, row in enumerate(_coarse_first(chosen))]
    # All of a group side by side where all are wanted: then each group is read in few goes.
    ordered_turns = sorted(turns) if each < searches.rows else sorted(turns, key=lambda turn: turn[1:])
    return np.array([row for *_, row in ordered_turns], np.int64)


def _coarse_first(rows: np.ndarray) -> np.ndarray:
    """The rows in an order whose every beginning is spread over all of them."""
    count = len(rows)
    bits = max(1, (count - 1).bit_length())
    order = sorted(range(count), key=lambda i: int(format(i, f"0{bits}b")[::-1], 2))
    return rows[order]


class _Strips:
    """Reads images and what was found, a few at a time; `rows` and `scales` are those that have both, so far."""

    def __init__(self, context: Context, searches: Searches) -> None:
        self._context, self._searches = context, searches
        self.rows: list[int] = []
        self.scales: list[float] = []

    def of(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Four pictures of each search whose image is stored and is of the data set's shape."""
        groups = self._searches.columns["group"]
        start, step = 0, 1
        while start < len(rows):
            part = rows[start : start + step]
            start += step
            for group in np.unique(groups[part]):
                for four in self._of_group(int(group), part[groups[part] == group]):
                    step = max(64, _AT_ONCE // (4 * four[0].size))
                    yield from four

    def _of_group(self, group: int, rows: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        key, names = self._searches.groups[group], self._searches.names
        examples = self._searches.columns["example"]
        originals = self._context.pictures(key["dataset"], examples[rows].tolist())
        if not originals:
            return
        chosen = {name: key[name] for name in ("dataset", "model", "model_seed")}
        columns = ["search_id", "shape", "image"]
        wanted = names[rows].tolist()
        stored = StoredImages(self._context.run.table("adversarial", columns=columns, **chosen, search_id=wanted))
        if len(stored.shape) != 3:
            return
        found = dict(zip(stored.names, as_pictures(stored.stack(stored.names), len(stored.names)), strict=True))
        for row in rows.tolist():
            original, adversarial = originals[int(examples[row])], found.get(str(names[row]))
            if adversarial is None or adversarial.shape != original.shape:
                continue  # not stored, or the data set is not the one that was attacked
            change = adversarial - original
            stretched, scale = on_grey(change)
            self.rows.append(row)
            self.scales.append(scale)
            yield original, np.clip(0.5 + change, 0, 1), stretched, adversarial
