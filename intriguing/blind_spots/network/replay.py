"""Whether a recording of a network's operations stands in for the network in a search: it must say the same."""

import torch
from torch import Tensor

from intriguing.basics.precision import full_precision
from intriguing.basics.process.memory import is_out_of_memory
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.network.recording import record
from intriguing.models.feeding.rows import PADDED, SMALL, Blocks

_KEY = 20140416
_CLOSE, _SLOPES_CLOSE = 1e-5, 1e-4
"""Largest differences that are rounding: of logits, as a share of the largest, and of gradients, as a share of their
norm."""
_MOST = 0.25
"""Share of the rows whose gradients may differ by more: a unit that is zero to rounding may count or not."""


def replayed(evaluator: Evaluator, box: Box, like: Tensor) -> Evaluator:
    """The evaluator, with a recording of its model if that says what the model says; else as it is.

    like: (B, n) rows of the search. The rows that are compared are random, and the same for every search, so that each
    one of a network decides alike.
    """
    conduct = evaluator.conduct
    if conduct is None or conduct.probabilities or conduct.rows or not conduct.alone or not len(like):
        return evaluator
    if conduct.dtype != torch.float32 or evaluator.blocks not in (PADDED, SMALL):
        return evaluator
    random = torch.Generator().manual_seed(_KEY)
    most = evaluator.blocks.most
    unit = torch.rand(most, like.shape[1], generator=random, dtype=torch.float64).to(like)
    slopes = torch.randn(most, evaluator.classes, generator=random, dtype=torch.float64).to(like)
    rows = box.clamp(box.lower + (box.upper - box.lower) * unit)
    try:
        with full_precision():
            return _examined(evaluator, rows, slopes)
    except Exception as error:  # whatever cannot be recorded or replayed is left to torch
        if is_out_of_memory(error):
            raise
        return evaluator


def _examined(evaluator: Evaluator, rows: Tensor, slopes: Tensor) -> Evaluator:
    """As `replayed`, by the rows (B, n) and gradients in their logits (B, C)."""
    recording = record(evaluator.model, rows[:1].reshape(1, *evaluator.shape))
    if recording is None:
        return evaluator
    evaluator.seen.forward += 2
    other = evaluator.by(recording)
    least, most = evaluator.blocks.least, len(rows)
    usual, whole = _asked(evaluator, rows[:least], slopes[:least]), _asked(other, rows, slopes)
    few = slice(0, least)
    parts = [few, slice(most - least, most), *(() if least == PADDED.least else (slice(0, most - 1),))]
    for part in parts:
        there = _asked(other, rows[part], slopes[part])
        if not all(torch.equal(one[part], two) for one, two in zip(whole, there, strict=True)):
            return evaluator
    logits, gradients = whole
    return other if _same(usual, (logits[few], gradients[few])) else evaluator


def _asked(evaluator: Evaluator, rows: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and gradients of rows (b, n) in one batch."""
    here = evaluator.in_blocks(Blocks(len(rows), len(rows)))
    logits, _, gradient = here.gradient(rows, lambda z, _: (z[:, 0], slopes))
    return logits, gradient


def _same(usual: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    """Whether two answers differ by rounding alone, and the gradients are not all zero."""
    (logits, slope), (others, other_slope) = usual, other
    near = (logits - others).abs() <= _CLOSE * logits.abs().amax(1, keepdim=True)
    norms = slope.norm(dim=1)
    far = (slope - other_slope).norm(dim=1) > _SLOPES_CLOSE * norms
    return bool(near.all() and norms.isfinite().all() and norms.any()) and float(far.double().mean()) <= _MOST
