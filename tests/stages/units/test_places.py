"""Where the top inputs of each direction have their place in a layer's map."""

import numpy as np

import intriguing as ig
from intriguing.stages.units.tasks.places import places_of, with_places


def scanned(directions, values, maxima, ids, parts, both=False):
    """States with places of the shards `parts`, those without, and the merged scan."""
    states, plain, whole = [], [], ig.TopK(directions, k=3, both=both)
    for part in parts:
        scan = ig.TopK(directions, k=3, both=both)
        scan.update(values[part], ids[part])
        states.append(with_places(scan, ids[part], values[part], maxima[part]))
        plain.append(scan.to_bytes())
        whole.merge(ig.TopK.from_bytes(states[-1], directions))
    return states, plain, whole


def test_the_places_of_all_shards_are_found_unless_one_state_has_none():
    values = np.random.default_rng(0).random((30, 4), np.float32)
    maxima = np.arange(120, dtype=np.uint16).reshape(30, 4)
    ids = np.arange(30) * 10**12
    parts = (slice(0, 2), slice(2, 30))  # fewer inputs than are listed, then more
    states, plain, whole = scanned(ig.Directions.natural(4), values, maxima, ids, parts)
    best = whole.result().ids
    known = places_of(states)
    assert known is not None
    rows = np.searchsorted(ids, best)
    assert np.array_equal(known.of(best), maxima[rows, np.arange(4)[:, None]])
    assert places_of([states[0], plain[1]]) is None


def test_a_random_direction_has_its_place_where_most_of_its_projection_comes_from():
    rng = np.random.default_rng(1)
    values = rng.random((40, 6), np.float32)
    maxima = rng.integers(0, 3, (40, 6)).astype(np.uint16)
    ids = rng.permutation(40).astype(np.int64)
    directions = ig.Directions.gaussian(6, 5, seed=3)
    states, _, whole = scanned(directions, values, maxima, ids, (slice(0, 11), slice(11, 40)), both=True)
    known = places_of(states)
    assert known is not None
    for sign in (1, -1):
        best = whole.result(sign).ids
        found = known.of(best, sign)
        for direction, rank in np.ndindex(*best.shape):
            row = np.flatnonzero(ids == best[direction, rank])[0]
            parts = values[row].astype(float) * directions.columns[:, direction]
            sums = {place: sign * parts[maxima[row] == place].sum() for place in np.unique(maxima[row])}
            assert found[direction, rank] == max(sums, key=sums.__getitem__)
