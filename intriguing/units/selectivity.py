"""Selectivity by AUROC (U2): can a direction's projection tell one class from the rest?

sel = max_c |2 AUROC_c - 1|. It is signed, free of scale, and uses every input; it takes the place of the class
selectivity index (Morcos et al. 2018), which needs responses that are not negative.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from intriguing.brief import brief
from intriguing.errors import InputError
from intriguing.units.directions import Directions
from intriguing.units.moments import Moments


def auroc(scores: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """AUROC of each class against the rest, (lines, classes), of `scores` (lines, n) with equal scores counted half.

    Exact, from ranks (Mann and Whitney 1947). NaN for a class that has no inputs, or all of them.
    """
    lines, n = scores.shape
    order = np.argsort(scores, axis=1)
    by_rank = np.take_along_axis(scores, order, axis=1)
    ranks = np.broadcast_to(np.arange(n, dtype=np.float64), scores.shape)
    new = by_rank[:, 1:] != by_rank[:, :-1]
    if not new.all():
        ranks = _midranks(new)
    cells = (np.asarray(labels)[order] + (np.arange(lines) * classes)[:, None]).ravel()
    sums = np.bincount(cells, weights=ranks.ravel(), minlength=lines * classes).reshape(lines, classes)
    sizes = np.bincount(labels, minlength=classes).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums - sizes * (sizes - 1) / 2) / (sizes * (n - sizes))


@dataclass(frozen=True)
class Binned:
    """Projections cut into equal bins from each line's smallest to its largest: what AUROC needs of them.

    It serves any labels: shuffled ones as well.
    """

    __repr__ = brief

    counts: torch.Tensor
    """How many inputs each bin holds, int64 (lines, bins)."""
    middle: torch.Tensor
    """The mean rank of each input's bin, about the middle rank, float32 (lines, n)."""

    @classmethod
    def of(cls, scores: torch.Tensor, bins: int = 1 << 12) -> "Binned":
        """The bins of `scores` (lines, n)."""
        lines, n = scores.shape
        low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
        width = torch.where(high > low, (bins - 1) / (high - low), 0.0)
        at = ((scores - low) * width).to(torch.int64)
        cells = (at + torch.arange(lines)[:, None] * bins).view(-1)
        counts = torch.bincount(cells, minlength=lines * bins).view(lines, bins)
        # Halves of whole numbers: exact in float32 up to eight million inputs.
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
        """How far (lines, classes) that can be from the exact AUROC: half the share of pairs in one bin.

        It is far from reached, as ties are exact.
        """
        member = torch.nn.functional.one_hot(torch.from_numpy(np.asarray(labels, dtype=np.int64)), classes).float()
        pairs = self._pairs(member)
        shared = (self.counts * (self.counts - 1) // 2).sum(dim=1, keepdim=True).double()
        return torch.where(pairs > 0, 0.5 * torch.minimum(shared / pairs, torch.ones_like(pairs)), torch.nan).numpy()

    def _pairs(self, member: torch.Tensor) -> torch.Tensor:
        sizes = member.sum(dim=0).double()
        return (sizes * (len(member) - sizes)).expand(len(self.counts), -1)


def binned_auroc(
    scores: torch.Tensor, labels: np.ndarray, classes: int, bins: int = 1 << 12
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC (lines, classes) as `auroc` gives it, many times as fast, and a bound (lines, classes) of its error."""
    binned = Binned.of(scores, bins)
    return binned.auroc(labels, classes), binned.error_bound(labels, classes)


def selectivity(aurocs: np.ndarray) -> np.ndarray:
    """max_c |2 AUROC_c - 1| of `aurocs` (lines, classes): (lines,), 0 for chance and 1 for a perfect detector."""
    return np.nanmax(np.abs(2 * aurocs - 1), axis=-1)


@dataclass
class AurocHistogram:
    """AUROC in one pass over any number of inputs: a histogram per direction and class, merged by addition.

    Each direction has `bins` equal bins between `low` and `high` (count,); what lies outside goes into the end bins.
    The counts are integers, so that any sharding gives the same result. Its error is bounded: see `error_bound`. The
    state takes directions x classes x bins x 8 bytes.
    """

    __repr__ = brief

    directions: Directions
    classes: int
    low: np.ndarray
    high: np.ndarray
    bins: int = 1 << 12
    counts: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        m = self.directions.count
        if self.low.shape != (m,) or self.high.shape != (m,) or self.bins < 2 or self.classes < 1:
            raise InputError(f"A histogram of {m} directions needs as many low and high ends, 2 bins and a class.")
        if not (self.low < self.high).all():
            raise InputError("A histogram's low end lies below its high end in every direction.")
        self.counts = np.zeros((m, self.classes, self.bins), dtype=np.int64)

    @classmethod
    def from_moments(
        cls, directions: Directions, moments: Moments, classes: int, bins: int = 1 << 12, reach: float = 6.0
    ) -> "AurocHistogram":
        """Bins over mean +- `reach` standard deviations of each projection (from `moments` with covariance)."""
        v = directions.columns.astype(np.float64)
        mean = moments.mean @ v
        spread = np.sqrt(np.maximum(((moments.covariance() @ v) * v).sum(axis=0), 0.0))
        half = reach * np.where(spread > 0, spread, 1.0)
        return cls(directions, classes, mean - half, mean + half, bins)

    def update(self, block: np.ndarray | torch.Tensor, labels: np.ndarray) -> None:
        """Add the rows of `block` (n, dim) with their `labels` (n,); leave out rows that are not finite."""
        rows = torch.as_tensor(block).float()
        given = np.asarray(labels)
        if given.size and (given.min() < 0 or given.max() >= self.classes):
            raise InputError(f"Labels of {self.classes} classes lie from 0 to {self.classes - 1}.")
        columns = torch.from_numpy(self.directions.columns.copy()).to(rows.device)
        m, step = self.directions.count, max(1, (1 << 22) // self.directions.count)
        for start in range(0, len(rows), step):
            part = given[start : start + step]
            scores = (rows[start : start + step] @ columns).double().cpu().numpy()
            at = np.floor((scores - self.low) * (self.bins / (self.high - self.low)))
            bin_ = np.clip(at, 0, self.bins - 1).astype(np.int64)
            cell = (np.arange(m) * self.classes + part[:, None]) * self.bins + bin_
            self.counts += np.bincount(cell.ravel(), minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: "AurocHistogram") -> "AurocHistogram":
        """Add what `other` has seen; returns self. Raises `InputError` when bins or directions differ."""
        same = self.directions == other.directions and self.counts.shape == other.counts.shape
        if not same or not (np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)):
            raise InputError("Histograms of different directions, classes or bins cannot be merged.")
        self.counts += other.counts
        return self

    def auroc(self) -> np.ndarray:
        """AUROC of each class against the rest, (count, classes), with pairs of one bin counted half."""
        rest = self.counts.sum(axis=1, keepdims=True) - self.counts
        below = np.cumsum(rest, axis=2) - rest
        pairs = (self.counts * (below + 0.5 * rest)).sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            return pairs / (self.counts.sum(axis=2) * rest.sum(axis=2))

    def error_bound(self) -> np.ndarray:
        """How far (count, classes) the AUROC can be from the exact one: half the share of pairs that share a bin."""
        rest = self.counts.sum(axis=1, keepdims=True) - self.counts
        shared = (self.counts * rest).sum(axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            return 0.5 * shared / (self.counts.sum(axis=2) * rest.sum(axis=2))


def _midranks(new: np.ndarray) -> np.ndarray:
    """The mean rank (lines, n) of each run of equal scores; `new` (lines, n - 1) says where a run begins."""
    lines, n = new.shape[0], new.shape[1] + 1
    start = np.ones((lines, n), dtype=bool)
    start[:, 1:] = new
    run = np.cumsum(start.ravel()) - 1
    first = np.flatnonzero(start.ravel())
    length = np.diff(np.append(first, lines * n))
    return ((first % n) + (length - 1) / 2)[run].reshape(lines, n)
