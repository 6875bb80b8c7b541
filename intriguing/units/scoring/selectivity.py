"""Selectivity by AUROC: how well does a direction's projection separate one class from the others?

sel = max_c |2 AUROC_c - 1|. It allows negative projections, does not depend on their scale, and uses every input. It
replaces the class selectivity index (Morcos et al. 2018), which needs responses that are not negative.
"""

from dataclasses import dataclass

import numpy as np
import torch

from intriguing.basics.text.brief import brief

_COARSE = 2e-3
"""Share of the pairs of a line's inputs within one bin above which its inputs are ranked one by one: a value far from
all others, as heavy tails have, leaves but few bins to the rest. Of a Gaussian 5e-4 of the pairs share a bin."""


@dataclass(frozen=True)
class Binned:
    """Projections in bins of equal width from the smallest to the largest of each line, for AUROC with any labels.

    A line that bins tell too little of (`_COARSE`) has the ranks of its inputs themselves, which takes a sort.
    """

    __repr__ = brief

    middle: torch.Tensor
    """Mean rank of each input's bin minus the middle rank, float32 (lines, n)."""
    shared: torch.Tensor
    """Pairs of inputs that share a bin, float64 (lines,); 0 where inputs were ranked one by one."""

    @classmethod
    def of(cls, scores: torch.Tensor, bins: int = 1 << 12) -> "Binned":
        """The bins of `scores` (lines, n)."""
        lines, n = scores.shape
        low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
        width = (bins - 1) / (high - low)
        placed = (scores - low) * width
        # Where all are equal, or the range is beyond what float32 can divide by, one bin holds all.
        if bool((odd := ~(width.isfinite() & (width > 0)).squeeze(1)).any()):
            placed[odd] = 0.0
        at = placed.to(torch.int64)
        cells = (at + torch.arange(lines)[:, None] * bins).view(-1)
        counts = torch.bincount(cells, minlength=lines * bins).view(lines, bins)
        # Multiples of 1/2, exact in float32 up to eight million inputs.
        held = counts.double() if n >> 23 else counts.float()
        middle = held.cumsum(dim=1).sub_(held, alpha=0.5).sub_(n / 2).float().gather(1, at)
        shared = (torch.linalg.vecdot(held, held).double() - n) / 2
        coarse = shared > _COARSE * n * (n - 1) / 2
        if bool(coarse.any()):
            middle[coarse], shared[coarse] = _ranked(scores[coarse]), 0.0
        return cls(middle, shared)

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

        The true error is much smaller: within a bin the order is as good as random.
        """
        member = torch.nn.functional.one_hot(torch.from_numpy(np.asarray(labels, dtype=np.int64)), classes).float()
        pairs = self._pairs(member)
        shared = self.shared[:, None]
        return torch.where(pairs > 0, 0.5 * torch.minimum(shared / pairs, torch.ones_like(pairs)), torch.nan).numpy()

    def _pairs(self, member: torch.Tensor) -> torch.Tensor:
        sizes = member.sum(dim=0).double()
        return (sizes * (len(member) - sizes)).expand(len(self.middle), -1)


def _ranked(scores: torch.Tensor) -> torch.Tensor:
    """The mean rank of each of the `scores` (lines, n) in its line, equal ones alike, minus the middle rank."""
    values = scores.numpy()
    n = values.shape[1]
    order = np.argsort(values, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    begins, ends = np.ones(values.shape, bool), np.ones(values.shape, bool)
    begins[:, 1:] = ends[:, :-1] = values[:, 1:] != values[:, :-1]
    first = np.maximum.accumulate(np.where(begins, np.arange(n), 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, np.arange(n), n)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape, np.float32)
    np.put_along_axis(ranks, order, ((first + last + 1 - n) / 2).astype(np.float32), axis=1)
    return torch.from_numpy(ranks)


def selectivity(aurocs: np.ndarray) -> np.ndarray:
    """max_c |2 AUROC_c - 1| of `aurocs` (lines, classes): (lines,), 0 for chance and 1 for a perfect detector."""
    return np.fmax.reduce(np.abs(2 * aurocs - 1), axis=-1)  # NaN where no class has one
