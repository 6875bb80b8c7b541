"""The box of allowed inputs: two numbers, or one pair of bounds per value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from intriguing.errors import InputError

Bound = float | Tensor
_TOLERANCE = 1e-6
"""A value may lie outside by this share of `Box.scale`; it is then clipped."""


def clip(x: Tensor, lower: Bound, upper: Bound) -> Tensor:
    """The nearest point within the bounds to each row of x (R, n)."""
    return x.clamp(lower, upper)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Box:
    """Bounds of flat inputs (n,): two numbers where all values have the same, else two tensors (n,)."""

    lower: Bound
    upper: Bound

    @classmethod
    def of(cls, lower: Any, upper: Any, like: Tensor) -> "Box":
        """The box of images `like` (B, *shape), from numbers or tensors that broadcast to one image.

        Raises: `InputError` for a bound that does not broadcast.
        """
        if not isinstance(lower, Tensor) and not isinstance(upper, Tensor):
            return cls(lower, upper)
        flat = []
        for name, bound in (("lower", lower), ("upper", upper)):
            bound = torch.as_tensor(bound, dtype=like.dtype, device=like.device)
            try:
                flat.append(bound.expand(like.shape[1:]).flatten())
            except RuntimeError:
                raise InputError(
                    f"{name} has the shape {tuple(bound.shape)}, which does not broadcast to an image of shape "
                    f"{tuple(like.shape[1:])}: for one bound per channel of (C, H, W) give the shape (C, 1, 1)."
                ) from None
        if all(bool((bound == bound[:1]).all()) for bound in flat) and len(flat[0]):
            return cls(float(flat[0][0]), float(flat[1][0]))
        return cls(flat[0], flat[1])

    @property
    def pair(self) -> tuple[Bound, Bound]:
        """Both bounds."""
        return self.lower, self.upper

    def shaped(self, shape: Sequence[int]) -> tuple[Bound, Bound]:
        """Both bounds in a form that broadcasts to images of this shape."""
        lower, upper = (b.reshape(tuple(shape)) if isinstance(b, Tensor) else b for b in self.pair)
        return lower, upper

    def clamp(self, x: Tensor) -> Tensor:
        """The nearest point of the box to each row of x (R, n)."""
        return clip(x, self.lower, self.upper)

    def outside(self, x: Tensor) -> Tensor:
        """Rows (R,) of x (R, n) with a value that is not finite or lies outside by more than rounding."""
        tolerance = _TOLERANCE * self.scale()
        far = (x < self.lower - tolerance) | (x > self.upper + tolerance)
        return far.any(1) | ~x.isfinite().all(1)

    def inside(self, x: Tensor) -> Tensor:
        """The rows of x (R, n) clipped to the box; values that are not finite become the lower bound."""
        lower = torch.as_tensor(self.lower, dtype=x.dtype, device=x.device)
        return self.clamp(torch.where(x.isfinite(), x, lower))

    def scale(self) -> Bound:
        """The width or the larger absolute bound, whichever is larger. Rounding errors are proportional to it."""
        if isinstance(self.lower, Tensor) and isinstance(self.upper, Tensor):
            return torch.stack([self.upper - self.lower, self.lower.abs(), self.upper.abs()]).amax(0)
        return max(self.upper - self.lower, abs(self.lower), abs(self.upper))  # type: ignore[return-value]

    def root_mean_square(self) -> float:
        """The width of the box, as a root mean square over its values."""
        width = self.upper - self.lower
        return float(width.square().mean().sqrt()) if isinstance(width, Tensor) else width

    def padded(self, x: Tensor, multiple: int) -> tuple[Tensor, "Box"]:
        """The rows of x (R, n) padded at the lower bound to a multiple of `multiple` values, and their box."""
        more = -x.shape[1] % multiple
        if not isinstance(self.lower, Tensor) or not isinstance(self.upper, Tensor):
            return pad(x, (0, more), value=float(self.lower)), self
        return pad(x, (0, more)), Box(pad(self.lower, (0, more)), pad(self.upper, (0, more), value=1.0))
