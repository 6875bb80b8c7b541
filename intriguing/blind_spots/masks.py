"""Questions to masks of rows, by which work on long rows is spared where it would change nothing.

On a device whose steps are recorded nothing may be read, so there the answer is no and the work is done.
"""

import torch
from torch import Tensor

from intriguing.blind_spots.cuda_graph import is_graphed


def surely_all(mask: Tensor) -> bool:
    """Whether `mask` (R,) is known to be true everywhere."""
    return not is_graphed(mask.device) and bool(mask.all())


def surely_none(mask: Tensor) -> bool:
    """Whether `mask` (R,) is known to be true nowhere."""
    return not is_graphed(mask.device) and not bool(mask.any())


def chosen(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """The rows (R, n) of `new` where `mask` (R,) is true, those of `old` elsewhere."""
    return old if surely_none(mask) else torch.where(mask[:, None], new, old)


def finite_rows(rows: Tensor, squares: Tensor) -> Tensor:
    """Which of `rows` (R, n) are finite (R,); squares: (R,) the squares of their norms, which may overflow."""
    finite = squares.isfinite()
    return finite if surely_all(finite) else rows.isfinite().all(1)
