"""Inputs of the rotation tests, and what they share."""

from dataclasses import replace

import numpy as np

from intriguing.units.scoring.views import Inputs


def test_a_variant_is_computed_once_and_not_taken_over_by_other_inputs():
    rng = np.random.default_rng(0)
    inputs = Inputs.of(rng.standard_normal((20, 3)), labels=np.arange(20) % 4)
    calls = []

    def shuffled(given):
        calls.append(given)
        return given.shuffled(1)

    first = inputs.variant("shuffled", shuffled)
    assert inputs.variant("shuffled", shuffled) is first and len(calls) == 1
    assert np.array_equal(first.labels, inputs.shuffled(1).labels)
    other = replace(inputs, labels=inputs.labels[::-1].copy())
    assert np.array_equal(other.variant("shuffled", shuffled).labels, other.shuffled(1).labels)
    assert calls[1] is other and not inputs.half(rng).variants
