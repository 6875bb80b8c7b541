"""Questions to vectors of rows, by which work is spared where it would change nothing.

On a device whose steps are recorded nothing may be read, so there the answer is no and the work is done. On a CPU a
list of so few values is the quickest way to read them.
"""

import math

import torch
from torch import Tensor

from intriguing.blind_spots.cuda_graph import is_graphed


def surely_all(mask: Tensor) -> bool:
    """Whether `mask` (R,) is known to be true everywhere."""
    return not is_graphed(mask.device) and all(mask.tolist())


def surely_none(mask: Tensor) -> bool:
    """Whether `mask` (R,) is known to be true nowhere."""
    return not is_graphed(mask.device) and not any(mask.tolist())


def surely_finite(*vectors: Tensor) -> bool:
    """Whether all values of these vectors (R,) are known to be finite; values whose sum overflows are not."""
    return all(not is_graphed(v.device) and math.isfinite(sum(v.tolist())) for v in vectors)


def chosen(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """The rows (R, ...) of `new` where `mask` (R,) is true, those of `old` elsewhere."""
    if is_graphed(mask.device) or new.ndim == 1:
        return torch.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)
    index = mask.nonzero().squeeze(1)  # a mask that is spread over long rows is slow
    return old.index_copy(0, index, new.index_select(0, index)) if len(index) else old
