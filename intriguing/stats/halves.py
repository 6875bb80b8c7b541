"""The standard error of a difference between a basis and rotations of it, from random halves of the data.

A half is drawn without replacement (a bootstrap would let one input fill several ranks of a list), and all bases see
the same halves. Given the whole, the mean over half of n inputs varies by sigma / sqrt(n): as much as the mean over n
fresh inputs does, so nothing is multiplied.

A score of the K top inputs can look at a half in two ways:

- at the top K / 2 of it (`half_list`). They reach as deep as the K of the whole, and nothing is multiplied.
- at the top K of it. They are half of the top 2 K of the whole, so the variance is doubled (`OF_WHOLE_LISTS`).

For a score that adds up single inputs both come to sigma / sqrt(K). For one that is decided by pairs of inputs, whose
variance falls with the number of pairs, the first is up to sqrt(3) times too wide and the second up to sqrt(3 / 2)
times: a random half of a pool holds a quarter of its pairs. So scores of units, most of which count inputs, take the
first way, and scores of words, which are means over pairs of words, the second.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

OF_WHOLE_LISTS = 2.0**0.5
"""The factor of `standard_errors` for scores of lists that keep their length in a half."""


def random_half(rng: np.random.Generator, n: int) -> np.ndarray:
    """The positions of a random half of `n` inputs, rising: (n // 2,)."""
    return np.sort(rng.permutation(n)[: n // 2])


def half_list(k: int) -> int:
    """How many top inputs of a random half reach as deep as the top `k` of the whole; no list falls below 3."""
    return max(k // 2, min(k, 3))


def standard_errors(halves: Iterable[Mapping[str, Sequence[float]]], factor: float = 1.0) -> dict[str, float]:
    """The standard error of each statistic of the natural basis minus its mean over rotations.

    `halves` holds, for every random half and by the statistic's name, its values in the natural basis and then in each
    of the rotations; there are no halves, or at least two. `factor`: see the module's text.
    """
    differences: dict[str, list[float]] = {}
    for half in halves:
        for name, (natural, *rotated) in half.items():
            differences.setdefault(name, []).append(natural - float(np.mean(rotated)))
    return {name: float(np.std(values, ddof=1) * factor) for name, values in differences.items()}
