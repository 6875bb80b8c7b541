"""Freeze a model, check it, and compute its logits in batches of one size."""

from contextlib import suppress
from itertools import product

import numpy as np
import torch
from torch import nn

from intriguing import randomness
from intriguing.basics.inputs import as_tensor, feeding
from intriguing.basics.process.heap import reused_heap
from intriguing.basics.torch_modes import device_of, evaluating
from intriguing.data import Split
from intriguing.errors import DataError, InputError, ModelError
from intriguing.models.examination import accepted_size, classes_in, fails_on_some, precisions, takes_others
from intriguing.models.feeding.batches import batches_of


def probe(model: nn.Module) -> nn.Module:
    """`model` itself, in eval mode, with weights that need no gradient."""
    for weight in model.parameters():  # scripted modules have no `requires_grad_` of their own
        weight.requires_grad_(False)
    with suppress(NotImplementedError):  # exported programs have no modes
        model.eval()
    return model


def trainable(model: nn.Module) -> nn.Module:
    """`model` itself, in training mode, with the weights that its builder left to train; all, where all are frozen."""
    weights = [w for w in model.parameters() if w.is_floating_point() or w.is_complex()]
    if not any(w.requires_grad for w in weights):
        for weight in weights:
            weight.requires_grad_(True)
    return model.train()


def check_modes(model: nn.Module) -> None:
    """Raise `ModelError` where a model that is to be trained has no training mode, as programs of torch.export."""
    try:
        model.train()
    except NotImplementedError:
        raise ModelError(
            "It has no training mode, as it was exported: write train = false, and it is used with its own weights, or "
            "name a file of weights, or give the module that it was exported from."
        ) from None
    model.eval()


def parameter_count(model: nn.Module) -> int:
    """Number of trainable numbers of a model; buffers do not count."""
    return sum(p.numel() for p in model.parameters())


def is_classifier(model: nn.Module) -> bool:
    """Whether the model's output is logits; False for `alexnet-features`."""
    return bool(getattr(model, "classifies", True))


def predict(model: nn.Module, x: torch.Tensor | np.ndarray, slots: int = 256) -> torch.Tensor:
    """The logits (n, classes) of images `x` (n, C, H, W), computed in eval mode, without gradients.

    Where rows are cheap, batches have `slots` rows, the last one padded with zeros to a multiple of 32, so that an
    image's logits do not depend on the other images: they have the same bits in every shard. Where they are dear, a
    batch holds what there is (`batches_of`), and logits agree to 1e-5. The model gets copies, so it may change its
    input in place; where it takes its weights' type alone (float16, say), they are converted.
    """
    if slots < 1:
        raise InputError(f"slots = {slots}: at least 1 is needed.")
    x = as_tensor(x, "x")
    if x.ndim < 2:
        raise InputError(f"x has the shape {tuple(x.shape)}; it must be a batch (n, *shape): write x[None].")
    logits = []
    with torch.no_grad(), evaluating(model), reused_heap():
        batches = batches_of(model, x, slots)
        parts = list(batches.parts(len(x))) or [slice(0, 0)]
        most = max(part.stop - part.start for part in parts)
        held = x.new_empty(most + batches.padding(most), *x.shape[1:], dtype=batches.dtype)
        for part in parts:
            rows = part.stop - part.start
            fed = held[: rows + batches.padding(rows)]
            fed[:rows], fed[rows:] = x[part], 0
            with feeding(model, fed):
                logits.append(model(fed)[:rows].clone())  # it may be a view of what it was fed
    return torch.cat(logits)


def classes_of(logits: torch.Tensor) -> np.ndarray:
    """The class of each row of logits (n, C), (n,) int64; -1 where a logit is NaN: no answer, so never a right one."""
    classes = logits.argmax(dim=1)  # that of a NaN where there is one
    return classes.masked_fill(logits.gather(1, classes[:, None])[:, 0].isnan(), -1).cpu().numpy()


def error_rate(model: nn.Module, split: Split, slots: int = 256) -> float:
    """The fraction of wrong classes over a split's readable images.

    Raises: `DataError` if none can be read.
    """
    device = device_of(model)
    wrong = total = 0
    for start in range(0, len(split), slots):
        images, at, _ = split.readable(np.arange(start, min(start + slots, len(split))))
        if len(at):
            guesses = classes_of(predict(model, images.to(device), slots))
            wrong, total = wrong + int((guesses != split.labels[at]).sum()), total + len(at)
    if not total:
        raise DataError("None of the split's images can be read.")
    return wrong / total


def _of_more_classes(out: torch.Tensor, rows: int, classes: int) -> str:
    """What to do with a model that knows more classes than the data set has, as one of ImageNet does; after a space."""
    if out.ndim != 2 or len(out) != rows or out.shape[1] < classes:
        return ""
    count = out.shape[1]
    return (
        f" If its {count} classes are others than the data's, number the labels as it does: folders of photos named by "
        f"numbers and ?classes={count} behind the path, or an entry classes = {count} beside arrays. Or examine its "
        "units alone: model.classifies = False."
    )


def check_model(
    model: nn.Module, shape: tuple[int, int, int], classes: int, slots: int = 2, to_train: bool = False
) -> int:
    """Call a model with a blank image and random ones; the number of images that it accepted.

    It gets two images, or a full batch of `slots` if it does not accept two, of float32, or of its weights' type if it
    accepts no other. to_train: whether it is to be trained, which is done in float32.

    Raises: `ModelError` unless the logits are finite and of shape (rows, classes); the output of a model that is not a
    classifier must only be finite, where it is a tensor.
    """
    generator = torch.Generator().manual_seed(randomness.torch_seed(0, "check model"))
    types = precisions(model, torch.float32)[: 1 if to_train else None]
    images = torch.zeros(0, *shape)
    out, rows = None, 0
    first: Exception | None = None
    for rows, dtype in product(dict.fromkeys((2, slots)), types):
        images = torch.cat([torch.zeros(1, *shape), torch.rand(rows - 1, *shape, generator=generator)])
        try:
            with torch.no_grad(), evaluating(model):
                out = model(images.to(device_of(model), dtype, copy=True))
            break
        except Exception as e:
            first = first or e
    else:
        assert first is not None
        with evaluating(model):
            takes_some = takes_others(model, images.to(device_of(model)), (2, slots), types)
        if takes_some:
            raise ModelError(fails_on_some(tuple(shape), first)) from first
        raise ModelError(
            f"The model does not take images of shape {tuple(shape)}: {_why_not(model, images, first, to_train)}"
        ) from first
    if not isinstance(out, torch.Tensor):
        if not is_classifier(model):
            return rows
        classes_in(out, rows)  # says what to return
        raise AssertionError
    if is_classifier(model) and classes > 1 and out.numel() == rows:
        classes_in(out, rows)
    if is_classifier(model) and out.shape != (rows, classes):
        raise ModelError(
            f"The model returns {tuple(out.shape)} for {rows} images; the data set has {classes} classes, so it must "
            f"return logits of shape ({rows}, {classes}).{_of_more_classes(out, rows, classes)}"
        )
    if out.isnan().any() or (out == torch.inf).any() or bool((out == -torch.inf).all()):
        raise ModelError(
            "The model's logits are not finite (NaN or infinity). Check its weights and its normalisation."
        )
    return rows


def _why_not(model: nn.Module, images: torch.Tensor, error: Exception, to_train: bool) -> str:
    """Why a model takes neither two such `images` nor a full batch of them, which ended in `error`."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    others = [str(dtype).removeprefix("torch.") for dtype in precisions(model, images.dtype)[1:]]
    if to_train and others:
        return (
            f"it is trained in float32, and its weights are {' and '.join(others)}: return model.float(), or convert x "
            f"in its forward. With train = false, or with a file of weights, it is fed as it is. ({line})"
        )
    with evaluating(model):
        only = accepted_size(model, images.to(device_of(model)))
    if only == 1:
        return (
            "it takes one image at a time, and a sweep feeds it several. Let its forward take any number (for "
            "torch.export: dynamic_shapes), or wrap it in a module whose forward is "
            f"`return torch.cat([self.net(image[None]) for image in x])`. ({line})"
        )
    if only:
        return f"it takes batches of {only} alone: write slots = {only} under [compute]. ({line})"
    return line
