"""What a network is worth: its errors, how small a change makes it wrong, and what of another network fools it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from intriguing.basics.brief import brief
from intriguing.blind_spots import SearchOptions, minimal_distortion
from intriguing.models import predict
from intriguing.models.fitting import Examples

_SLOTS = 1024


@dataclass(frozen=True)
class Measures:
    """How small a change makes a network wrong, over the images that it gets right."""

    __repr__ = brief

    rms: float | None
    """The mean minimal distortion (root mean square of a value); None where nothing was found."""
    found: int
    """Images with a minimal distortion."""
    adversarial: Tensor
    """(found, *shape): the images found."""
    positions: Tensor
    """(found,) int64: which of the images they are of."""


def error_of(model: nn.Module, examples: Examples) -> float:
    """The fraction of the examples that the network gets wrong."""
    wrong = sum(
        int((predict(model, examples.inputs(rows), _SLOTS).argmax(1) != examples.labels[rows]).sum())
        for rows in examples.chunks()
    )
    return wrong / len(examples)


def measure(model: nn.Module, images: Tensor, labels: Tensor, grade: str = "best") -> Measures:
    """The untargeted minimal distortions of images (B, *shape) in [0, 1]; see `blind_spots.minimal_distortion`."""
    result = minimal_distortion(model, images, labels, None, SearchOptions(grade=grade))
    found = torch.tensor([status == "found" for status in result.status], dtype=torch.bool, device=images.device)
    distortions = result.distortion[found].double().cpu().numpy()
    return Measures(
        float(distortions.mean()) if len(distortions) else None,
        len(distortions),
        result.adversarial[found],
        found.nonzero().squeeze(1),
    )


def fooled(model: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> tuple[int, int]:
    """How many of `adversarial` (n, *shape), made for another network, fool this one, and how many could.

    Only those count whose unchanged `images` (n, *shape) this network gets right.
    """
    if not len(images):
        return 0, 0
    right = predict(model, images).argmax(1) == labels
    wrong = predict(model, adversarial).argmax(1) != labels
    return int((right & wrong).sum()), int(right.sum())


def held_out(examples: Examples, count: int, order: np.ndarray) -> tuple[Examples, Examples]:
    """The examples without the first `count` of `order` (N,), a permutation of their positions; and these alone."""
    where = torch.from_numpy(order.astype(np.int64)).to(examples.labels.device)
    return subset(examples, where[count:].sort().values), subset(examples, where[:count].sort().values)


def subset(examples: Examples, positions: Tensor) -> Examples:
    """The examples at these positions (n,)."""
    return Examples(lambda rows: examples.inputs(positions[rows]), examples.labels[positions])
