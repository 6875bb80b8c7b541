"""The measures of a hardened network: its errors, minimal distortions, and the transfer of adversarial images to it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from intriguing.basics.process.liveness import beat
from intriguing.basics.text.brief import brief
from intriguing.blind_spots import SearchOptions, minimal_distortion
from intriguing.models import classes_of, predict
from intriguing.models.fitting import Examples

_SLOTS = 1024


@dataclass(frozen=True)
class Measures:
    """The minimal distortions of a network, image by image."""

    __repr__ = brief

    distortions: np.ndarray
    """(B,) float64: the minimal distortion (RMS) of each image; NaN where nothing was found, or where the network
    misclassifies the unchanged image."""
    adversarial: Tensor
    """(found, *shape): the images found."""
    positions: Tensor
    """(found,) int64: the positions of these among the images."""

    @property
    def rms(self) -> float | None:
        """The mean minimal distortion over the images with one; None if there are none."""
        return float(np.nanmean(self.distortions)) if self.found else None

    @property
    def found(self) -> int:
        """Number of images with a minimal distortion."""
        return len(self.positions)


def error_of(model: nn.Module, examples: Examples) -> float:
    """The fraction of the examples that the network misclassifies."""
    wrong = 0
    for rows in examples.chunks():
        beat()
        answers = classes_of(predict(model, examples.inputs(rows), _SLOTS))
        wrong += int((answers != examples.labels[rows].cpu().numpy()).sum())
    return wrong / len(examples)


def measure(model: nn.Module, images: Tensor, labels: Tensor, grade: str = "best") -> Measures:
    """The untargeted minimal distortions of images (B, *shape) in [0, 1]; see `blind_spots.minimal_distortion`."""
    result = minimal_distortion(model, images, labels, None, SearchOptions(grade=grade))
    found = torch.tensor([status == "found" for status in result.status], dtype=torch.bool, device=images.device)
    distortions = torch.where(found, result.distortion.double(), torch.nan).cpu().numpy()
    return Measures(distortions, result.adversarial[found], found.nonzero().squeeze(1))


def fooled(model: nn.Module, images: Tensor, adversarial: Tensor, labels: Tensor) -> tuple[int, int]:
    """How many of the images `adversarial` (n, *shape), made for another network, fool `model`, and of how many.

    Only images whose unchanged version in `images` (n, *shape) is classified correctly are counted.
    """
    if not len(images):
        return 0, 0
    expected = labels.cpu().numpy()
    right = classes_of(predict(model, images)) == expected
    wrong = classes_of(predict(model, adversarial)) != expected
    return int((right & wrong).sum()), int(right.sum())


def held_out(examples: Examples, count: int, order: np.ndarray) -> tuple[Examples, Examples]:
    """The examples without the first `count` of the permutation `order` (N,) of their positions, and those `count`."""
    where = torch.from_numpy(order.astype(np.int64)).to(examples.labels.device)
    return subset(examples, where[count:].sort().values), subset(examples, where[:count].sort().values)


def subset(examples: Examples, positions: Tensor) -> Examples:
    """The examples at these positions (n,)."""
    return Examples(lambda rows: examples.inputs(positions[rows]), examples.labels[positions])
