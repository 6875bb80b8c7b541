"""The changes that a search may make: an L2 ball around the image, cut by the box of the pixels.

Most pixels of MNIST are 0 or 1 and can move one way only, so a linear function falls less than over the ball.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

Bound = float | Tensor
"""An end of the box: a number, or a tensor that broadcasts to an image."""


@dataclass(frozen=True)
class Region:
    """Changes r (B, n) with low <= r <= high; the radius is given to each method."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, x: Tensor, lower: Bound, upper: Bound) -> "Region":
        """The changes of flat images `x` (B, n) that stay inside the box; a bound is a number or (n,)."""
        return cls((lower - x).clamp(max=0), (upper - x).clamp(min=0))

    def to(self, like: Tensor) -> "Region":
        """In the dtype of `like`, rounded outwards."""
        if like.dtype == self.low.dtype:
            return self
        low, high = self.low.to(like), self.high.to(like)
        return Region(torch.where(low == 0, low, low * (1 + 1e-6)), torch.where(high == 0, high, high * (1 + 1e-6)))

    def rows(self, index: Tensor | slice) -> "Region":
        """The regions of some of the images."""
        return Region(self.low[index], self.high[index])

    def norms(self, a: Tensor) -> Tensor:
        """N (B, R) with a . r >= -N |r| for all r of the region; `a` is (B, R, n)."""
        return torch.linalg.vector_norm(self._effective(a), dim=2)

    def smooth_norms(self, a: Tensor) -> Tensor:
        """`norms`, which may be differentiated."""
        return self._effective(a).square().sum(2).clamp(min=1e-30).sqrt()

    def _effective(self, a: Tensor) -> Tensor:
        """Coefficients, less those that no pixel can follow: one above 0 pulls it down, one below 0 pushes it up."""
        down, up = self._masks(a)
        least, most = (torch.zeros_like(mask).masked_fill_(mask > 0, torch.inf)[:, None] for mask in (up, down))
        return torch.clamp(a, -least, most)

    def shared_norms(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """`norms` of rows that all images share, `matrix` (R, n), and of their negatives: (B, R) each."""
        down, up = self._masks(matrix)
        plus, minus = matrix.clamp(min=0) ** 2, matrix.clamp(max=0) ** 2
        return (down @ plus.T + up @ minus.T).sqrt(), (up @ plus.T + down @ minus.T).sqrt()

    def _masks(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return (self.low < 0).to(like), (self.high > 0).to(like)

    def distance(self, a: Tensor, c: Tensor, turns: int = 6) -> Tensor:
        """A lower bound on |r| over all r of the region with a . r <= -c: (B, R), inf where there is none.

        `a` (B, R, n), `c` (B, R). From the dual: for every t > 0, |r|^2 >= 2 t (c + a . s) + |s|^2, where s is -t a
        clipped to the region, since s minimises |s|^2 / 2 + t a . s. Each turn gives a valid bound; the best is kept.
        """
        low, high = self.low[:, None], self.high[:, None]
        norm = self.norms(a)
        tiny = torch.finfo(a.dtype).tiny
        positive = c.clamp(min=0)
        # The largest fall of a . r inside the box: a change of any size does no more.
        fall = torch.where(a > 0, a * low, a * high).sum(2)
        best = positive / norm.clamp(min=tiny)
        t = best / norm.clamp(min=tiny)
        for _ in range(turns):
            s = torch.minimum(torch.maximum(-t[:, :, None] * a, low), high)
            along, size = (a * s).sum(2), (s * s).sum(2)
            free = ((s > low) & (s < high)).to(a)
            square = 2 * t * (c + along) + size
            best = torch.maximum(best, square.clamp(min=0).sqrt())
            slope = (a * a * free).sum(2)
            t = t * 1.0 + (c + along) / slope.clamp(min=tiny)
            t = t.clamp(min=0).nan_to_num(posinf=0.0)
        best = torch.where(c <= 0, torch.zeros_like(best), best)
        return torch.where(c + fall > 1e-9 * (c.abs() + fall.abs()), torch.full_like(best, torch.inf), best)
