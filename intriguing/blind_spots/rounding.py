"""Whether a network rounds a few rows as it rounds many: then fewer rows are padded.

A matrix product of other sizes may add in another order, and the last values of a tensor may pass another kernel than
those that fill vectors. Multiples of 32 rows are safe from both. Most networks, on one thread, round 8, 16 and 24 rows
as well as they round 32, and 8 rows cost a third to two thirds of 32; others do not, for example where a sigmoid has 17
units. Layers, libraries and the number of threads decide, so the network itself is asked.
"""

import torch
from torch import Tensor

from intriguing.blind_spots.box import Box
from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.evaluate import Evaluator
from intriguing.models.rows import FINE, PADDED, Blocks

_KEY = 20140416
_PARTS = (slice(0, FINE), slice(FINE // 2, 7 * FINE // 2), slice(2 * FINE, 4 * FINE))
"""The smaller batches: 8, 24 and 16 of 32 rows."""
_LEAST, _MOST, _OPERATIONS = 2, 8, 1e6
"""Number of times that batches are compared: as often as makes so many operations a row. A layer of few units seldom
shows another rounding."""


def rounds_alike(evaluator: Evaluator, box: Box, like: Tensor, operations: float) -> bool:
    """Whether logits and gradients of 8, 16 and 24 rows have the bits that they have among 32.

    Only for a search on a CPU, of a model that takes batches of any size. like: (B, n) rows of the search; operations:
    of a row. The rows that are compared are random, and the same for every search, so that each one of a network
    decides alike.
    """
    conduct = evaluator.conduct
    if is_graphed(like.device) or (conduct is not None and (conduct.rows or not conduct.alone)):
        return False
    random = torch.Generator().manual_seed(_KEY)
    for _ in range(max(_LEAST, min(_MOST, int(_OPERATIONS / max(1.0, operations))))):
        unit = torch.rand(PADDED.least, like.shape[1], generator=random, dtype=torch.float64).to(like)
        slopes = torch.randn(PADDED.least, evaluator.classes, generator=random, dtype=torch.float64).to(like)
        rows = box.clamp(box.lower + (box.upper - box.lower) * unit)
        try:
            if not _agree(evaluator, rows, slopes):
                return False
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a model that takes 8 rows need not take 24
            return False
    return True


def _agree(evaluator: Evaluator, rows: Tensor, slopes: Tensor) -> bool:
    """Whether parts of these rows are rounded as all are together, if they have a gradient. slopes: (b, C), of logits.

    Random slopes show more than those of a margin, in which two terms of each sum are not zero.
    """
    whole = _asked(evaluator, rows, slopes)
    return bool(whole[2].any()) and all(
        torch.equal(one[part], other)
        for part in _PARTS
        for one, other in zip(whole, _asked(evaluator, rows[part], slopes[part]), strict=True)
    )


def _asked(evaluator: Evaluator, rows: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits without and with a graph, and gradients, of rows (b, n) in one batch."""
    here = evaluator.in_blocks(Blocks(len(rows), len(rows)))
    logits, _, gradient = here.gradient(rows, lambda z, _: (z[:, 0], slopes))
    return here.forward(rows), logits, gradient
