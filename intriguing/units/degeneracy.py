"""Is a set of directions, or a unit, fit to be judged? Figures to print beside every score.

Directions that are all alike share their top inputs (U[0, 1] vectors have mean cosine 0.75); a unit that never varies,
or whose largest value many inputs share, has a top K that the tie-breaking chose.
"""

from dataclasses import dataclass

import numpy as np

from intriguing.basics.brief import brief
from intriguing.randomness import generator
from intriguing.units.topk import Top

_MOST = 512


@dataclass(frozen=True)
class Degeneracy:
    """What a set of directions has in common."""

    __repr__ = brief

    directions: int
    """How many directions there are."""
    mean_cosine: float
    """Mean cosine between two of them."""
    mean_jaccard: float
    """Mean share of common inputs, |A and B| / |A or B|, of the top K of two of them (of 512 directions at most)."""
    distinct: int
    """How many different inputs fill the ranks."""
    ranks: int
    """How many ranks there are: directions x K."""
    arbitrary: int
    """How many directions had ties at the last rank that the hash cut."""


def degeneracy(columns: np.ndarray, top: Top) -> Degeneracy:
    """The figures for the directions `columns` (dim, m) and their scan's outcome `top`."""
    m = columns.shape[1]
    norms = np.linalg.norm(columns.astype(np.float64), axis=0)
    v = columns / np.where(norms > 0, norms, 1.0)
    pairs = m * (m - 1)
    cosine = float((np.square(v.sum(axis=1)).sum() - np.square(v).sum()) / pairs) if pairs else 0.0
    names = _names(top)
    return Degeneracy(m, cosine, mean_jaccard(names), len(np.unique(names)), names.size, int(top.arbitrary.sum()))


def mean_jaccard(names: np.ndarray) -> float:
    """Mean Jaccard index of two lines of `names` (lines, K); of 512 random lines where there are more."""
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
    """Which units (dim,) reach one largest value with more inputs than they have ranks: their top K is arbitrary.

    `top` is the outcome of a scan of the natural basis. Dead units are among them.
    """
    if not top.values.shape[1]:
        return np.zeros(len(top.values), dtype=bool)
    return (top.values[:, 0] == top.values[:, -1]) & top.arbitrary


def _names(top: Top) -> np.ndarray:
    """One number per input and place: (directions, K)."""
    places = int(top.positions.max(initial=0)) + 1
    return top.ids * places + top.positions
