import numpy as np
import pytest
from scipy import stats

from intriguing.errors import InputError
from intriguing.units.scoring.labels import Enrichment, class_counts, entropy, numbered, purity


def test_counts_purity_and_entropy_of_known_rows():
    counts = class_counts(np.array([[0, 0, 0, 0], [0, 1, 2, 3], [1, 1, 2, 2]]), 4)
    assert counts.tolist() == [[4, 0, 0, 0], [1, 1, 1, 1], [0, 2, 2, 0]]
    assert purity(counts).tolist() == [1.0, 0.25, 0.5]
    assert np.allclose(entropy(counts), [0.0, 1.0, 0.5])


def test_one_class_alone_is_pure():
    counts = class_counts(np.zeros((2, 5), dtype=int), 1)
    assert purity(counts).tolist() == [1, 1]
    assert entropy(counts).tolist() == [0, 0]


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(InputError, match="0 to 2"):
        class_counts(np.array([[0, 3]]), 3)


def test_classes_are_numbered_among_those_that_occur():
    numbers, classes = numbered(np.array([[7, 2], [2, 9]]))
    assert numbers.tolist() == [[1, 0], [0, 2]] and classes == 3
    numbers, classes = numbered(np.array([9, 2]), among=np.array([2, 5, 9, 9]))
    assert numbers.tolist() == [2, 0] and classes == 3
    assert numbered(np.array([], dtype=int))[1] == 0


def test_enrichment_is_the_hypergeometric_tail():
    table = Enrichment.of(np.array([10, 90]), 5)
    counts = np.array([[5, 0], [0, 5]])
    exact = 10 * 9 * 8 * 7 * 6 / (100 * 99 * 98 * 97 * 96)
    assert np.isclose(table.p_values(counts)[0, 0], exact)
    assert np.isclose(table.p_values(counts)[1, 1], stats.hypergeom.sf(4, 100, 90, 5))
    assert table.p_values(counts)[0, 1] == 1


def test_a_rare_class_counts_for_more_than_a_common_one():
    best = Enrichment.of(np.array([10, 990]), 8).best(np.array([[8, 0], [0, 8]]))
    assert best[0] < 1e-10
    assert best[1] > 0.9


def test_distinct_counts_classes_and_not_directions():
    table = Enrichment.of(np.full(10, 100), 8)
    counts = np.zeros((6, 10), dtype=int)
    counts[:3, 4] = counts[3, 5] = 8
    counts[4:, :8] = 1
    assert table.enriched(counts).tolist() == [True, True, True, True, False, False]
    assert table.distinct(counts) == 2


def test_random_directions_are_seldom_enriched():
    rng = np.random.default_rng(0)
    table = Enrichment.of(np.full(10, 100), 16)
    counts = rng.multivariate_hypergeometric(np.full(10, 100), 16, size=(300, 50))
    assert table.enriched(counts).any(axis=-1).mean() <= 0.08
