"""Forward and backward passes in blocks of fixed sizes, so that a row's result does not depend on the other rows."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from intriguing.basics.torch_modes import evaluating
from intriguing.errors import ModelError
from intriguing.models.examination import Conduct
from intriguing.models.logits import logits_behind

Loss = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""A function of the logits (b, C) of some rows and the slice of these rows: a value (b,) and its gradient (b, C)."""
MASKED = -1e30
"""Replaces a logit of minus infinity: the class is still never the largest, and differences are finite."""


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in eval mode and its weights need no gradient; afterwards all is as before.

    The gradient in the input alone costs about as much as one forward pass, with the weights' gradients twice as much.
    """
    flags = [(p, p.requires_grad) for p in model.parameters() if p.is_leaf]
    with evaluating(model):
        try:
            for p, _ in flags:
                p.requires_grad_(False)
            yield
        finally:
            for p, flag in flags:
                p.requires_grad_(flag)


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, TF32 is off. By default torch uses it in CUDA convolutions; its rounding is larger than small margins."""
    backends: list[Any] = [torch.backends.cuda.matmul]
    backends += [getattr(torch.backends.cudnn, kind) for kind in ("conv", "rnn")]
    before = [b.fp32_precision for b in backends]
    try:
        for b in backends:
            b.fp32_precision = "ieee"
        yield
    finally:
        for b, precision in zip(backends, before, strict=True):
            b.fp32_precision = precision


class Evaluator:
    """Evaluates a frozen `model` on flat rows (R, n) in blocks of `block` rows.

    The last block is padded to a multiple of `least`, which divides `block` and is large enough that products in all
    blocks are rounded alike. Rows may be longer than an input; the padding at their end does not reach the model.
    `conduct` says how the model must be called. The model gets copies, so it may change its input.
    """

    def __init__(
        self,
        model: nn.Module,
        shape: tuple[int, ...],
        block: int,
        least: int | None = None,
        conduct: Conduct | None = None,
    ) -> None:
        self.model = model
        self.shape = shape
        self.size = math.prod(shape)
        self.block = block
        self.least = block if least is None else least
        self.conduct = conduct

    @property
    def classes(self) -> int:
        """The number of the model's classes."""
        assert self.conduct is not None
        return self.conduct.classes

    def _blocks(self, rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
        start = 0
        while start < len(rows):
            remaining = len(rows) - start
            size = min(self.block, -(-remaining // self.least) * self.least)
            piece = rows[start : start + size]
            live = len(piece)
            if live < size:
                piece = torch.cat([piece, piece[:1].expand(size - live, -1)])
            yield slice(start, start + live), piece[:, : self.size].reshape(size, *self.shape)
            start += size

    def _fed(self, images: Tensor) -> Tensor:
        """A copy of the images in the model's dtype."""
        return images.to(self.conduct.dtype if self.conduct else images.dtype, copy=True)

    def _logits(self, images: Tensor) -> Tensor:
        if self.conduct and self.conduct.probabilities:
            _, logits = logits_behind(self.model, self._fed(images))
        else:
            logits = self.model(self._fed(images))
        logits = _checked(logits, len(images)).to(images.dtype)
        return logits.masked_fill(logits == -math.inf, MASKED)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (R, C) of `rows` (R, n); if the model returns probabilities, the logits before its softmax."""
        with torch.no_grad():
            return torch.cat([self._logits(images)[: s.stop - s.start] for s, images in self._blocks(rows)])

    def outputs(self, rows: Tensor) -> Tensor:
        """The model's outputs (R, C) for `rows` (R, n), unchanged."""
        with torch.no_grad():
            parts = [_checked(self.model(self._fed(x)), len(x))[: s.stop - s.start] for s, x in self._blocks(rows)]
        return torch.cat(parts)

    def alone(self, row: Tensor) -> Tensor:
        """The output (C,) for one image (n,) in a batch of one, or of copies if the model does not accept one image."""
        image = row[: self.size].reshape(1, *self.shape)
        if self.conduct and not self.conduct.alone:
            image = image.expand(self.conduct.rows or self.block, *self.shape)
        with torch.no_grad():
            return _checked(self.model(self._fed(image)), len(image))[0]

    def gradient(self, rows: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (R, C), values of the loss (R,) and its gradients (R, n) in the rows (R, n)."""
        logits, values, gradients = [], [], []
        for s, images in self._blocks(rows):
            live = s.stop - s.start
            with torch.enable_grad():
                images = images.detach().requires_grad_()
                z = self._logits(images)
            plain = z.detach()
            value, slope = loss(plain[:live], s)
            if live < len(images):
                slope = torch.cat([slope, slope.new_zeros(len(images) - live, slope.shape[1])])
            if z.requires_grad:
                (g,) = torch.autograd.grad(z, images, slope, allow_unused=True)
                g = torch.zeros_like(images) if g is None else g
            else:
                g = torch.zeros_like(images)
            logits.append(plain[:live])
            values.append(value)
            gradients.append(pad(g[:live].flatten(1), (0, rows.shape[1] - self.size)))
        if len(logits) == 1:
            return logits[0], values[0], gradients[0]
        return torch.cat(logits), torch.cat(values), torch.cat(gradients)


def _checked(out: Any, count: int) -> Tensor:
    """The output, if it is a tensor (count, C). Raises: `ModelError`."""
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != count:
        output = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ModelError(
            f"The model gave {output} for a batch of {count}; a search needs one row of logits per input: "
            "wrap the model so that it returns (batch, classes)."
        )
    return out
