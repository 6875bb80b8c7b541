"""Selectivity by AUROC (U2): how well does a direction's projection separate one class from the others?

sel = max_c |2 AUROC_c - 1|. It allows negative projections, does not depend on their scale, and uses every input. It
replaces the class selectivity index (Morcos et al. 2018), which needs responses that are not negative.
"""

from dataclasses import dataclass

import numpy as np
import torch

from intriguing.basics.brief import brief


@dataclass(frozen=True)
class Binned:
    """Projections in bins of equal width from the smallest to the largest of each line, for AUROC with any labels."""

    __repr__ = brief

    counts: torch.Tensor
    """Number of inputs per bin, int64 (lines, bins)."""
    middle: torch.Tensor
    """Mean rank of each input's bin minus the middle rank, float32 (lines, n)."""

    @classmethod
    def of(cls, scores: torch.Tensor, bins: int = 1 << 12) -> "Binned":
        """The bins of `scores` (lines, n)."""
        lines, n = scores.shape
        low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
        width = torch.where(high > low, (bins - 1) / (high - low), 0.0)
        at = ((scores - low) * width).to(torch.int64)
        cells = (at + torch.arange(lines)[:, None] * bins).view(-1)
        counts = torch.bincount(cells, minlength=lines * bins).view(lines, bins)
        # Multiples of 1/2, exact in float32 up to eight million inputs.
        held = counts.double() if n >> 23 else counts.float()
        middle = held.cumsum(dim=1).sub_(held, alpha=0.5).sub_(n / 2)
        return cls(counts, middle.float().gather(1, at))

    def auroc(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """AUROC of each class against the rest, (lines, classes), with pairs that share a bin counted half, as ties
        are. NaN for a class that has no inputs, or all of them.
        """
        member = torch.nn.functional.one_hot(torch.from_numpy(np.asarray(labels, dtype=np.int64)), classes).float()
        pairs = self._pairs(member)
        sums = (self.middle @ member).double()
        return torch.where(pairs > 0, 0.5 + sums / pairs, torch.nan).numpy()

    def error_bound(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Bound (lines, classes) of the error of `auroc`: half of the share of pairs within one bin.

        The true error is much smaller, because equal projections cause none.
        """
        member = torch.nn.functional.one_hot(torch.from_numpy(np.asarray(labels, dtype=np.int64)), classes).float()
        pairs = self._pairs(member)
        shared = (self.counts * (self.counts - 1) // 2).sum(dim=1, keepdim=True).double()
        return torch.where(pairs > 0, 0.5 * torch.minimum(shared / pairs, torch.ones_like(pairs)), torch.nan).numpy()

    def _pairs(self, member: torch.Tensor) -> torch.Tensor:
        sizes = member.sum(dim=0).double()
        return (sizes * (len(member) - sizes)).expand(len(self.counts), -1)


def selectivity(aurocs: np.ndarray) -> np.ndarray:
    """max_c |2 AUROC_c - 1| of `aurocs` (lines, classes): (lines,), 0 for chance and 1 for a perfect detector."""
    return np.nanmax(np.abs(2 * aurocs - 1), axis=-1)
