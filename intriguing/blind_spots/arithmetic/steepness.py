"""Gradients that are not finite everywhere.

A square root or a power in front of a network, as of a gamma correction, has an infinite slope where an image lies at
the box's bound; the magnitude of an edge filter has none where the image is flat. Elsewhere such networks have a
gradient as others do.
"""

from functools import cache

import torch
from torch import Tensor

from intriguing.blind_spots.arithmetic.box import Bound

_KEY = 20140416


def mended(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients (R, n) with finite entries only, and which rows (R,) say something: not all is NaN or zero there,
    or all is finite.

    An infinite slope is as steep as the steepest finite one of its row, which is enough to leave a bound by it, and
    an unknown one (NaN) is zero.
    """
    finite, infinite = gradient.isfinite(), gradient.isinf()
    steepest = gradient.abs().masked_fill(~finite, 0).amax(1, keepdim=True)
    steepest = steepest.where(steepest > 0, torch.ones_like(steepest))
    steep = gradient.sign() * steepest
    known = gradient.where(finite, steep.masked_fill(~infinite, 0))
    return known, (known != 0).any(1) | finite.all(1)


def either_way(gradient: Tensor, x: Tensor, lower: Bound, upper: Bound) -> tuple[Tensor, Tensor]:
    """Slopes (R, n) of random signs, the same for all rows, as steep as the steepest of each row's gradient (R, n).

    A step down them leaves the points of an image where a slope is unknown, and beside these it is known. A slope that
    leads out of the box from `x` (R, n) is turned, and the mask of these (R, n) is returned as well. They shall have
    half a step: in a flat region at a bound, where all lead inwards, equal steps would leave it flat.
    """
    slopes = _signs(gradient.shape[1], gradient.device, gradient.dtype) * gradient.abs().amax(1, keepdim=True)
    turned = torch.where(slopes > 0, x <= lower, x >= upper)
    return torch.where(turned, -slopes, slopes), turned


@cache
def _signs(count: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Random signs (count,). They are kept, since a step that is recorded on a CUDA device cannot draw them."""
    random = torch.Generator().manual_seed(_KEY)
    return (2.0 * torch.randint(2, (count,), generator=random) - 1).to(device, dtype)
