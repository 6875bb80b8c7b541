"""Scores without labels: are the top inputs of a direction similar for an independent encoder, the judge?

The judge must not be the model under test. It is a model of another seed and architecture; the second judge is the
principal components of the pixels (`pixel_encoder`). Similarity is the cosine of the judge's vectors.
"""

import numpy as np
import torch

from intriguing.errors import InputError

_LEAST_LISTED = 3
"""The smallest K of which an intruder can be told."""


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The rows of `vectors` (n, E) scaled to unit length, float32; a row of zeros stays zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    # The squares of very small or large numbers are beyond float32; a power of two changes no digit.
    _, exponents = np.frexp(np.abs(rows).max(axis=1, keepdims=True, initial=0.0))
    rows = np.ldexp(rows, -exponents)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


def pixel_encoder(images: np.ndarray, size: int = 64) -> np.ndarray:
    """The second judge: the first `size` principal components of the pixels of `images` (n, ...): (n, size)."""
    flat = torch.as_tensor(np.asarray(images, dtype=np.float32)).flatten(1).double()
    centred = flat - flat.mean(dim=0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    return (centred @ vectors.flip(1)[:, :size]).float().numpy()


def interpretability(judge: np.ndarray, top: np.ndarray, bottom: np.ndarray, references: int = 9) -> np.ndarray:
    """The machine interpretability score in its accuracy form: (lines,), 0.5 by chance.

    judge: (n, E) with unit rows; top, bottom: (lines, tasks * (references + 1)), the most extreme inputs of each
    direction, best first, which are dealt out to the tasks in turn. In each task one input of either end is the query
    q+ or q-, the others are the references E+ and E-. The score is the share of tasks with Delta(q+) > Delta(q-), where
    Delta(q) = a(q, E+) - a(q, E-) and a is the mean similarity. Equality counts half.

    Source: Zimmermann, Klindt and Brendel 2024.
    """
    lines, used = top.shape
    tasks = used // (references + 1)
    if tasks < 1 or bottom.shape != top.shape:
        raise InputError(f"{used} inputs at either end are not enough for one task with {references} references.")
    rows = torch.from_numpy(judge)
    query = np.arange(tasks) % (references + 1)
    ends = []
    for extremes in (top, bottom):
        dealt = extremes[:, : tasks * (references + 1)].reshape(lines, references + 1, tasks)
        queries = rows[torch.from_numpy(dealt[:, query, np.arange(tasks)])]
        # The sum of each task's vectors, without copying the vectors.
        hands = torch.from_numpy(dealt.transpose(0, 2, 1).reshape(lines * tasks, references + 1))
        together = torch.nn.functional.embedding_bag(hands, rows, mode="sum").view(lines, tasks, -1)
        ends.append((queries, (together - queries) / references))
    (q_top, e_top), (q_bottom, e_bottom) = ends
    gap = ((q_top - q_bottom) * (e_top - e_bottom)).sum(dim=2)
    return ((gap > 0).double() + 0.5 * (gap == 0).double()).mean(dim=1).numpy()


def intruder(judge: np.ndarray, intruders: np.ndarray, top: np.ndarray) -> np.ndarray:
    """The automatic intruder test: (lines,), the share of draws in which the judge finds the intruder.

    judge: (n, E) with unit rows; intruders: (lines, draws), see `draw_intruders`; top: (lines, K), the top inputs of
    each direction. The judge sees the first K - 1 of them and one intruder, and chooses the input with the lowest mean
    similarity to the others; a tie counts as an error. By chance the share is 1 / K. NaN where K is less than 3: of two
    inputs each is as similar to the other.
    """
    if top.shape[1] < _LEAST_LISTED:
        return np.full(len(top), np.nan)
    listed = torch.from_numpy(judge)[torch.from_numpy(top[:, :-1])]
    foreign = torch.einsum("lre,lke->lrk", torch.from_numpy(judge)[torch.from_numpy(intruders)], listed)
    together = listed.sum(dim=1)
    among = torch.einsum("lke,le->lk", listed, together) - listed.square().sum(dim=2)
    others = among[:, None, :] + foreign
    return (foreign.sum(dim=2) < others.amin(dim=2)).double().mean(dim=1).numpy()


def draw_intruders(
    scores: np.ndarray, ranked: np.ndarray, rng: np.random.Generator, draws: int = 20, tries: int = 64
) -> np.ndarray:
    """Intruders (lines, draws) for each direction of the projections `scores` (lines, n).

    ranked: (lines, n), the scores of each line in rising order. An intruder lies below the direction's median and in
    the top tenth of another direction. Rejection sampling makes all such inputs equally likely. Where no input lies
    below the median (a ReLU that is zero for most inputs), those at it count as below; where the top tenth begins at
    the smallest value, only what lies above that counts as in it.

    Raises: `InputError` if there is no other direction.
    """
    lines, n = scores.shape
    if lines < 2:
        raise InputError("The intruder test needs at least two directions: the intruder comes from another one.")
    lowest, median, high = ranked[:, 0], ranked[:, n // 2], ranked[:, n - max(1, n // 10)]
    middle, tenth = (np.where(end > lowest, end, np.nextafter(end, np.inf, dtype=end.dtype)) for end in (median, high))
    here = np.arange(lines)[:, None, None]
    other = (here + rng.integers(1, lines, size=(lines, draws, 1))) % lines
    rows = rng.integers(0, n, size=(lines, draws, tries))
    flat = scores.ravel()
    below = flat[here * n + rows] < middle[here]
    above = flat[other * n + rows] - tenth[other]
    fits = below & (above >= 0)
    pick = fits.argmax(axis=2)[:, :, None]
    missing = ~np.take_along_axis(fits, pick, axis=2)[:, :, 0]
    if missing.any():
        # If all tries are rejected, take the one nearest to the other direction's top tenth.
        pick[missing, 0] = np.where(below[missing], above[missing], -np.inf).argmax(axis=1)
    return np.take_along_axis(rows, pick, axis=2)[:, :, 0]
