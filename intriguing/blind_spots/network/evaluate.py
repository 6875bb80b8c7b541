"""Forward and backward passes in batches of such sizes that a row's result does not depend on the other rows."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from intriguing.basics.torch_modes import Lent, evaluating
from intriguing.blind_spots import cuda_graph
from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.network.recording import Recording
from intriguing.errors import ModelError
from intriguing.models.examination import Conduct, changed_classes
from intriguing.models.feeding.rows import Blocks, Passes
from intriguing.models.logits import logits_behind

Loss = Callable[[Tensor, slice | Tensor], tuple[Tensor, Tensor]]
"""A function of the logits (b, C) of some rows, and which rows they are (a slice or indices): a value (b,) and its
gradient (b, C)."""
_Pull = Callable[[Tensor], Tensor | None]
MASKED = -1e30
"""Replaces a logit of minus infinity: the class is still never the largest, and differences are finite."""


_FLAGS = Lent("requires_grad")


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in eval mode and its weights need no gradient; afterwards all is as before.

    The gradient in the input alone costs about as much as one forward pass, with the weights' gradients twice as much.
    """
    leaves = [p for p in model.parameters() if p.is_leaf]
    with evaluating(model), _FLAGS.kept(leaves):
        for p in leaves:
            p.requires_grad_(False)
        yield


class Evaluator:
    """Evaluates a frozen `model` on flat rows (R, n) in batches of the sizes that `blocks` allows.

    These sizes are such that products in all batches are rounded alike. Rows may be longer than an input; the padding
    at their end does not reach the model. `conduct` says how the model must be called. The model gets copies, so it may
    change its input.

    `active` (R,) is a mask of the rows that are wanted; others are not fed where that makes fewer rows, and get zeros.
    In a CUDA graph, whose shapes are fixed, all rows are fed. `seen` counts the rows that the model saw, with padding.
    """

    def __init__(
        self,
        model: nn.Module,
        shape: tuple[int, ...],
        blocks: Blocks,
        conduct: Conduct | None = None,
        seen: Passes | None = None,
        dear: bool = False,
        recording: Recording | None = None,
        repeated: cuda_graph.Repeated | None = None,
    ) -> None:
        self.model = model
        self.shape = shape
        self.size = math.prod(shape)
        self.blocks = blocks
        self.conduct = conduct
        self.seen = seen or Passes()
        self.dear = dear
        """Whether rows cost so much that each is fed alone, however much memory there is."""
        self.recording = recording
        """What logits and gradients come from in place of the model, where there is one; outputs never do."""
        self._repeated = repeated or cuda_graph.Repeated(model, self.seen)
        self.is_graph_made = False
        """Whether a step that asks the model was recorded already (`cuda_graph`)."""

    @property
    def classes(self) -> int:
        """The number of the model's classes."""
        assert self.conduct is not None
        return self.conduct.classes

    @property
    def single(self) -> bool:
        """Whether each row is fed alone, for its cost or for want of memory."""
        return self.blocks.most == 1

    def _batches(self, rows: Tensor, index: Tensor | None) -> Iterator[tuple[slice | Tensor, Tensor]]:
        """Which rows a batch holds, as a slice or as indices, and their images, padded; `index`: None for all rows."""
        total = rows.shape[0]
        count = total if index is None else index.shape[0]
        start = 0
        while start < count:
            size = self.blocks.size(count - start)
            live = min(size, count - start)
            s = slice(start, start + live) if index is None else index[start : start + live]
            piece = rows.index_select(0, s) if isinstance(s, Tensor) else rows if live == total else rows[s]
            if live < size:
                piece = torch.cat([piece, piece[:1].expand(size - live, -1)])
            if piece.shape[1] > self.size:
                piece = piece[:, : self.size]
            self.seen.forward += size
            yield s, piece.reshape(size, *self.shape)
            start += size

    def _chosen(self, rows: Tensor, active: Tensor | None) -> Tensor | None:
        """Indices of the active rows; None for all: where none is spared by leaving the others out."""
        if active is None or is_graphed(rows.device):
            return None
        count = sum(active.tolist())
        if count == 0 or self.blocks.padded(count) == self.blocks.padded(rows.shape[0]):
            return None
        return active.nonzero().squeeze(1)

    def _fed(self, images: Tensor) -> Tensor:
        """A copy of the images in the model's dtype."""
        return images.to(self.conduct.dtype if self.conduct else images.dtype, copy=True)

    def _logits(self, images: Tensor) -> Tensor:
        if self.recording is not None and self.recording.current:
            logits = self.recording.forward(images)
            return logits.masked_fill(logits == -math.inf, MASKED)
        if self.conduct and self.conduct.probabilities:
            _, logits = logits_behind(self.model, self._fed(images))
        else:
            logits = self.model(self._fed(images))
        logits = self._checked(logits, len(images)).to(images.dtype)
        # The gradient of a mask of nothing would be work for nothing; a NaN may hide what is to be masked.
        if logits.requires_grad and not is_graphed(logits.device) and float(logits.detach().amin()) > -math.inf:
            return logits
        return logits.masked_fill(logits == -math.inf, MASKED)

    def forward(self, rows: Tensor, active: Tensor | None = None) -> Tensor:
        """Logits (R, C) of `rows` (R, n); if the model returns probabilities, the logits before its softmax."""
        return self._collected(rows, active, self._logits)

    def outputs(self, rows: Tensor, active: Tensor | None = None) -> Tensor:
        """The model's outputs (R, C) for `rows` (R, n), unchanged."""
        return self._collected(rows, active, self._outputs)

    def _outputs(self, images: Tensor) -> Tensor:
        return self._checked(self._repeated(self._fed(images)), len(images))

    def _checked(self, out: Any, count: int) -> Tensor:
        return _checked(out, count, self.conduct.classes if self.conduct else 0)

    def _collected(self, rows: Tensor, active: Tensor | None, call: Callable[[Tensor], Tensor]) -> Tensor:
        index = self._chosen(rows, active)
        with torch.no_grad():
            # A copy, for a model may write its next output to the same memory.
            parts = [_first(call(images), _length(s)).clone() for s, images in self._batches(rows, index)]
        return _spread(parts, rows, index)

    def in_blocks(self, blocks: Blocks) -> "Evaluator":
        """An evaluator of the same model, which it feeds so many rows at a time."""
        return self._like(blocks, self.recording)

    def by(self, recording: Recording) -> "Evaluator":
        """An evaluator of the same model that replays `recording` in its place."""
        return self._like(self.blocks, recording)

    def _like(self, blocks: Blocks, recording: Recording | None) -> "Evaluator":
        shared = self.conduct, self.seen, self.dear, recording, self._repeated
        return Evaluator(self.model, self.shape, blocks, *shared)

    def alone(self, rows: Tensor) -> Tensor:
        """The outputs (R, C) for the rows (R, n), each in a batch of one, or of copies if the model does not take one.

        Nothing is read on the host, so that on a CUDA device no call waits for the one before.
        """
        copies = (self.conduct.rows or self.blocks.most) if self.conduct and not self.conduct.alone else 1
        with torch.no_grad():
            images = rows[:, : self.size].reshape(len(rows), 1, *self.shape)
            self.seen.forward += len(rows) * copies
            return torch.cat([self._outputs(image.expand(copies, *self.shape))[:1].clone() for image in images])

    def gradient(self, rows: Tensor, loss: Loss, active: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (R, C), values of the loss (R,) and its gradients (R, n) in the rows (R, n)."""
        logits, values, gradients = [], [], []
        index = self._chosen(rows, active)
        for s, images in self._batches(rows, index):
            z, pull = self._both(images)
            plain = _first(z, _length(s))
            value, slope = loss(plain, s)
            logits.append(plain)
            values.append(value)
            gradients.append(self._pulled(pull, images, slope, rows.shape[1]))
        return _spread(logits, rows, index), _spread(values, rows, index), _spread(gradients, rows, index)

    def gradients(self, rows: Tensor, losses: Sequence[Loss]) -> tuple[Tensor, Tensor]:
        """The values (R, K) of K losses and their gradients (R, K, n), by one forward pass and K backward passes.

        A compiled model may allow one backward pass per forward pass only.
        """
        try:
            return self._gradients(rows, losses)
        except RuntimeError:
            found = [self.gradient(rows, loss) for loss in losses]
            return torch.stack([value for _, value, _ in found], 1), torch.stack([g for *_, g in found], 1)

    def _gradients(self, rows: Tensor, losses: Sequence[Loss]) -> tuple[Tensor, Tensor]:
        values, gradients = [], []
        for s, images in self._batches(rows, None):
            z, pull = self._both(images, keep=True)
            plain = _first(z, _length(s))
            pairs = [loss(plain, s) for loss in losses]
            values.append(torch.stack([value for value, _ in pairs], 1))
            pulled = [self._pulled(pull, images, slope, rows.shape[1]) for _, slope in pairs]
            gradients.append(torch.stack(pulled, 1))
        return torch.cat(values), torch.cat(gradients)

    def _both(self, images: Tensor, keep: bool = False) -> tuple[Tensor, _Pull | None]:
        """The logits (B, C) of a batch, and what pulls a gradient in them back to the images; None: it is zero.

        keep: it may be called more than once.
        """
        if self.recording is not None and self.recording.current:
            with torch.no_grad():
                logits, pull = self.recording.both(images)
                return logits.masked_fill(logits == -math.inf, MASKED), pull
        with torch.enable_grad():
            images = images.detach().requires_grad_()
            z = self._logits(images)
        # A model may write its next output to the same memory.
        plain = z.detach().clone()
        if not z.requires_grad:
            return plain, None

        def pulled(slope: Tensor) -> Tensor | None:
            return torch.autograd.grad(z, images, slope, allow_unused=True, retain_graph=keep)[0]

        return plain, pulled

    def _pulled(self, pull: _Pull | None, images: Tensor, slope: Tensor, width: int) -> Tensor:
        """The gradients (b, width) in the live rows of a batch of images; slope (b, C) is that in their logits."""
        (live, classes), size = slope.shape, images.shape[0]
        if live < size:
            slope = torch.cat([slope, slope.new_zeros(size - live, classes)])
        g = None
        if pull is not None:
            self.seen.backward += size
            g = pull(slope)
        g = torch.zeros_like(images) if g is None else g
        g = _first(g, live).flatten(1)
        return pad(g, (0, width - self.size)) if width > self.size else g.contiguous()


def _length(s: slice | Tensor) -> int:
    return s.stop - s.start if isinstance(s, slice) else s.shape[0]


def _first(rows: Tensor, count: int) -> Tensor:
    """The first `count` rows."""
    return rows if rows.shape[0] == count else rows[:count]


def _spread(parts: list[Tensor], rows: Tensor, index: Tensor | None) -> Tensor:
    """The parts of all batches in one tensor (R, ...), an entry for each of `rows`; zeros where none was fed."""
    fed = parts[0] if len(parts) == 1 else torch.cat(parts)
    return fed if index is None else fed.new_zeros((len(rows), *fed.shape[1:])).index_copy_(0, index, fed)


def _checked(out: Any, count: int, classes: int) -> Tensor:
    """The output, if it is a tensor (count, C), with C = `classes` unless that is 0. Raises: `ModelError`."""
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != count:
        output = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ModelError(
            f"The model gave {output} for a batch of {count}; a search needs one row of logits per input: "
            "wrap the model so that it returns (batch, classes)."
        )
    if classes and out.shape[1] != classes:
        raise ModelError(changed_classes(classes, out.shape[1]))
    return out
