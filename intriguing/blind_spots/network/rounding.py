"""Whether a network rounds a few rows as it rounds many: then fewer rows are padded.

A matrix product of other sizes may add in another order, and the last values of a tensor may pass another kernel than
those that fill vectors. Multiples of 32 rows are safe from both. Most networks, on one thread, round 8, 16 and 24 rows
as well as they round 32, and 8 rows cost a third to two thirds of 32; others do not, for example where a sigmoid has 17
units. Layers, libraries and the number of threads decide, so the network itself is asked.
"""

import torch
from torch import Tensor

from intriguing.basics.process.memory import is_out_of_memory
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.models.feeding.rows import FINE, PADDED, Blocks

_KEY = 20140416
_PARTS = (slice(8, 24), slice(0, 8), slice(4, 28))
"""The smaller batches: 16, 8 and 24 of 32 rows."""
_LEAST, _MOST, _OPERATIONS = 2, 8, 1e6
"""Number of times that batches are compared: as often as makes so many operations a row. A layer of few units seldom
shows another rounding."""


def fewest_alike(evaluator: Evaluator, box: Box, like: Tensor, operations: float) -> int:
    """To a multiple of how many rows fewer than 32 may be padded: 8 or 16, whose logits and gradients then have the
    bits that they have among 32; else 32.

    Only for a search on a CPU, of a model that takes batches of any size. like: (B, n) rows of the search; operations:
    of a row. The rows that are compared are random, and the same for every search, so that each one of a network
    decides alike.
    """
    conduct = evaluator.conduct
    if is_graphed(like.device) or (conduct is not None and (conduct.rows or not conduct.alone)):
        return PADDED.step
    random = torch.Generator().manual_seed(_KEY)
    parts = list(_PARTS)
    for _ in range(max(_LEAST, min(_MOST, int(_OPERATIONS / max(1.0, operations))))):
        unit = torch.rand(PADDED.least, like.shape[1], generator=random, dtype=torch.float64).to(like)
        slopes = torch.randn(PADDED.least, evaluator.classes, generator=random, dtype=torch.float64).to(like)
        rows = box.clamp(box.lower + (box.upper - box.lower) * unit)
        try:
            whole = _asked(evaluator, rows, slopes)
            parts = [part for part in parts if _agrees(evaluator, rows, slopes, part, whole)]
        except Exception as error:  # a model that takes 8 rows need not take 24
            if is_out_of_memory(error):
                raise
            return PADDED.step
        if _PARTS[0] not in parts or not bool(whole[2].any()):
            return PADDED.step
    return FINE if len(parts) == len(_PARTS) else 2 * FINE


def _agrees(evaluator: Evaluator, rows: Tensor, slopes: Tensor, part: slice, whole: tuple[Tensor, ...]) -> bool:
    """Whether a part of these rows is rounded as all together are (`whole`); slopes: (b, C) gradients in the logits.

    Random slopes show more than those of a margin, in which two terms of each sum are not zero.
    """
    alone = _asked(evaluator, rows[part], slopes[part])
    return all(torch.equal(one[part], other) for one, other in zip(whole, alone, strict=True))


def _asked(evaluator: Evaluator, rows: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits without and with a graph, and gradients, of rows (b, n) in one batch."""
    here = evaluator.in_blocks(Blocks(len(rows), len(rows)))
    logits, _, gradient = here.gradient(rows, lambda z, _: (z[:, 0], slopes))
    return here.forward(rows), logits, gradient
