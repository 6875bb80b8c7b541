"""Numbers that show whether a set of directions, or a unit, can be scored in a meaningful way.

Similar directions have the same top inputs (U[0, 1] vectors have a mean cosine of 0.75). If a unit is constant, or many
inputs have its largest value, its top K depends only on the order of ties.
"""

from dataclasses import dataclass

import numpy as np

from intriguing.basics.text.brief import brief
from intriguing.randomness import generator
from intriguing.units.scan.topk import Top

_MOST = 512


@dataclass(frozen=True)
class Degeneracy:
    """How similar the directions of a set are, and how many of their top lists depend on ties."""

    __repr__ = brief

    directions: int
    """Number of directions."""
    mean_cosine: float
    """Mean cosine between two directions."""
    mean_jaccard: float
    """Mean Jaccard index |A and B| / |A or B| of the top K of two directions (of at most 512 directions)."""
    distinct: int
    """Number of different inputs in all top lists."""
    ranks: int
    """Number of entries of all top lists: directions x K."""
    arbitrary: int
    """Number of directions with ties at the last rank, of which the hash chose some."""


def degeneracy(columns: np.ndarray, top: Top) -> Degeneracy:
    """The numbers for the directions `columns` (dim, m) and the result `top` of their scan."""
    m = columns.shape[1]
    norms = np.linalg.norm(columns.astype(np.float64), axis=0)
    v = columns / np.where(norms > 0, norms, 1.0)
    pairs = m * (m - 1)
    cosine = float((np.square(v.sum(axis=1)).sum() - np.square(v).sum()) / pairs) if pairs else 0.0
    names = _names(top)
    return Degeneracy(m, cosine, mean_jaccard(names), len(np.unique(names)), names.size, int(top.arbitrary.sum()))


def mean_jaccard(names: np.ndarray) -> float:
    """Mean Jaccard index of two rows of `names` (rows, K); of 512 random rows if there are more."""
    lines = names.shape[0]
    if lines > _MOST:
        names = names[np.sort(generator(0, "jaccard", lines).permutation(lines)[:_MOST])]
        lines = _MOST
    if lines < 2 or not names.shape[1]:
        return 0.0
    _, number = np.unique(names, return_inverse=True)
    member = np.zeros((lines, int(number.max()) + 1), dtype=np.float32)
    np.put_along_axis(member, number.reshape(names.shape), 1.0, axis=1)
    size = member.sum(axis=1)
    common = member @ member.T
    index = common / (size[:, None] + size - common)
    return float((index.sum() - lines) / (lines * (lines - 1)))


def saturated_units(top: Top) -> np.ndarray:
    """Mask (dim,) of the units whose largest value is shared by more than K inputs, so that their top K is arbitrary.

    top: the result of a scan of the natural basis. Dead units are included.
    """
    if not top.values.shape[1]:
        return np.zeros(len(top.values), dtype=bool)
    return (top.values[:, 0] == top.values[:, -1]) & top.arbitrary


def _names(top: Top) -> np.ndarray:
    """A number for each pair of input and position: (directions, K)."""
    places = int(top.positions.max(initial=0)) + 1
    return top.ids * places + top.positions
