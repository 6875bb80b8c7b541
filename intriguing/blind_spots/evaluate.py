"""Forward and backward passes in full blocks, whose number of rows does not depend on a row's company."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from intriguing.errors import ModelError
from intriguing.models.examination import Conduct
from intriguing.models.logits import logits_behind
from intriguing.models.probing import evaluating

Loss = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""From logits (b, C) of the rows in a slice to a value (b,) and its gradient in the logits (b, C)."""
MASKED = -1e30
"""What a logit of minus infinity counts as: the class is never the largest, and differences stay finite."""


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients for the weights inside; every module's mode and every flag is put back after.

    The gradient of the input alone costs about one forward pass more, a training step's backward two.
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
    """No TF32 inside: torch lets CUDA convolutions round to it by default, which hides margins of a thousandth."""
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

    Rows that do not fill one are padded to a multiple of `least` (of which `block` is one), large enough that the
    products in all blocks are rounded alike. Rows may be longer than an input: the rest does not reach the model.
    `conduct` says how the model wants to be called. It is always given copies, and may change them.
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
            left = len(rows) - start
            size = min(self.block, -(-left // self.least) * self.least)
            piece = rows[start : start + size]
            live = len(piece)
            if live < size:
                piece = torch.cat([piece, piece[:1].expand(size - live, -1)])
            yield slice(start, start + live), piece[:, : self.size].reshape(size, *self.shape)
            start += size

    def _fed(self, images: Tensor) -> Tensor:
        """A copy of the images, in the precision that the model takes."""
        return images.to(self.conduct.dtype if self.conduct else images.dtype, copy=True)

    def _logits(self, images: Tensor) -> Tensor:
        if self.conduct and self.conduct.probabilities:
            _, logits = logits_behind(self.model, self._fed(images))
        else:
            logits = self.model(self._fed(images))
        logits = _checked(logits, len(images)).to(images.dtype)
        return logits.masked_fill(logits == -math.inf, MASKED)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (R, C) of `rows` (R, n); of a model whose outputs are probabilities, the logits behind them."""
        with torch.no_grad():
            return torch.cat([self._logits(images)[: s.stop - s.start] for s, images in self._blocks(rows)])

    def outputs(self, rows: Tensor) -> Tensor:
        """The outputs (R, C) of `rows` (R, n), as the model gives them."""
        with torch.no_grad():
            parts = [_checked(self.model(self._fed(x)), len(x))[: s.stop - s.start] for s, x in self._blocks(rows)]
        return torch.cat(parts)

    def alone(self, row: Tensor) -> Tensor:
        """The output (C,) of one image (n,), fed by itself, as a user feeds it.

        A model that takes no single image is given a batch of copies.
        """
        image = row[: self.size].reshape(1, *self.shape)
        if self.conduct and not self.conduct.alone:
            image = image.expand(self.conduct.rows or self.block, *self.shape)
        with torch.no_grad():
            return _checked(self.model(self._fed(image)), len(image))[0]

    def gradient(self, rows: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (R, C), the loss's values (R,) and its gradients (R, n) in `rows`."""
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
    """The output of a model for `count` images, or `ModelError`."""
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != count:
        given = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ModelError(
            f"The model gave {given} for a batch of {count}; a search needs one row of logits per input: "
            "wrap the model so that it returns (batch, classes)."
        )
    return out
