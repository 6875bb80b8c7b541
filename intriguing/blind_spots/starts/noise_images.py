"""Images of noise, some of which a network takes for the class that a search wants.

They are for images without a success whose network is flat far around them, where no descent knows the way. From a
success, wherever it lies, a line back to the image meets the boundary.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from intriguing.blind_spots.arithmetic.box import Bound
from intriguing.blind_spots.network.evaluate import Evaluator
from intriguing.blind_spots.starts.further_starts import Pool

_KEY = 20140416
_EACH, _VALUES = 48, 2**23
"""Number of images of each kind; fewer where all of them would have more values."""
_PATCHES = (2, 4, 7)
"""Numbers of patches along a side. Pixels that do not depend on one another look much the same to a network; among
patches it sees more classes."""


def noise_pool(evaluator: Evaluator, like: Tensor, lower: Bound, upper: Bound) -> Pool:
    """Images of noise from the whole box, padded as rows `like` (R, n), and the classes that the network gives them."""
    shares = torch.cat([kind.flatten(1) for kind in _kinds(evaluator.shape)]).to(like)
    images = lower + pad(shares, (0, like.shape[1] - evaluator.size)) * (upper - lower)
    return Pool(images, evaluator.outputs(images).argmax(1))


def _kinds(shape: tuple[int, ...]) -> list[Tensor]:
    """Inputs of this shape in [0, 1]: of values that are spread evenly or at both ends, then of patches."""
    generator = torch.Generator().manual_seed(_KEY)
    count = max(2, min(_EACH, _VALUES // (math.prod(shape) * (2 + len(_PATCHES)))))
    even = torch.rand((count, math.prod(shape)), generator=generator)
    kinds = [even, even.round()]
    if len(shape) > 1:
        for side in _PATCHES:
            ends = torch.rand((count, math.prod(shape[:-2]), side, side), generator=generator).round()
            kinds.append(interpolate(ends, shape[-2:], mode="bilinear"))
    return kinds
