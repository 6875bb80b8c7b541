"""Scores without labels: does an independent encoder see what a direction's top inputs have in common?

The encoder must not be the model under test: another seed and another architecture, or the principal components of the
pixels (`pixel_encoder`) as a second judge. Similarity is the cosine of its vectors.
"""

import numpy as np
import torch

from intriguing.errors import InputError


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The rows of `vectors` (n, E) at unit length, float32; a row of zeros stays one."""
    rows = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


def pixel_encoder(images: np.ndarray, size: int = 64) -> np.ndarray:
    """The second judge: the first `size` principal components of the pixels of `images` (n, ...): (n, size)."""
    flat = torch.as_tensor(np.asarray(images, dtype=np.float32)).flatten(1).double()
    centred = flat - flat.mean(dim=0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    return (centred @ vectors.flip(1)[:, :size]).float().numpy()


def interpretability(judge: np.ndarray, top: np.ndarray, bottom: np.ndarray, references: int = 9) -> np.ndarray:
    """The machine interpretability score in its accuracy form (U3): (lines,), 0.5 by chance.

    `judge` (n, E) has unit rows; `top` and `bottom` (lines, tasks * (references + 1)) are the most extreme inputs of
    each direction, best first. They are dealt to the tasks like cards. In each task one input of either end is the
    query and the others are the references E+ and E-; the score is how often Delta(q+) > Delta(q-), where Delta(q) =
    a(q, E+) - a(q, E-) and a is the mean similarity (Zimmermann, Klindt and Brendel 2024). Equal ones count half.
    """
    lines, used = top.shape
    tasks = used // (references + 1)
    if tasks < 1 or bottom.shape != top.shape:
        raise InputError(f"{used} inputs at either end are not enough for one task with {references} references.")
    rows = torch.from_numpy(judge)
    query = np.arange(tasks) % (references + 1)
    ends = []
    for chosen in (top, bottom):
        dealt = chosen[:, : tasks * (references + 1)].reshape(lines, references + 1, tasks)
        asked = rows[torch.from_numpy(dealt[:, query, np.arange(tasks)])]
        # The sum of each task's vectors, without a copy of every one of them.
        hands = torch.from_numpy(dealt.transpose(0, 2, 1).reshape(lines * tasks, references + 1))
        together = torch.nn.functional.embedding_bag(hands, rows, mode="sum").view(lines, tasks, -1)
        ends.append((asked, (together - asked) / references))
    (q_top, e_top), (q_bottom, e_bottom) = ends
    gap = ((q_top - q_bottom) * (e_top - e_bottom)).sum(dim=2)
    return ((gap > 0).double() + 0.5 * (gap == 0).double()).mean(dim=1).numpy()


def intruder(judge: np.ndarray, chosen: np.ndarray, top: np.ndarray) -> np.ndarray:
    """The automatic intruder test (U4): (lines,), how often the judge finds the intruder, 1 / K by chance.

    `top` (lines, K) are each direction's top inputs, of which the first K - 1 are shown; `chosen` (lines, draws) are
    the intruders (`draw_intruders`). The judge, (n, E) with unit rows, names the shown input with the lowest mean
    similarity to the others. An equal similarity of the intruder counts as a miss.
    """
    shown = torch.from_numpy(judge)[torch.from_numpy(top[:, :-1])]
    foreign = torch.einsum("lre,lke->lrk", torch.from_numpy(judge)[torch.from_numpy(chosen)], shown)
    together = shown.sum(dim=1)
    among = torch.einsum("lke,le->lk", shown, together) - shown.square().sum(dim=2)
    others = among[:, None, :] + foreign
    return (foreign.sum(dim=2) < others.amin(dim=2)).double().mean(dim=1).numpy()


def draw_intruders(
    scores: np.ndarray, ranked: np.ndarray, rng: np.random.Generator, draws: int = 20, tries: int = 64
) -> np.ndarray:
    """Inputs that do not belong, (lines, draws), for each direction of the projections `scores` (lines, n).

    `ranked` are the scores of each line in rising order.
    Each lies below the direction's median and in the top tenth of another direction, drawn by rejection, so that all
    that qualify are equally likely. Raises `InputError` where there is no other direction.
    """
    lines, n = scores.shape
    if lines < 2:
        raise InputError("The intruder test needs at least two directions: the intruder comes from another one.")
    median, high = ranked[:, n // 2], ranked[:, n - max(1, n // 10)]
    here = np.arange(lines)[:, None, None]
    other = (here + rng.integers(1, lines, size=(lines, draws, 1))) % lines
    rows = rng.integers(0, n, size=(lines, draws, tries))
    flat = scores.ravel()
    below = flat[here * n + rows] < median[here]
    above = flat[other * n + rows] - high[other]
    fits = below & (above >= 0)
    pick = fits.argmax(axis=2)[:, :, None]
    missing = ~np.take_along_axis(fits, pick, axis=2)[:, :, 0]
    if missing.any():
        # Where no try qualifies, the nearest to the other direction's top tenth stands in.
        pick[missing, 0] = np.where(below[missing], above[missing], -np.inf).argmax(axis=1)
    return np.take_along_axis(rows, pick, axis=2)[:, :, 0]
