"""A layer of the explorer as arrays, and as what the page's script reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intriguing.report.attachments import Attachment, Scaled, packed
from intriguing.report.parts import Row
from intriguing.stats.findings import finding, scored_by

TITLES = {
    "natural": "single units",
    "pca": "principal components",
    "gaussian": "random directions",
    "haar": "a random rotation",
    "covariance": "random directions",
    "uniform01": "random directions",
}


@dataclass
class Side:
    """A basis of a layer with m directions: arrays (m, signs, images), of ties (m, signs), of scores and flags (m,).

    ids and labels are -1 where there is none. spread: counts (m, bins), ends (m, 2), zeros (m,), n; None without.
    placed: whether `position` tells a place in the image.
    """

    basis: str
    signs: Sequence[int]
    ids: np.ndarray
    labels: np.ndarray
    position: np.ndarray
    value: np.ndarray
    ties: np.ndarray
    scores: dict[str, np.ndarray]
    flags: dict[str, np.ndarray]
    spread: dict[str, np.ndarray] | None
    placed: bool = False


@dataclass(frozen=True)
class LayerData:
    """A layer: its key, its bases, what each place of its map can see, and its rotation tests by score."""

    key: Row
    sides: list[Side]
    places: dict[int, tuple[int, int, int, int]]
    tests: dict[str, Row]

    @staticmethod
    def images(layers: "list[LayerData]") -> tuple[np.ndarray, np.ndarray]:
        """The ids of all listed images and their labels, the most listed first, then by id."""
        ids = np.concatenate([side.ids.ravel() for layer in layers for side in layer.sides])
        labels = np.concatenate([side.labels.ravel() for layer in layers for side in layer.sides])
        distinct, first, times = np.unique(ids[ids >= 0], return_index=True, return_counts=True)
        order = np.lexsort((distinct, -times))
        return distinct[order], labels[ids >= 0][first][order]


def packed_layer(layer: LayerData, images: np.ndarray, name: str) -> tuple[Attachment, Row]:
    """The layer's numbers as an attachment, and what the script must know of them.

    images: the ids of the data set's images, in the order of their thumbnails.
    """
    columns: dict[str, np.ndarray] = {}
    by_id = np.argsort(images, kind="stable")
    listed = sorted(layer.places)
    if listed:
        columns["boxes"] = np.array([layer.places[place] for place in listed], np.uint16)
    sides = []
    for number, side in enumerate(layer.sides):
        at = by_id[np.minimum(np.searchsorted(images[by_id], side.ids), len(images) - 1)]
        kind = np.uint16 if len(images) < 65_535 else np.int32
        none = 65_535 if kind is np.uint16 else -1
        columns[f"{number}.image"] = np.where(side.ids >= 0, at, none).astype(kind)
        if side.placed:
            place = np.minimum(np.searchsorted(listed, side.position), len(listed) - 1)
            columns[f"{number}.place"] = place.astype(np.uint16)
        sides.append(_side(f"{number}.", side, columns))
    about = {
        "data": name,
        "sides": sides,
        "scores": [_score(score, layer) for score in dict.fromkeys(s for side in layer.sides for s in side.scores)],
    }
    return Attachment(name, packed(columns)), about


def _side(prefix: str, side: Side, columns: dict[str, np.ndarray]) -> Row:
    count = len(side.ids)
    about: dict[str, Any] = {
        "basis": side.basis,
        "title": TITLES.get(side.basis, "directions"),
        "noun": "unit" if side.basis == "natural" else "direction",
        "count": count,
        "signs": [int(sign) for sign in side.signs],
        "placed": side.placed,
        "scores": {},
        "flags": {name: int(values.sum()) for name, values in side.flags.items()},
    }
    columns[f"{prefix}value"], columns[f"{prefix}range"] = _values(side.value)
    if (side.ties > side.ids.shape[2]).any():
        columns[f"{prefix}ties"] = np.minimum(side.ties, 65_535).astype(np.uint16)
    for score, numbers in side.scores.items():
        scaled = Scaled.of(numbers)
        columns[f"{prefix}score.{score}"] = scaled.codes
        about["scores"][score] = scaled.ends
    for name, mask in side.flags.items():
        columns[f"{prefix}flag.{name}"] = mask.astype(np.uint8)
    if side.spread is not None:
        columns[f"{prefix}counts"] = np.minimum(side.spread["counts"], 65_535).astype(np.uint16)
        columns[f"{prefix}ends"] = side.spread["ends"].astype(np.float32)
        columns[f"{prefix}zeros"] = np.minimum(side.spread["zeros"], 65_535).astype(np.uint16)
        about["n"] = int(side.spread["n"])
        about["silent"] = int((side.spread["zeros"] >= side.spread["n"]).sum())
    return about


def _values(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The projections (m, signs, images) as uint16 between each direction's own ends, and these, float32 (m, 2)."""
    flat = values.reshape(len(values), -1)
    ends = np.stack([np.nanmin(flat, axis=1), np.nanmax(flat, axis=1)], axis=1)
    width = np.where(ends[:, 1] > ends[:, 0], ends[:, 1] - ends[:, 0], 1.0)[:, None, None]
    codes = np.nan_to_num((values - ends[:, :1, None]) / width * 65_534)
    return np.rint(codes).astype(np.uint16), ends.astype(np.float32)


def _score(score: str, layer: LayerData) -> Row:
    """A score's name, the test of its mean, and the middle 95 % of the random directions."""
    about: Row = {"name": score}
    test = layer.tests.get(score)
    if test is not None and test["null_mean"] is not None:
        mean = float(test["null_mean"])
        about |= {"mean": mean if np.isfinite(mean) else None, "outcome": finding(test, scored_by(score)).outcome}
    if len(layer.sides) > 1:
        values = layer.sides[1].scores.get(score, np.zeros(0))
        values = values[np.isfinite(values)]
        if len(values) > 1:
            about["band"] = [float(v) for v in np.quantile(values, [0.025, 0.975])]
            about["spread"] = [float(values.mean()), float(values.std(ddof=1))]
    return about
