"""A model under examination: frozen, fed in batches of one size, and checked before use."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from torch import nn

from intriguing import randomness
from intriguing.basics.inputs import as_tensor, feeding
from intriguing.data import Split
from intriguing.errors import DataError, InputError, ModelError


def probe(model: nn.Module) -> nn.Module:
    """`model` itself, in eval mode and with its weights frozen (an input gradient then costs half a training step)."""
    return model.eval().requires_grad_(False)


def layer_names(model: nn.Module) -> list[str]:
    """The names of all layers, as `model.named_modules()` gives them."""
    return [name for name, _ in model.named_modules() if name]


def parameter_count(model: nn.Module) -> int:
    """How many numbers the weights hold, buffers not counted."""
    return sum(p.numel() for p in model.parameters())


def is_classifier(model: nn.Module) -> bool:
    """Whether the model's output is logits; False for `alexnet-features`."""
    return bool(getattr(model, "classifies", True))


def predict(model: nn.Module, x: torch.Tensor | np.ndarray, slots: int = 256) -> torch.Tensor:
    """The logits (n, classes) of images `x` (n, C, H, W), computed in eval mode, without gradients.

    Every batch has `slots` rows, the last one filled up with zeros, so that an image's logits do not depend on which
    other images it came with: they are bitwise the same in every shard. The model is given copies, so that one that
    changes its input in place does not change `x`.
    """
    if slots < 1:
        raise InputError(f"slots = {slots}: at least 1 is needed.")
    x = as_tensor(x, "x")
    if x.ndim < 2:
        raise InputError(f"x has the shape {tuple(x.shape)}; it must be a batch (n, *shape): write x[None].")
    logits = []
    with torch.no_grad(), evaluating(model):
        for start in range(0, max(1, len(x)), slots):
            batch = x[start : start + slots]
            rows = len(batch)
            if rows < slots:
                batch = torch.cat([batch, batch.new_zeros(slots - rows, *batch.shape[1:])])
            else:
                batch = batch.clone()
            with feeding(model, batch):
                logits.append(model(batch)[:rows])
    return torch.cat(logits)


def error_rate(model: nn.Module, split: Split, slots: int = 256) -> float:
    """The fraction of a split's images that the model gets wrong; one that cannot be read is left out.

    Raises `DataError` when none can be read.
    """
    device = device_of(model)
    wrong = seen = 0
    for start in range(0, len(split), 16 * slots):
        images, at, _ = split.readable(np.arange(start, min(start + 16 * slots, len(split))))
        if len(at):
            guesses = predict(model, images.to(device), slots).argmax(dim=1).cpu().numpy()
            wrong, seen = wrong + int((guesses != split.labels[at]).sum()), seen + len(at)
    if not seen:
        raise DataError("None of the split's images can be read.")
    return wrong / seen


def check_model(model: nn.Module, shape: tuple[int, int, int], classes: int, slots: int = 2) -> int:
    """Feed blank and random images; raise `ModelError` unless the logits are finite and of shape (rows, classes).

    Two images are fed, and a full batch of `slots` to a model that does not take two. Of a model that is no classifier,
    only that its output is finite. Returns how many images it took.
    """
    out, rows = None, 0
    first: Exception | None = None
    for rows in dict.fromkeys((2, slots)):
        generator = torch.Generator().manual_seed(randomness.torch_seed(0, "check model"))
        x = torch.cat([torch.zeros(1, *shape), torch.rand(rows - 1, *shape, generator=generator)])
        try:
            with torch.no_grad(), evaluating(model):
                out = model(x.to(device_of(model)))
            break
        except Exception as e:
            first = first or e
    else:
        assert first is not None
        line = (str(first).strip() or type(first).__name__).splitlines()[0]
        raise ModelError(f"The model does not take images of shape {tuple(shape)}: {line}") from first
    if not isinstance(out, torch.Tensor):
        raise ModelError(f"The model returns a {type(out).__name__}; it must return a tensor of logits (B, {classes}).")
    if is_classifier(model) and out.shape != (rows, classes):
        raise ModelError(
            f"The model returns {tuple(out.shape)} for {rows} images; the data set has {classes} classes, so it must "
            f"return logits of shape ({rows}, {classes})."
        )
    if out.isnan().any() or (out == torch.inf).any() or bool((out == -torch.inf).all()):
        raise ModelError(
            "The model's logits are not finite (NaN or infinity). Check its weights and its normalisation."
        )
    return rows


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every layer in eval mode; afterwards, each as it was.

    An exported program and a frozen script have no modes: they stay as they are, and what is around them changes mode.
    """
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    try:
        try:
            model.eval()
        except NotImplementedError:
            for module, _ in modes:
                module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def device_of(model: nn.Module) -> torch.device:
    """Where the model's weights are; the CPU for a model without weights."""
    weights = chain(model.parameters(), model.buffers())
    return next((weight.device for weight in weights), torch.device("cpu"))
