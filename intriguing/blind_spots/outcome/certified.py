"""The other end of a search: a norm below which no change can succeed, proven for networks that are not linear."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from intriguing.basics.precision import Precision
from intriguing.blind_spots.arithmetic.box import Box, clip
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.outcome.result import SearchResult
from intriguing.errors import ModelError
from intriguing.stability.bounds import excluded_classes, lower_bounds
from intriguing.stability.problem import Network
from intriguing.stability.tracing.graph import trace

_SEARCHED = ("found", "not_found", "no_gradient", "unstable")
"""Statuses of images that the model gets right, whose distance has a lower bound above 0."""
_PRUNING = 1.0
"""Billions of operations that the linear bounds of an image may take where classes are to be excluded during its
search: on dense networks of 0.2 they take 3 ms, a search 8 to 13; on a convolutional one of 3.6 they take four searches
and exclude nothing."""


@dataclass(frozen=True)
class Certifier:
    """What proves lower bounds of the searches of one network, which is prepared once."""

    module: nn.Module
    box: Box
    shape: tuple[int, ...]
    """Of an image."""
    effort: str
    """fast or slow."""
    precision: Precision
    """Of products, as the user has it: bounds take its rounding into account."""

    @classmethod
    def of(cls, module: nn.Module, images: Tensor, box: Box, options: SearchOptions) -> "Certifier | None":
        """None where the options ask for bounds of linear models alone. images: (B, *shape)."""
        if options.bounds == "linear":
            return None
        return cls(module, box, tuple(images.shape[1:]), options.bounds, Precision.now())

    @cached_property
    def network(self) -> Network | nn.Module:
        """The network prepared for bounds; as it is where nothing about it can be bounded."""
        like = next((v for v in (*self.module.parameters(), *self.module.buffers())), torch.zeros(0))
        try:
            return Network.of(trace(self.module, self.shape), like, self.precision)
        except ModelError:
            return self.module

    @property
    def prunes(self) -> bool:
        """Whether excluding classes costs less than searches of them."""
        return isinstance(self.network, Network) and self.network.gigaflops <= _PRUNING

    def excluded(self, x0: Tensor, labels: Tensor, found: Tensor) -> Tensor:
        """Mask (B, C) of the wrong classes that no change nearer than `found` (B,) reaches; x0: (B, n), in the box.

        Where `found` is infinite nothing is excluded.
        """
        images = x0.reshape(-1, *self.shape)
        near = (found.isfinite() & (found > 0)).nonzero().squeeze(1)
        lower, upper = self.box.shaped(self.shape)
        mask = excluded_classes(self.network, images[near], labels[near], found[near], lower=lower, upper=upper)
        return mask.new_zeros((len(found), mask.shape[1])).index_copy(0, near, mask)

    def with_bounds(self, result: SearchResult, images: Tensor, labels: Tensor, targets: Tensor | None) -> SearchResult:
        """`result` with the certified lower bounds of the searches, and a note of what proved them or did not.

        images (B, *shape), labels (B,), targets (B,) or None are those that were searched.
        """
        rows = torch.tensor([status in _SEARCHED for status in result.status], device=images.device)
        if not bool(rows.any()):
            return result
        lower, upper = self.box.shaped(self.shape)
        proven = lower_bounds(
            self.network,
            clip(images[rows], lower, upper),
            labels[rows],
            None if targets is None else targets[rows],
            lower=lower,
            upper=upper,
            found=result.l2.to(images.device)[rows],
            effort=self.effort,
        )
        # Rounded down to the dtype of the result.
        low = (proven.bound * (1 - 2 * torch.finfo(result.lower_bound.dtype).eps)).to(result.lower_bound)
        best = result.lower_bound.clone()
        best[rows.to(best.device)] = torch.fmax(low, best[rows.to(best.device)])
        note = f"Lower bounds: {proven.method}" + (f" ({proven.reason})." if proven.reason else ".")
        return replace(result, lower_bound=best, notes=(*result.notes, note))
