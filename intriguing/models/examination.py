"""Examine a model before a search: call it a few times to learn how it must be called and whether it can be searched.

A model that cannot be searched is refused here, with a sentence that says what to do. Otherwise its search would end
without a success for every image, which looks as if the model were robust.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from intriguing import randomness
from intriguing.basics.inputs import advice
from intriguing.basics.process.memory import is_out_of_memory
from intriguing.basics.torch_modes import device_of, evaluating
from intriguing.errors import ModelError
from intriguing.models.logits import logits_behind

ROWS = 8
"""Number of images per call of an examination; half of them are random."""
_OTHER = 3
"""Number of images of a call that tells whether a model takes batches of another size."""
_COMPANY = 10.0
"""A row alone, for which torch takes other kernels, may differ by so many times as much as one in other company."""
_SIZES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 100, 128)
"""Batch sizes that a model is tried with that takes none of the usual ones."""
_SUM = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest difference of a sum of probabilities from 1 in these dtypes; in others it is 1e-3."""


@dataclass(frozen=True)
class Conduct:
    """How to call a model, and what its outputs are."""

    dtype: torch.dtype
    """The dtype of the images that it accepts."""
    classes: int
    rows: int = 0
    """The only batch size that it accepts; 0: any."""
    alone: bool = True
    """Whether it accepts a single image."""
    probabilities: bool = False
    """Whether its outputs are probabilities: each row lies in [0, 1] and sums to 1."""
    blind: bool = False
    """Whether the gradient was exactly zero at all images of the examination."""


class FunctionModule(nn.Module):
    """A function as a module. A method of a module keeps that module's weights and mode."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        owner = getattr(function, "__self__", None)
        self.owner = owner if isinstance(owner, nn.Module) else None

    def forward(self, x: Tensor) -> Any:
        """What the function gives."""
        return self.function(x)


def as_module(model: Any) -> nn.Module:
    """The module of `model`, which is a module, an exported program, or a function of a batch of images.

    Raises: `ModelError` for anything else.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, torch.export.ExportedProgram):
        return model.module()
    if callable(model):
        return FunctionModule(model)
    raise ModelError(
        f"The model is a {type(model).__name__}; it must be a torch.nn.Module, an exported program, or a function "
        "from images (B, *shape) to logits (B, classes)."
    )


def check_weights(model: nn.Module) -> None:
    """Raise `ModelError` for weights that allow no gradient: created in inference mode, or without values."""
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(weight):
            raise ModelError(
                f"The weight {name} has no shape yet: its layer is lazy, and takes one from the first inputs. Call the "
                "model once on a batch like those to search."
            )
        if weight.is_inference():
            raise ModelError(
                f"The weight {name} was made inside torch.inference_mode(), so no gradient can pass it: build or load "
                "the model outside of it (torch.no_grad() does no harm)."
            )
        if weight.is_meta:
            raise ModelError(f"The weight {name} is on the device 'meta', without values: load the model's weights.")


def examine(model: nn.Module, images: Tensor, box: tuple[Any, Any], sizes: Sequence[int]) -> Conduct:
    """Call `model`, which is frozen and in eval mode, on a few batches; the result says how it must be called.

    images: (b, *shape), a few of those to search; b may be 0. Random images from the `box` are added. sizes: the batch
    sizes to try, in this order.

    Raises: `ModelError` for a model that cannot be searched: it fails, its output is not a tensor (B, classes), it is
    random, an image's output depends on the other images or on whether gradients are computed, or no gradient
    reaches the input.
    """
    first: Exception | None = None
    for size in dict.fromkeys(sizes):
        for dtype in precisions(model, images.dtype):
            batch = torch.cat([images[: size // 2], _random(images, box, size - len(images[: size // 2]), "first")])
            try:
                out = _called(model, batch, dtype)
            except Exception as e:
                if is_out_of_memory(e):
                    raise
                first = first or e
                continue
            classes = classes_in(out, size)
            conduct = Conduct(dtype, classes, rows=0 if size == sizes[0] else size)
            return _examined(model, conduct, batch, out, images, box)
    assert first is not None
    if takes_others(model, images, sizes, precisions(model, images.dtype), box):
        raise ModelError(fails_on_some(tuple(images.shape[1:]), first)) from first
    only = accepted_size(model, images)
    why = f"it takes batches of {only}: SearchOptions(slots={only}), in a spec slots = {only} under [compute]"
    raise ModelError(
        f"The model does not take images of shape {tuple(images.shape[1:])} and type "
        f"{str(images.dtype).removeprefix('torch.')}: {advice(model, images) or (why if only else _line(first))} "
        f"(batches of {', '.join(str(s) for s in dict.fromkeys(sizes))} were tried)"
    ) from first


def takes_others(
    model: nn.Module,
    images: Tensor,
    sizes: Sequence[int],
    dtypes: Sequence[torch.dtype],
    box: tuple[Any, Any] = (0.0, 1.0),
) -> bool:
    """Whether `model`, which failed on batches of these `sizes` and `dtypes`, takes such a batch of equal images in the
    `box`: of its lowest values, of its middle or of its highest. images: (b, *shape), where b may be 0.
    """
    for size, dtype, share in product(dict.fromkeys(sizes), dtypes, (0.0, 0.5, 1.0)):
        batch = box[0] + (box[1] - box[0]) * images.new_full((size, *images.shape[1:]), share)
        with suppress(Exception):
            _called(model, batch.to(images), dtype)
            return True
    return False


def fails_on_some(shape: tuple[int, ...], error: Exception) -> str:
    """What to say of a model that raised `error`, where `takes_others`."""
    return (
        f"The model fails on some images of shape {shape}, and takes others of the same shape: {_line(error)}. Let its "
        "forward give logits for every image in range, black, white and random ones too."
    )


def accepted_size(model: nn.Module, images: Tensor) -> int:
    """A batch size that `model` takes, of images like `images` (b, *shape), where b may be 0; 0 if none is found."""
    for size in _SIZES:
        for dtype in precisions(model, images.dtype):
            with suppress(Exception):
                _called(model, images.new_zeros(size, *images.shape[1:]), dtype)
                return size
    return 0


def _examined(
    model: nn.Module, conduct: Conduct, batch: Tensor, out: Tensor, images: Tensor, box: tuple[Any, Any]
) -> Conduct:
    """The rest of `examine`, after the model has accepted a batch."""
    size, dtype = len(batch), conduct.dtype
    first_half = batch[: size // 2] if size > 1 else batch
    single = _of_batch(model, batch[:1], conduct)
    # What takes no single image may take batches of this size alone, as a program that was exported with it does.
    several = single is not None or _of_batch(model, batch[:_OTHER], conduct) is not None
    conduct = replace(conduct, alone=single is not None, rows=conduct.rows if several else size)
    # The same images at other positions, together with other images.
    other = torch.cat([_random(images, box, size - len(first_half), "second"), first_half])
    answer = _called(model, other, dtype)
    _check_same_classes(out, answer)
    rows = torch.cat([out, answer])
    conduct = replace(conduct, probabilities=are_probabilities(rows, out.dtype))
    before, after = out[: len(first_half)], answer[size - len(first_half) :]
    again = _called(model, batch, dtype)
    # The first call of a compiled or scripted model may round otherwise: two later ones are held against each other.
    if not (_repeats(out, again) or _repeats(again, _called(model, batch, dtype))):
        raise ModelError(
            "The model is random, or keeps something from call to call: twice the same images give different outputs. "
            "Switch its noise or dropout off in eval mode (F.dropout needs training=self.training), or draw the noise "
            "once and keep it; change buffers and counters in training mode alone (if self.training)."
        )
    if _differ(before, after):
        raise ModelError(
            "The model's output for an image depends on the other images of its batch: it uses statistics of the batch "
            "in eval mode (or a scale of it, as dynamic quantisation does). Give its normalisation layers running "
            "statistics (track_running_stats=True, and training=self.training in F.batch_norm), or normalise each "
            "image by itself."
        )
    # A model that rounds inside, as quantised ones do, may come to another step for single rows: then all are asked.
    differs = single is not None and _differ(out[:1], single, _COMPANY)
    if differs and _differ(out, torch.cat([_called(model, image[None], dtype) for image in batch]), _COMPANY):
        raise ModelError(
            f"The model's output for an image depends on how many images are in its batch: among {size} it gives other "
            "logits than alone. Look for len(x), x.shape[0], x.numel() or a mean over the whole batch in its forward."
        )
    # Few rows at a time: what a backward pass keeps of 8 photos can be more memory than the whole search of one takes.
    fewest = 1 if single is not None else size if conduct.rows else _OTHER
    return replace(conduct, blind=_is_blind(model, batch, fewest, conduct, out))


def _of_batch(model: nn.Module, batch: Tensor, conduct: Conduct) -> Tensor | None:
    """The logits of a batch of another size; None where the model does not give a row per image of it."""
    try:
        out = _called(model, batch, conduct.dtype)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return None
    return out if isinstance(out, Tensor) and out.shape == (len(batch), conduct.classes) else None


def _is_blind(model: nn.Module, batch: Tensor, rows: int, conduct: Conduct, out: Tensor | None = None) -> bool:
    """Whether the gradient is zero at all images of a batch, of which the model is fed so many `rows` at a time.

    out: (B, C), what the model gives for the batch without gradients. Raises: `ModelError` where it gives other logits
    with them.
    """
    told: list[Tensor] = []
    blind, differs = True, False
    for index in torch.arange(len(batch)).split(rows):
        if len(index) < rows:
            break
        with_gradients, zero = _differentiated(model, batch[index], conduct)
        told.append(with_gradients)
        blind = blind and zero
        differs = differs or (out is not None and _differ(out[index], with_gradients, _COMPANY))
        if not (blind or differs):
            return False
    # A single row may have come to another step of a model that rounds inside.
    if differs and out is not None and _differ(out[: len(told) * rows], torch.cat(told), _COMPANY):
        raise ModelError(
            "The model gives other logits for the same images where gradients are computed than under "
            "torch.no_grad(), so what a search follows is not what is judged. Look for torch.is_grad_enabled() or "
            "requires_grad in its forward, and let both ways give the same logits."
        )
    return blind


def are_probabilities(outputs: Tensor, dtype: torch.dtype) -> bool:
    """Whether each row of `outputs` (n, C), computed in `dtype`, lies in [0, 1] and sums to 1."""
    outputs = outputs.double()
    inside = ((outputs >= 0) & (outputs <= 1 + 1e-6)).all(1)
    return len(outputs) > 0 and bool((inside & ((outputs.sum(1) - 1).abs() <= _SUM.get(dtype, 1e-3))).all())


def check_searchable(model: nn.Module, shape: tuple[int, ...], sizes: Sequence[int] = (ROWS,)) -> None:
    """Raise `ModelError`, as `examine` does, unless `model` can be searched with images of `shape` in [0, 1].

    A model whose gradient is zero at every image is refused, too, unless the gradient appears with other weights: a
    model that is not trained yet may start with zeros.
    """
    check_weights(model)
    device = device_of(model)
    with torch.inference_mode(False), evaluating(model):
        images = torch.zeros(0, *shape, device=device)
        conduct = examine(model, images, (0.0, 1.0), sizes)
        if conduct.blind and not _revived(model, conduct, images):
            raise ModelError(
                f"The gradient of the logits is zero at all {conduct.rows or sizes[0]} images that were tried, so "
                "nothing can be searched. Look for rounding, thresholds, argmax, sign or .detach() in the "
                "forward, or a saturated softmax or sigmoid at its end (return the logits instead)."
            )


def _revived(model: nn.Module, conduct: Conduct, images: Tensor) -> bool:
    """Whether a copy of the model with slightly changed weights has a gradient."""
    try:
        other = copy.deepcopy(model)
    except Exception:
        return True
    random = torch.Generator().manual_seed(randomness.torch_seed(0, "revive"))
    moved = False
    with torch.no_grad():
        for weight in other.parameters():
            if weight.is_floating_point():
                weight.add_(0.1 * torch.randn(weight.shape, generator=random).to(weight))
                moved = True
    batch = _random(images, (0.0, 1.0), conduct.rows or ROWS, "revive")
    return moved and not _is_blind(other, batch, conduct.rows or (1 if conduct.alone else _OTHER), conduct)


def _random(like: Tensor, box: tuple[Any, Any], count: int, purpose: str) -> Tensor:
    """Random images (count, *shape) in the box, with the dtype and device of `like`."""
    random = torch.Generator().manual_seed(randomness.torch_seed(0, "examine", purpose))
    unit = torch.rand(count, *like.shape[1:], generator=random, dtype=torch.float64).to(like)
    return (box[0] + (box[1] - box[0]) * unit).to(like)


def precisions(model: nn.Module, dtype: torch.dtype) -> list[torch.dtype]:
    """The dtypes that `model` may take inputs of `dtype` in: their own, of floats then those of its weights."""
    if not dtype.is_floating_point:
        return [dtype]
    weights = (w.dtype for w in [*model.parameters(), *model.buffers()] if w.is_floating_point())
    return list(dict.fromkeys([dtype, *weights]))


def _called(model: nn.Module, batch: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.no_grad():
        out = model(batch.to(dtype, copy=True))
    # A copy, for a model may write its next output to the same memory, as compiled ones do that replay a graph.
    return out.clone() if isinstance(out, Tensor) else out


def classes_in(out: Any, size: int) -> int:
    """The number of classes of an output for `size` images. Raises: `ModelError` unless it is (size, classes)."""
    if not isinstance(out, Tensor):
        which = "the logits out of it"
        if "logits" in _keys(out):
            which = "output['logits']" if isinstance(out, dict) else "output.logits"
        elif isinstance(out, (tuple, list)):
            which = "output[0]"
        raise ModelError(
            f"The model returns a {type(out).__name__}; needed is one tensor of logits (batch, classes): wrap the "
            f"model in a module that returns {which}."
        )
    if out.is_complex():
        raise ModelError(
            f"The model gives complex numbers ({out.dtype}), of which none is the largest: return real logits, such as "
            "output.abs() or output.real."
        )
    if out.shape in ((size, 1), (size,)):
        raise ModelError(
            f"The model gives one logit per image, {tuple(out.shape)} for {size}; needed is one per class, at "
            "least two. Wrap it: `z = model(x).view(-1, 1); return torch.cat([torch.zeros_like(z), z], 1)`, "
            "with class 1 where z > 0 (for a probability p, return torch.cat([1 - p, p], 1))."
        )
    if out.ndim != 2 or len(out) != size or out.shape[1] == 0:
        raise ModelError(
            f"The model gave {tuple(out.shape)} for a batch of {size}; needed is one row of logits per input: "
            "wrap the model so that it returns (batch, classes)."
        )
    return out.shape[1]


def _keys(out: Any) -> list[str]:
    names = out if isinstance(out, dict) else getattr(out, "_fields", None) or getattr(out, "__dict__", {})
    return [str(name) for name in names]


def _differentiated(model: nn.Module, batch: Tensor, conduct: Conduct) -> tuple[Tensor, bool]:
    """What the model gives for a batch with gradients, (B, C), and whether these are zero everywhere.

    The gradient is that of the difference of each row's two largest logits.
    """
    with torch.enable_grad():
        leaf = batch.detach().clone().requires_grad_()
        try:
            out, logits = logits_behind(model, leaf.to(conduct.dtype, copy=True))
        except Exception as e:
            if is_out_of_memory(e):
                raise
            raise ModelError(
                f"The model cannot be differentiated with respect to its input: {_line(e)}. A search follows the "
                "gradient of the logits: keep the whole forward in torch, without NumPy."
            ) from e
        logits = logits if conduct.probabilities else out
        if not logits.requires_grad:
            raise ModelError(
                "The model's output does not depend on its input for torch: its forward runs under torch.no_grad() or "
                "torch.inference_mode(), detaches, goes through NumPy, or rounds to integers. A search follows the "
                "gradient of the logits: remove that from the forward."
            )
        top = logits.topk(2, dim=1).values
        try:
            pull = partial(torch.autograd.grad, inputs=leaf, allow_unused=True)
            (gradient,) = pull((top[:, 0] - top[:, 1]).nan_to_num(0, 0, 0).sum())
        except Exception as e:
            if is_out_of_memory(e):
                raise
            raise ModelError(f"The gradient of the model's logits cannot be computed: {_line(e)}.") from e
    return out.detach(), gradient is None or bool((gradient == 0).all())


def _differ(one: Tensor, other: Tensor, times: float = 1.0) -> bool:
    """Whether at least half of the rows of two outputs (n, C) of the same images differ by more than so many `times`
    the rounding in other company, where a matrix product may add in another order.
    """
    small = _eps(one)
    same = _same(one, other, times * 1e-3, times * (64 if small < 1e-4 else 8) * small)
    return 2 * int((~same).sum()) >= max(1, len(one))


def _repeats(one: Tensor, other: Tensor) -> bool:
    """Whether all rows of two outputs (n, C) of the same batch are the same: nearly to the bit on a CPU, where nothing
    is added in an order of chance. What is added to all logits of a row counts, too.
    """
    share, eps = (0.0, 4 * _eps(one)) if one.device.type == "cpu" else (1e-5, 16 * _eps(one))
    if not _same(one, other, share, eps).all():
        return False
    one, other = one.double(), other.double()
    high, sizes = one.amax(1), one.abs()
    # The median's size, for a masked class may have a huge number.
    allowed = (share + eps) * (sizes.median(1).values + high.abs())
    return bool((((high - other.amax(1)).abs() <= allowed) | ~(high.isfinite() & other.amax(1).isfinite())).all())


def _eps(out: Tensor) -> float:
    return torch.finfo(out.dtype).eps if out.is_floating_point() else 0.0


def _same(one: Tensor, other: Tensor, share: float, eps: float) -> Tensor:
    """Which rows (n,) of two outputs (n, C) are equal up to a `share` of their differences, and `eps` of their size.

    Compared are the differences of a row's logits from its largest one, because a common offset or a masked class with
    a huge number would make the tolerance too large. Rows that hold a NaN, or whose largest logit is infinite, count as
    equal: nothing is said of such an image in any case.
    """
    _check_same_classes(one, other)
    one, other = one.double(), other.double()
    top = one.argmax(1, keepdim=True)
    high = one.gather(1, top)
    a, b = one - high, other - other.gather(1, top)
    allowed = share * a.abs() + eps * (one.abs() + high.abs())
    known = one.amax(1).isfinite() & other.amax(1).isfinite()
    return (((a - b).abs() <= allowed) | (a == b)).all(1) | ~known


def _check_same_classes(one: Tensor, other: Tensor) -> None:
    if one.shape[1:] != other.shape[1:]:
        raise ModelError(changed_classes(one.shape[-1], other.shape[-1]))


def changed_classes(before: int, now: int) -> str:
    """What to say of a model that gave logits of `before` classes, and gives those of `now` in another call."""
    return (
        f"The model's number of classes changes from call to call: it gave {before} logits for an image, then {now}. "
        "It must be the same in every call and for batches of every size."
    )


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
