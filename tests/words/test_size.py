"""The size of the tests: on vectors without special axes they find something as often as they claim, and no more."""

import numpy as np
import pytest

from intriguing.randomness import generator
from intriguing.stats.comparison import compare_with_draws
from intriguing.tables.words import METRICS
from intriguing.units.directions import haar
from intriguing.words.judging.judges import build_panel
from intriguing.words.judging.one_embedding import Bench
from tests.words.planted import DIM, topic_counts, topic_vectors

REPLICATES, ROTATIONS, DEALS = 100, 19, 2
LEVEL = 0.1  # what 19 rotations attain exactly: the natural basis is the most extreme of 20, on either side


def p_values_of(replicates, rotations, wanted):
    """By control and metric: p_two of every replicate, or of every deal of every replicate."""
    known = build_panel(topic_vectors(), topic_counts(), topic_vectors(seed=1))
    found = {(control, m): [] for control in ("trained", "permuted_words") for m in METRICS}
    for replicate in range(replicates):
        turned = topic_vectors(noise=0.5, rotation=haar(DIM, DIM, replicate, "size of the tests")).vectors
        bench = Bench(known, turned[known.rows], replicate, 200, 1)
        deals = [generator(replicate, "deal", d).permutation(len(known.words)) for d in range(wanted)]
        axes = bench.measure(np.eye(DIM, dtype=np.float32), "natural", deals)
        null = bench.null(DIM, rotations, deals)
        for m in METRICS:
            natural, *dealt = [lines[m].mean() for lines in axes]
            rotated, *turned_deals = [values[m] for values in null]
            found["trained", m].append(compare_with_draws(natural, rotated).p_two)
            found["permuted_words", m] += [
                compare_with_draws(own, others).p_two for own, others in zip(dealt, turned_deals, strict=True)
            ]
    return {key: np.array(values) for key, values in found.items()}


@pytest.fixture(scope="module")
def p_values():
    return p_values_of(REPLICATES, ROTATIONS, DEALS)


@pytest.mark.slow
@pytest.mark.parametrize("control", ["trained", "permuted_words"])
def test_vectors_without_special_axes_are_found_to_have_some_as_often_as_the_level_says(p_values, control):
    rates = {m: float((p_values[control, m] <= LEVEL + 1e-9).mean()) for m in METRICS}
    spread = np.sqrt(LEVEL * (1 - LEVEL) / REPLICATES)
    assert all(abs(rate - LEVEL) < 3.5 * spread for rate in rates.values()), rates
    assert abs(np.mean(list(rates.values())) - LEVEL) < 2.5 * spread, rates


def test_dealt_words_score_alike_in_every_basis_on_average():
    known = build_panel(topic_vectors(), topic_counts(), topic_vectors(seed=1))
    bench = Bench(known, topic_vectors().vectors[known.rows], 0, 200, 1)
    deals = [generator(0, "many deals", d).permutation(len(known.words)) for d in range(200)]
    for name, columns in (("natural", np.eye(DIM, dtype=np.float32)), ("turned", haar(DIM, DIM, 1).astype(np.float32))):
        [_, *dealt] = bench.measure(columns, name, deals)
        for m, truth in (("npmi_matched", 0.0), ("intrusion_cosine", 1 / 6), ("intrusion_npmi", 1 / 6)):
            values = np.array([lines[m].mean() for lines in dealt])
            assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values)), (name, m)
