"""Fitting a model to labelled examples: Adam or SGD in keyed order, or L-BFGS on all of them at once."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from intriguing import randomness
from intriguing.basics.process.liveness import beat
from intriguing.basics.text.brief import brief
from intriguing.data import Skipped, Split
from intriguing.errors import DataError, InputError, ModelError
from intriguing.models.options import TrainOptions

# Up to this size the images are kept as float32 for the whole training; above it, each batch is converted anew.
_KEEP = 1024**3
_CHUNK = 4096
_BATCH = 256
"""Number of images that are read at a time if they are not kept in memory."""
_LOG = logging.getLogger(__name__)

# Positions of examples; a slice needs no copy.
Rows = torch.Tensor | slice
Loss = Callable[[Rows], torch.Tensor]


@dataclass(frozen=True)
class Examples:
    """Labelled inputs by position: `inputs(rows)` is a float32 tensor (n, ...), `labels` (N,) int64."""

    __repr__ = brief

    inputs: Callable[[Rows], torch.Tensor]
    labels: torch.Tensor

    @classmethod
    def of(cls, split: Split, device: torch.device) -> tuple[Self, tuple[Skipped, ...]]:
        """The readable images of a split, on `device`, and the list of the others.

        Images in files are all read once for this. Raises: `DataError` if none can be read.
        """
        keeps = 4 * math.prod(split.images.shape) <= _KEEP
        if isinstance(split.images, np.ndarray) and not keeps:
            labels = torch.tensor(split.labels, device=device)
            return cls(lambda rows: split.pixels(_plain(rows)).to(device), labels), ()
        parts, good, skipped = [], [], []
        for start in range(0, len(split), _CHUNK if keeps else _BATCH):
            step = np.arange(start, min(start + (_CHUNK if keeps else _BATCH), len(split)))
            images, at, bad = split.readable(step)
            parts += [images] if keeps else []
            good.append(at)
            skipped += bad
        for bad in skipped:
            _LOG.warning("left out of the training: %s", bad.reason)
        positions = np.concatenate(good)
        if not len(positions):
            raise DataError(f"None of the {len(split)} training images can be read. The first: {skipped[0].reason}")
        labels = torch.tensor(split.labels[positions], device=device)
        if keeps:
            return cls(torch.cat(parts).to(device).__getitem__, labels), tuple(skipped)
        return cls(lambda rows: split.pixels(positions[_plain(rows)]).to(device), labels), tuple(skipped)

    def __len__(self) -> int:
        return len(self.labels)

    def chunks(self) -> Iterator[slice]:
        """Slices of a fixed size that cover all positions in order."""
        for start in range(0, len(self), _CHUNK):
            yield slice(start, min(start + _CHUNK, len(self)))

    def through(self, model: nn.Module) -> Self:
        """The same labels with the outputs of `model` as inputs."""
        with torch.no_grad():
            outputs = torch.cat([model(self.inputs(rows)) for rows in self.chunks()])
        return type(self)(outputs.__getitem__, self.labels)


@dataclass(frozen=True)
class Decay:
    """Weight decay: the penalty sum_i factor_i * sum(w_i^2) over weight tensors w_i (never biases).

    metric: (k, k), for weights (m, k) that stand for others, w B: the penalty is then that of w B, the metric B B^T.
    """

    __repr__ = brief

    terms: tuple[tuple[nn.Parameter, float], ...]
    metric: torch.Tensor | None = None

    @classmethod
    def of(cls, model: nn.Module, options: TrainOptions) -> Self:
        """lambda/2 (`half`) or lambda/k with k the layer's units (`printed`, as the paper's section 4.2 has it)."""
        weights = [p for p in model.parameters() if p.ndim > 1]
        decay = options.weight_decay or 0.0
        rates = decay if isinstance(decay, tuple) else (decay,) * len(weights)
        if len(rates) != len(weights):
            raise InputError(
                f"Training option weight_decay has {len(rates)} entries; the model has {len(weights)} weight tensors. "
                "Give one number for all, or one per tensor."
            )
        printed = options.decay_form == "printed"
        return cls(
            tuple((w, r / w.shape[0] if printed else r / 2) for w, r in zip(weights, rates, strict=True) if r > 0)
        )

    def penalty(self) -> float:
        """The value of the penalty."""
        return sum(factor * float((w.detach() * self._own(w)).sum()) for w, factor in self.terms)

    def add_gradient(self) -> None:
        """Add the penalty's gradient to the gradients of the weights."""
        for w, factor in self.terms:
            if w.grad is not None:
                w.grad.add_(self._own(w), alpha=2 * factor)

    def _own(self, w: nn.Parameter) -> torch.Tensor:
        return w.detach() if self.metric is None else w.detach() @ self.metric


def _plain(rows: Rows) -> np.ndarray | slice:
    return rows if isinstance(rows, slice) else rows.cpu().numpy()


def fit(model: nn.Module, examples: Examples, options: TrainOptions, decay: Decay, seed: int) -> float:
    """Minimise cross-entropy plus weight decay over the weights of `model`; returns the last loss.

    Raises: `ModelError` when the loss becomes NaN or infinite.
    """

    def loss(rows: Rows) -> torch.Tensor:
        return cross_entropy(model(examples.inputs(rows)), examples.labels[rows])

    parameters = [p for p in model.parameters() if p.requires_grad]
    if options.optimizer == "lbfgs":
        return _lbfgs(parameters, loss, examples, options, decay)
    return descend(parameters, loss, len(examples), options.epochs or 1, options, decay, seed)


def cross_entropy(outputs: torch.Tensor | tuple[torch.Tensor | None, ...], labels: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy of logits; auxiliary logits of a model that has them in training count 0.3 each.

    Source of the weight: arXiv:1409.4842 (GoogLeNet), section 5.
    """
    if isinstance(outputs, torch.Tensor):
        return F.cross_entropy(outputs, labels)
    main, *auxiliary = [logits for logits in outputs if logits is not None]
    losses = [F.cross_entropy(logits, labels) for logits in auxiliary]
    return F.cross_entropy(main, labels) + 0.3 * sum(losses, torch.zeros((), device=labels.device))


def descend(
    parameters: list[nn.Parameter],
    loss: Loss,
    count: int,
    epochs: int,
    options: TrainOptions,
    decay: Decay,
    seed: int,
    purpose: str = "order of images",
) -> float:
    """Adam or SGD on `loss(rows)` over `count` examples, in an order keyed by seed and epoch; returns the last mean."""
    rate, size = options.learning_rate or 0.0, options.batch_size or 1
    device = parameters[0].device
    optimizer = optimizer_of(parameters, options)
    steps, step, mean = epochs * math.ceil(count / size), 0, math.nan
    for epoch in range(epochs):
        order = randomness.generator(seed, purpose, epoch).permutation(count)
        total, seen = torch.zeros((), device=device), 0
        for rows in torch.from_numpy(order.astype(np.int64)).to(device).split(size):
            beat()
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(step / steps, options.warm_up or 0.0)
            step += 1
            with lone_row_left_out(rows, size, count):
                value = loss(rows)
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                decay.add_gradient()
                optimizer.step()
                total += value.detach() * len(rows)
                seen += len(rows)
        mean = float(total) / seen
        _finite(mean, f"epoch {epoch + 1}")
    return mean + decay.penalty()


@contextmanager
def lone_row_left_out(rows: torch.Tensor, size: int, count: int) -> Iterator[None]:
    """Inside is a training step on `rows`, a batch of at most `size` of `count` images.

    The step is left out where these are the one image that remains of an epoch and a batch norm refuses it: one number
    has no variance. The next epoch draws another order.
    """
    try:
        yield
    except ValueError as error:
        if not len(rows) == 1 < size < count or "more than 1 value per channel" not in str(error):
            raise


def optimizer_of(parameters: list[nn.Parameter], options: TrainOptions) -> torch.optim.Optimizer:
    """Adam, or SGD with momentum 0.9 in Nesterov's form, with the step size of `options`."""
    rate = options.learning_rate or 0.0
    if options.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True)
    return torch.optim.Adam(parameters, lr=rate, fused=not any(weight.is_complex() for weight in parameters))


def schedule(done: float, warm_up: float) -> float:
    """The fraction of the largest step size: linear up to `warm_up`, then a half cosine down to 0, never quite 0."""
    if done < warm_up:
        return max(done / warm_up, 1e-3)
    return max(0.5 * (1 + math.cos(math.pi * (done - warm_up) / max(1 - warm_up, 1e-9))), 1e-3)


def _lbfgs(
    parameters: list[nn.Parameter], loss: Loss, examples: Examples, options: TrainOptions, decay: Decay
) -> float:
    """Full-batch L-BFGS with a strong Wolfe line search, for the convex softmax; gradients are summed by chunk."""
    iterations = options.epochs or 1
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=iterations,
        max_eval=2 * iterations,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        history_size=20,
        line_search_fn="strong_wolfe",
    )
    last = [math.nan]

    def closure() -> float:
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=parameters[0].device)
        for rows in examples.chunks():
            value = loss(rows) * ((rows.stop - rows.start) / len(examples))
            value.backward()
            total += value.detach()
        decay.add_gradient()
        last[0] = float(total) + decay.penalty()
        _finite(last[0], "an iteration of L-BFGS")
        return last[0]

    optimizer.step(closure)
    return last[0]


def _finite(loss: float, when: str) -> None:
    if not math.isfinite(loss):
        raise ModelError(
            f"Training diverged: the loss is {loss} at {when}. Lower learning_rate, or check the model for NaN."
        )
