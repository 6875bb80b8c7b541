"""New changes of a layer's activations: minimal ones, by a search of the network above it, or noise of their size."""

from dataclasses import dataclass

import torch
from torch import Tensor

from intriguing import randomness
from intriguing.basics.text.brief import brief
from intriguing.basics.torch_modes import evaluating
from intriguing.blind_spots import SearchOptions, minimal_distortion
from intriguing.blind_spots.warm import from_starts
from intriguing.hardening.cutting import Cut
from intriguing.hardening.options import HardeningOptions
from intriguing.hardening.pools import STORED, Entries
from intriguing.models import predict

_SLOTS = 256
_ROUNDS = 24
"""Halvings of the bracket of the factor of noise that the box clips."""
_FURTHER = 1.5
"""A warm start lies this much further than the old change, which ended on a boundary that has moved since."""


@dataclass(frozen=True)
class Drawn:
    """Images whose changes are searched.

    images: (B, *shape). labels, positions: (B,). warm: (B, *shape of the layer), changes found for them earlier, as
    warm starts; zero for an image without one, None if no image has one.
    """

    __repr__ = brief

    images: Tensor
    labels: Tensor
    positions: Tensor
    warm: Tensor | None = None


def new_changes(cut: Cut, drawn: Drawn, options: HardeningOptions, seed: int, *keys: int | str) -> Entries:
    """The smallest changes of the images' activations that make the network above the cut err: (n, ...), n <= B.

    Images that are misclassified unchanged, or whose search finds nothing, have none. A search begins at the warm start
    if the network still errs there. With the method `noise` each change is replaced by Gaussian noise of the same norm,
    keyed by `seed` and `keys`; then `cap` shortens both in the same way.
    """
    with torch.no_grad(), evaluating(cut.model):
        low, high = cut.box
        activations = cut.activations(drawn.images).clamp(low, high)
        search = SearchOptions(grade=options.grade, lower=low, upper=high, slots=_SLOTS)
        found, reached = _searched(cut, activations, drawn, search)
        start = activations[found]
        changes = reached[found] - start
        lengths = norms(changes)
        if options.method == "noise":
            changes = noise_of(start, lengths, (low, high), seed, *keys)
        if options.cap is not None and len(lengths):
            changes = shortened(changes, float(options.cap * lengths.median()))
    return Entries(drawn.positions[found], changes.to(STORED))


def _searched(cut: Cut, activations: Tensor, drawn: Drawn, search: SearchOptions) -> tuple[Tensor, Tensor]:
    """Which activations (B, ...) have a change (B,) bool, and the changed ones."""
    found, reached = torch.zeros_like(drawn.labels, dtype=torch.bool), activations.clone()
    if drawn.warm is not None:
        known = norms(drawn.warm) > 0
        right = predict(cut.upper, activations, _SLOTS).argmax(1) == drawn.labels
        rows = (known & right).nonzero().squeeze(1)
        if len(rows):
            starts = activations[rows] + _FURTHER * drawn.warm[rows]
            found[rows], reached[rows] = from_starts(cut.upper, activations[rows], drawn.labels[rows], starts, search)
    cold = (~found).nonzero().squeeze(1)
    if len(cold):
        result = minimal_distortion(cut.upper, activations[cold], drawn.labels[cold], None, search)
        won = torch.tensor([status == "found" for status in result.status], device=cold.device, dtype=torch.bool)
        found[cold], reached[cold] = won, result.adversarial
    return found, reached


def norms(changes: Tensor) -> Tensor:
    """The L2 norm of each change: (n, ...) -> (n,)."""
    return torch.linalg.vector_norm(changes.flatten(1), dim=1)


def shortened(changes: Tensor, longest: float) -> Tensor:
    """`changes` (n, ...), those above the norm `longest` scaled down to it."""
    factors = (longest / norms(changes).clamp(min=1e-30)).clamp(max=1.0)
    return changes * _rows(factors, changes)


def noise_of(start: Tensor, lengths: Tensor, box: tuple[float, float], seed: int, *keys: int | str) -> Tensor:
    """Gaussian noise on activations `start` (n, ...) in the box, each change of the norm `lengths` (n,) after clipping.

    The noise is scaled until clipping leaves it as long (or, where the box is too small, as long as can be). The draw
    is keyed by `seed` and `keys`.
    """
    random = torch.Generator().manual_seed(randomness.torch_seed(seed, "hardening noise", *keys))
    noise = torch.randn(start.shape, generator=random).to(start)

    def clipped(factor: Tensor) -> Tensor:
        return (start + _rows(factor, noise) * noise).clamp(*box) - start

    plain = lengths / norms(noise).clamp(min=1e-30)
    low, high = plain, 8 * plain
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        short = norms(clipped(middle)) < lengths
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return clipped(high)


def _rows(factors: Tensor, like: Tensor) -> Tensor:
    return factors.reshape(-1, *[1] * (like.ndim - 1))
