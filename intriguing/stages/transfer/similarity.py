"""The order of models in which those that fool each other stand together."""

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform


def by_similarity(matrix: pd.DataFrame) -> list[str]:
    """The models of a square matrix of sizes that fool half of the time, so that neighbours fool each other easily.

    The distance of two models is the mean of the two sizes (infinite ones count as twice the largest). The order is the
    best one of the leaves of an average-linkage tree. Models in rows or columns alone, and matrices of fewer than three
    models, keep their place.
    """
    names = list(matrix.columns)
    if len(names) < 3 or set(matrix.index) != set(names):
        return names
    sizes = matrix.loc[names, names].to_numpy(float)
    finite = sizes[np.isfinite(sizes)]
    if not len(finite):
        return names
    sizes = np.where(np.isfinite(sizes), sizes, 2 * finite.max())
    distance = (sizes + sizes.T) / 2
    np.fill_diagonal(distance, 0)
    flat = squareform(distance, checks=False)
    order = leaves_list(optimal_leaf_ordering(linkage(flat, "average"), flat)).tolist()
    # An order and its mirror image are one: take that which begins nearer to the first model of the spec.
    order = order if order.index(0) <= len(order) // 2 else order[::-1]
    return [names[i] for i in order]
