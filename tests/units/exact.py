"""AUROC by its definition, for tests."""

import numpy as np


def auroc(scores, labels, classes):
    """The share of pairs in order, (lines, classes), of `scores` (lines, n); equal pairs count half."""
    columns = []
    for c in range(classes):
        inside, outside = scores[:, labels == c, None], scores[:, None, labels != c]
        columns.append((inside > outside).mean((1, 2)) + (inside == outside).mean((1, 2)) / 2)
    return np.stack(columns, axis=1)
