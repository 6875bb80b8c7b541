"""Keyed randomness: the same key gives the same numbers, another key others."""

import numpy as np

from intriguing.randomness import generator, hash_ids, key, torch_seed


def test_numbers_depend_on_seed_purpose_and_ids_and_on_nothing_else():
    first = generator(0, "target", 17).random(4)
    generator(0, "something else").random(100)
    assert np.array_equal(first, generator(0, "target", 17).random(4))
    others = [
        generator(1, "target", 17),
        generator(0, "targets", 17),
        generator(0, "target", 18),
        generator(0, "target"),
    ]
    assert not any(np.array_equal(first, g.random(4)) for g in others)


def test_a_number_and_its_text_are_different_ids():
    assert key(0, "p", 1) != key(0, "p", "1")
    assert key(0, "p", "a", "b") != key(0, "p", "ab")


def test_known_values_never_change():
    assert torch_seed(0, "weights", 3) == torch_seed(0, "weights", 3) < 2**63
    assert hash_ids(0, "a", np.arange(2)).tolist() == [6809010889652927450, 3869387302696830117]


def test_hashes_of_distinct_ids_are_distinct_and_spread_evenly():
    hashes = hash_ids(3, "ties", np.arange(100_000))
    assert len(np.unique(hashes)) == 100_000
    high = (hashes >> np.uint64(60)).astype(int)
    counts = np.bincount(high, minlength=16)
    assert abs(counts - 6250).max() < 400  # five standard deviations


def test_an_id_s_hash_does_not_depend_on_its_neighbours():
    assert hash_ids(0, "ties", np.array([7]))[0] == hash_ids(0, "ties", np.arange(20))[7]
