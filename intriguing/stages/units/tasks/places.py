"""Where in a layer's map the top inputs of each direction have their place: found by the scans, and carried by them.

A vector of maxima of a map has one place per unit. A direction's place is the one whose maxima add most to the
projection (for the smallest projections: take most away), ties broken by the smaller place; for a single unit that is
where its maximum lies. So units and random directions are shown by one and the same rule.

A scan's state is safetensors bytes; `with_places` adds three arrays to it, which a scan that reads the state ignores. A
state of activations that earlier code stored, without the places of maxima, has none.
"""

import json
from collections.abc import Sequence

import numpy as np
from safetensors.numpy import load, save

from intriguing.units import TopK

_LINE, _ID, _PLACE = "places.line", "places.id", "places.place"


def with_places(scan: TopK, ids: np.ndarray, vectors: np.ndarray, maxima: np.ndarray) -> bytes:
    """The state of a scan, with the place of each listed input of each direction and sign.

    ids: (n,) of the scanned inputs. vectors: (n, units), what was scanned. maxima: (n, units), where in the map each
    of these numbers comes from.
    """
    count, order = scan.directions.count, np.argsort(ids, kind="stable")
    lines, listed, places = [], [], []
    for sign in (1, -1) if scan.both else (1,):
        best = scan.result(sign).ids
        direction, rank = np.nonzero(best >= 0)
        rows = order[np.searchsorted(ids[order], best[direction, rank])]
        if scan.directions.basis == "natural":
            places.append(maxima[rows, direction].astype(np.int32))
        else:
            places.append(_strongest(scan.directions.columns, sign, direction, rows, vectors, maxima))
        lines.append(line_of(direction, sign, count))
        listed.append(best[direction, rank])
    state = scan.to_bytes()
    arrays = {_LINE: np.concatenate(lines), _ID: np.concatenate(listed), _PLACE: np.concatenate(places)}
    return save(load(state) | arrays, _metadata(state))


def line_of(direction: np.ndarray, sign: int, count: int) -> np.ndarray:
    """A number for each pair of a direction and a sign."""
    return direction.astype(np.int64) + (0 if sign > 0 else count)


def _strongest(
    columns: np.ndarray, sign: int, direction: np.ndarray, rows: np.ndarray, vectors: np.ndarray, maxima: np.ndarray
) -> np.ndarray:
    """The place that adds most to `sign` times the projection of each row on its direction: int32 like `direction`."""
    found = np.zeros(len(rows), np.int32)
    for row in np.unique(rows):
        here = np.flatnonzero(rows == row)
        by_place = np.argsort(maxima[row], kind="stable")
        places, starts = np.unique(maxima[row][by_place], return_index=True)
        # (directions that list the row, units), the units of one place side by side.
        parts = columns[:, direction[here]].T.astype(np.float64) * vectors[row].astype(np.float64)
        sums = np.add.reduceat(parts[:, by_place], starts, axis=1)
        found[here] = places[np.argmax(sign * sums, axis=1)]
    return found


def places_of(states: Sequence[bytes]) -> "Places | None":
    """The places that the states of all shards carry; None where one of them carries none."""
    arrays = [load(state) for state in states]
    if not all(_PLACE in each for each in arrays):
        return None
    line, ids, places = (np.concatenate([each[name] for each in arrays]) for name in (_LINE, _ID, _PLACE))
    return Places(line, ids, places)


class Places:
    """The places of some inputs, by line (a direction and a sign)."""

    def __init__(self, line: np.ndarray, ids: np.ndarray, places: np.ndarray) -> None:
        self._ids = np.unique(ids)
        keys = self._keys(line, ids)
        order = np.argsort(keys, kind="stable")
        self._sorted, self._places = keys[order], places[order]

    def of(self, ids: np.ndarray, sign: int = 1) -> np.ndarray:
        """The places (directions, K) int32 of the listed inputs `ids` (directions, K); 0 where there is none (-1)."""
        if not len(self._sorted):
            return np.zeros(ids.shape, np.int32)
        keys = self._keys(line_of(np.arange(len(ids)), sign, len(ids))[:, None], ids)
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return np.where(ids >= 0, self._places[at], 0).astype(np.int32)

    def _keys(self, line: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """A number for each pair of a line and an input; ids may be any 64-bit numbers."""
        return line * (len(self._ids) + 1) + np.searchsorted(self._ids, ids)


def _metadata(state: bytes) -> dict[str, str]:
    size = int.from_bytes(state[:8], "little")
    return json.loads(state[8 : 8 + size])["__metadata__"]
