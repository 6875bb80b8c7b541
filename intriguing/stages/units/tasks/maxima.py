"""Where in a layer's map the units' maxima lie: found when the activations are collected, and carried by the scans.

A scan's state is safetensors bytes; `with_maxima` adds three arrays to it, which a scan that reads the state ignores. A
state that earlier code stored has none.
"""

import json
from collections.abc import Sequence

import numpy as np
from safetensors.numpy import load, save

from intriguing.units import TopK

_UNIT, _ID, _PLACE = "maxima.unit", "maxima.id", "maxima.place"


def with_maxima(scan: TopK, ids: np.ndarray, maxima: np.ndarray) -> bytes:
    """The state of a scan of the natural basis, with the places of the maxima of each unit's listed inputs.

    ids: (n,) of the scanned inputs. maxima: (n, units), the places.
    """
    listed = [scan.result(sign).ids for sign in ((1, -1) if scan.both else (1,))]
    best = np.concatenate(listed, axis=1)
    unit, rank = np.nonzero(best >= 0)
    order = np.argsort(ids, kind="stable")
    rows = order[np.searchsorted(ids[order], best[unit, rank])]
    state = scan.to_bytes()
    arrays = {_UNIT: unit.astype(np.int64), _ID: best[unit, rank], _PLACE: maxima[rows, unit].astype(np.int32)}
    return save(load(state) | arrays, _metadata(state))


def maxima_of(states: Sequence[bytes], units: int) -> "Maxima | None":
    """The places that the states of all shards carry; None where one of them carries none."""
    arrays = [load(state) for state in states]
    if not all(_PLACE in each for each in arrays):
        return None
    unit, ids, places = (np.concatenate([each[name] for each in arrays]) for name in (_UNIT, _ID, _PLACE))
    return Maxima(unit, ids, places, units)


class Maxima:
    """The places of the maxima of some units for some inputs."""

    def __init__(self, unit: np.ndarray, ids: np.ndarray, places: np.ndarray, units: int) -> None:
        self._ids = np.unique(ids)
        keys = self._keys(unit, ids)
        order = np.argsort(keys, kind="stable")
        self._sorted, self._places, self._units = keys[order], places[order], units

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The places (units, K) int32 of each unit for its inputs `ids` (units, K); 0 where there is no input (-1)."""
        if not len(self._sorted):
            return np.zeros(ids.shape, np.int32)
        keys = self._keys(np.arange(self._units)[:, None], ids)
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return np.where(ids >= 0, self._places[at], 0).astype(np.int32)

    def _keys(self, unit: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """A number for each pair of a unit and an input; ids may be any 64-bit numbers."""
        return unit * (len(self._ids) + 1) + np.searchsorted(self._ids, ids)


def _metadata(state: bytes) -> dict[str, str]:
    size = int.from_bytes(state[:8], "little")
    return json.loads(state[8 : 8 + size])["__metadata__"]
