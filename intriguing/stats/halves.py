"""The standard error of a difference between a basis and rotations of it, from random halves of the data.

A half is drawn without replacement (a bootstrap would let one input fill several ranks of a list), and all bases see
the same halves. Given the whole, the mean of half of n inputs varies by sigma / sqrt(n): as much as the mean of n fresh
inputs does, so nothing is multiplied. That holds for a score of the top K as well, if it takes K / 2 of a half: the
half then stands in for the same K inputs of the whole. With K of the half it looks twice as deep into the inputs, at
other inputs than the score itself, and no factor puts that right.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def random_half(rng: np.random.Generator, n: int) -> np.ndarray:
    """The positions of a random half of `n` inputs, rising: (n // 2,)."""
    return np.sort(rng.permutation(n)[: n // 2])


def standard_errors(halves: Iterable[Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """The standard error of each statistic of the natural basis minus its mean over rotations.

    `halves` holds, for every random half and by the statistic's name, its values in the natural basis and then in each
    of the rotations. Needs at least two halves.
    """
    differences: dict[str, list[float]] = {}
    for half in halves:
        for name, (natural, *rotated) in half.items():
            differences.setdefault(name, []).append(natural - float(np.mean(rotated)))
    return {name: float(np.std(values, ddof=1)) for name, values in differences.items()}
