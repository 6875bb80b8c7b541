import numpy as np

import intriguing as ig
from intriguing.randomness import generator
from intriguing.units.degeneracy import degeneracy, mean_jaccard, saturated_units
from intriguing.units.scoring.views import Inputs


def report(directions, rows, k=8):
    scan = ig.TopK(directions, k)
    scan.update(rows, np.arange(len(rows)))
    return degeneracy(directions.columns, scan.result())


def test_the_replica_is_found_degenerate_and_random_directions_are_not():
    rows = np.maximum(generator(0, "rows").standard_normal((900, 60)), 0)
    replica, sound = report(ig.Directions.uniform01(60, 60), rows), report(ig.Directions.gaussian(60, 60), rows)
    assert abs(replica.mean_cosine - 0.75) < 0.02
    assert abs(sound.mean_cosine) < 0.02
    assert replica.mean_jaccard > 5 * sound.mean_jaccard
    assert replica.distinct < sound.distinct
    assert replica.ranks == 480


def test_jaccard_is_that_of_the_pairs():
    names = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [3, 4, 5, 6]])
    assert np.isclose(mean_jaccard(names), (1 + 2 / 6 + 2 / 6) / 3)
    assert np.isclose(mean_jaccard(names[1:]), 2 / 6) and mean_jaccard(names[:1]) == 0


def test_dead_and_saturated_units_are_named_and_can_be_left_out():
    rows = generator(0, "rows").standard_normal((500, 4)).astype(np.float32)
    rows[:, 1] = 0
    rows[:, 2] = np.minimum(rows[:, 2], 0.5)
    scan = ig.TopK(ig.Directions.natural(4), 8)
    scan.update(rows, np.arange(500))
    assert saturated_units(scan.result()).tolist() == [False, True, True, False]
    assert Inputs.of(rows).without(saturated_units(scan.result())).dim == 2
