"""Conditions: transformations of word vectors before scoring. Varimax: the rotation of the positive control."""

import numpy as np

from intriguing.errors import InputError, unknown_name
from intriguing.words.judging.algebra import eigenvectors, product, singular

CONDITIONS = ("raw", "l2", "centred")


def conditioned(vectors: np.ndarray, condition: str, *, removed: int | None = None) -> np.ndarray:
    """The (N, D) `vectors` under a condition, as a new float32 (N, D).

    ``raw``: as they are. ``l2``: every row has unit length (a zero row stays zero). ``centred``: the mean row is
    subtracted and the `removed` leading principal components are projected out, D/100 of them, at least 1, by default
    (Mu and Viswanath 2018, "All-but-the-top", algorithm 1). Centring alone changes no direction's top words.
    """
    if condition not in CONDITIONS:
        raise unknown_name("condition", condition, CONDITIONS)
    x = np.asarray(vectors, np.float64)
    if condition == "raw":
        return x.astype(np.float32)
    if condition == "l2":
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        return (x / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    dim = x.shape[1]
    removed = max(1, round(dim / 100)) if removed is None else removed
    if not 0 <= removed < dim:
        raise InputError(f"removed={removed}: of {dim} dimensions 0 to {dim - 1} components can be removed.")
    x = x - x.mean(axis=0)
    leading = eigenvectors(product(x.T, x))[:, dim - removed :]
    return (x - product(product(x, leading), leading.T)).astype(np.float32)


def varimax(x: np.ndarray, *, iterations: int = 200, tolerance: float = 1e-5) -> np.ndarray:
    """The rotation (D, D), float64, of the (N, D) rows of `x`, centred, that maximises the varimax criterion, the sum
    over the columns of x R of the variance of their squares (Kaiser 1958), by the usual iteration on a singular value
    decomposition until its gain falls below `tolerance` or for `iterations`.

    It makes columns sparse, so that related words are on the same axis; a test of axes must detect this.
    """
    x = np.asarray(x, np.float64)
    n, dim = x.shape
    if n < dim:
        raise InputError(f"Varimax of {n} rows in {dim} dimensions: give at least as many words as dimensions.")
    x = x - x.mean(axis=0)
    rotation, reached = np.eye(dim), 0.0
    for _ in range(iterations):
        rotated = product(x, rotation)
        squares = rotated * rotated
        u, values, vt = singular(product(x.T, rotated * (squares - squares.mean(axis=0))))
        rotation = product(u, vt)
        if values.sum() < reached * (1 + tolerance):
            break
        reached = values.sum()
    return rotation
