"""The entry of a search: check the arguments, examine the model, plan the memory, search batch by batch."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from intriguing.basics.inputs import feeding, float_batch, looks_like_bytes
from intriguing.basics.masked import check_unmasked
from intriguing.basics.precision import Precision, full_precision
from intriguing.basics.process.heap import reused_heap
from intriguing.basics.torch_modes import Autocast, device_of, one_at_a_time, without_autocast
from intriguing.blind_spots import memory
from intriguing.blind_spots.arithmetic.box import Box
from intriguing.blind_spots.batch_search import EVERY, BatchSearch, Problem
from intriguing.blind_spots.grades import GRADES
from intriguing.blind_spots.network.evaluate import Evaluator, frozen
from intriguing.blind_spots.network.few_channels import quick_gradients
from intriguing.blind_spots.network.replay import replayed
from intriguing.blind_spots.network.rounding import fewest_alike
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.outcome.certified import Certifier
from intriguing.blind_spots.outcome.result import SearchResult
from intriguing.blind_spots.row_search import ALIGNED
from intriguing.blind_spots.solvers.linear import Affinity, affinity
from intriguing.blind_spots.starts.further_starts import TOGETHER, Pool
from intriguing.errors import InputError
from intriguing.models.examination import ROWS, Conduct, as_module, check_weights, examine
from intriguing.models.feeding.rows import PADDED, Blocks, Counted, Passes

log = logging.getLogger(__name__)
_UNUSED_LINEAR = "The model is linear and solved exactly: the starts are not used."
_UNUSED_DEAR = "Each row is fed alone, since it is dear: the starts are not used unless passes are asked for."


def minimal_distortion(
    model: nn.Module | Callable[[Tensor], Tensor],
    x: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | Sequence[int],
    targets: Tensor | np.ndarray | Sequence[int] | str | None = None,
    options: SearchOptions | None = None,
    *,
    starts: Tensor | np.ndarray | Callable[[], Tensor] | None = None,
) -> SearchResult:
    """The smallest change of each image of `x`, in L2 and inside the box, that makes `model` give another class.

        import torch, intriguing as ig
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
        images = torch.rand(4, 1, 28, 28)
        result = ig.minimal_distortion(model, images, labels=[0, 1, 2, 3])
        result.status, result.l2, result.adversarial

    model: from (B, *shape) to logits (B, C), a module (put in eval mode for the search and back after), an exported
    program or a function; for probabilities the logits before the softmax are searched. x: (B, *shape) float32 or
    float64 inside the box of the options (a rounding error of a millionth of the box is clipped). labels: (B,) true
    classes. targets: (B,) classes to reach; None for any wrong one; "every" to search every wrong class and keep the
    nearest. starts: (S, *shape) images of any classes, for example of the training set. Where the starts of an image
    lead into different basins (on robust networks), best and thorough also start at the nearest of these that the model
    puts into the class to reach; an image that is not finite or lies outside the box is left out. A function of no
    arguments that returns them is called only if they are of use, which they are not where the model is fed row by row,
    unless passes are asked for.

    Every result with the status `found` is confirmed: the model classifies that image alone, and in batches; on a CUDA
    device, where both change rounding, with TF32 and without, and in batches of several sizes. The search itself runs
    without TF32. An image that is not finite or lies outside the box gets the status `bad_input`. The function may be
    called inside torch.no_grad(), torch.inference_mode() and torch.autocast(), which holds for the model alone. Calls
    of several threads wait for one another, since a model's mode and torch's settings hold for all: use processes to
    search side by side.

    Raises: `InputError`, before any work, for arguments that do not fit (shapes, classes out of range, a target that is
    the label); `ModelError` for a model that cannot be searched (no (B, C) logits, no gradient, outputs that are random
    or depend on the rest of the batch).

    Source: arXiv:1312.6199, section 4.1, equation (1).
    """
    options = SearchOptions() if options is None else options
    if not isinstance(options, SearchOptions):
        raise InputError(f"options is {options!r}; it must be ig.SearchOptions(grade=..., ...).")
    with torch.inference_mode(False):
        module = as_module(model)
        check_weights(module)
        network = Autocast.of(module)
    with one_at_a_time(), torch.inference_mode(False), without_autocast():
        x = float_batch(x)
        images, classes, target_classes = _checked(network, x, labels, targets)
        box = Box.of(options.lower, options.upper, images)
        _check_scale(x, images, box, options)
        _check_grade(starts, options)
        others = starts if callable(starts) else _checked_starts(starts, images, box)
        if len(images) == 0:
            return SearchResult.none(x, classes)
        asked = _Asked(images, classes, target_classes, isinstance(targets, str), others, box, options)
        with feeding(network, images), frozen(network), reused_heap(), torch.no_grad():
            return _fitted(network, asked, x.device)


class _Asked(NamedTuple):
    """The arguments of a call, checked, on the device of the model."""

    images: Tensor
    labels: Tensor
    targets: Tensor | None
    every: bool
    """Whether every wrong class is a target."""
    starts: Tensor | Callable[[], Tensor] | None
    box: Box
    options: SearchOptions


class _Known(NamedTuple):
    """What the examination of a model says of the searches of it."""

    conduct: Conduct
    linear: Affinity | None
    """The model as a matrix, where it is linear and may be solved exactly."""
    tried: str
    """How many wrong classes of an image are tried: one, some or all."""
    cost: memory.RowCost


def _fitted(network: nn.Module, asked: _Asked, home: torch.device) -> SearchResult:
    """Search with a frozen network, as many images at a time as fit in memory; results are on the device `home`."""
    images, box, options = asked.images, asked.box, asked.options
    shape = tuple(images.shape[1:])
    bad = box.outside(images.flatten(1))
    seen = Passes()
    counted = Counted(network, seen)
    conduct, linear, tried, cost = _examined(counted, asked, images[~bad][: ROWS // 2])
    recipe = GRADES[options.grade].recipe
    used = linear is None and (not cost.dear or bool(options.passes or (recipe and recipe.passes)))
    # Images to start from are there before the memory that is left is shared out.
    ends = _loaded(asked.starts, images, box) if used else None
    several = recipe is not None and bool(recipe.further) and linear is None and not cost.dear
    plan = memory.plan(cost, conduct, images, options, tried, TOGETHER if several else 1)
    notes = _notes(conduct, plan, options, images, bad)
    if isinstance(asked.starts, Tensor) and not used:
        notes += (_UNUSED_LINEAR if linear is not None else _UNUSED_DEAR,)
    for line in notes:
        log.info(line)
    evaluator = Evaluator(network, shape, plan.blocks, conduct, seen, cost.dear)
    options = options.with_(slots=plan.slots)
    pool = None
    if ends is not None:
        with full_precision():
            pool = Pool(ends, evaluator.outputs(ends).argmax(1))
    certifier = Certifier.of(counted, images, box, options)
    parts = []
    with nullcontext() if cost.dear else quick_gradients(network):
        # Of a small network with room for all slots there is nothing to know, and a sweep of many tasks would say it
        # often.
        ordinary = plan.blocks == PADDED and not (plan.fewer_slots or plan.fewer_rows)
        if linear is None and not (cost.dear or plan.fewer_rows):
            # However many slots are asked for: each search of a network decides alike.
            evaluator = replayed(evaluator.in_blocks(cost.blocks), box, images.flatten(1))
        if linear is None and plan.blocks.least == PADDED.least:
            plan = _with_fewest_rows(plan, evaluator, asked, cost)
        log.log(logging.DEBUG if ordinary else logging.INFO, "%s", plan)
        problem = Problem(evaluator.in_blocks(plan.blocks), options, box, asked.every, linear, pool, certifier)
        for index in torch.arange(len(images), device=images.device).split(plan.images):
            target = asked.targets if asked.targets is None else asked.targets[index]
            batch = BatchSearch(problem, images[index], bad[index], asked.labels[index], target)
            parts.append(batch.result())
    result = _joined(parts, home, notes, plan, seen)
    return certifier.with_bounds(result, images, asked.labels, asked.targets) if certifier else result


def _examined(counted: Counted, asked: _Asked, few: Tensor) -> _Known:
    """What the model says of itself where it is fed `few` of the images, none of them bad. Raises: `ModelError`."""
    images, options, grade = asked.images, asked.options, GRADES[asked.options.grade]
    shape, caller = tuple(images.shape[1:]), Precision.now()
    with full_precision():
        sizes = [ROWS, PADDED.most, PADDED.least, options.slots, 1, len(images)]
        conduct = examine(counted, few, asked.box.shaped(images.shape[1:]), sizes)
        _check_classes(conduct.classes, asked.labels, asked.targets)
        linear = None
        if grade.exact and options.exact_linear == "auto" and conduct.dtype == images.dtype and not conduct.rows:
            probe = Evaluator(counted.model, shape, Blocks(ROWS, 1), conduct, counted.passes)
            linear = affinity(counted, shape, probe, few.flatten(1), caller)
        tried = "one"
        if asked.targets is None:
            tried = "all" if asked.every or linear is not None else "some" if grade.separate else "one"
        return _Known(conduct, linear, tried, memory.cost_of(counted, conduct, images[:1]))


def _with_fewest_rows(plan: memory.Plan, evaluator: Evaluator, asked: _Asked, cost: memory.RowCost) -> memory.Plan:
    """The plan, with batches padded to fewer rows where the network rounds these as it rounds full batches."""
    with full_precision():
        rows = fewest_alike(evaluator, asked.box, asked.images.flatten(1), cost.operations)
    return replace(plan, blocks=plan.blocks.finer(rows, cost.operations)) if rows < PADDED.least else plan


def _notes(conduct: Conduct, plan: memory.Plan, options: SearchOptions, images: Tensor, bad: Tensor) -> tuple[str, ...]:
    notes = []
    if bool(bad.any()):
        values = images[bad]
        values = values[values.isfinite()]
        reach = f" (values from {float(values.min()):.4g} to {float(values.max()):.4g})" if values.numel() else ""
        notes.append(
            f"{int(bad.sum())} of {len(images)} images are not finite or lie outside the box{reach}, and are not "
            "searched: for images of another scale give SearchOptions(lower=..., upper=...)."
        )
    if conduct.probabilities:
        notes.append(
            "The model's outputs are probabilities: the search follows the logits behind them; success is judged on "
            "the outputs as they are."
        )
    if conduct.dtype != images.dtype:
        name = str(conduct.dtype).removeprefix("torch.")
        notes.append(f"The model's weights are {name}: images are converted to it whenever the model is called.")
    if conduct.rows:
        notes.append(f"The model takes batches of {conduct.rows} only: every batch has so many rows.")
    if not conduct.alone:
        notes.append("The model does not take a single image: results are confirmed in a batch of copies.")
    if plan.fewer_slots:
        notes.append(f"{plan.slots} slots fit in the available memory; {options.slots} were asked for.")
    if plan.fewer_rows:
        rows = plan.blocks.most
        notes.append(f"Batches have {rows} rows for want of memory: results may differ in their last digits.")
    if plan.images < len(images):
        notes.append(f"{plan.images} of the {len(images)} images fit in memory at once: they are searched in turns.")
    return tuple(notes)


def _joined(
    parts: list[SearchResult], home: torch.device, notes: tuple[str, ...], plan: memory.Plan, seen: Passes
) -> SearchResult:
    """The results of all batches in one, on the device of the input."""
    columns: dict[str, Any] = {"status": [s for part in parts for s in part.status], "notes": notes}
    columns["reasons"] = [reason for part in parts for reason in part.reasons]
    columns |= {"plan": plan, "forward_rows": seen.forward, "backward_rows": seen.backward}
    for name in (f.name for f in fields(SearchResult) if f.name not in columns):
        columns[name] = torch.cat([getattr(part, name) for part in parts]).to(home)
    return SearchResult(**columns)


def _checked(
    model: nn.Module,
    x: Tensor,
    labels: Tensor | np.ndarray | Sequence[int],
    targets: Tensor | np.ndarray | Sequence[int] | str | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Images (B, *shape), labels (B,) and targets (B,) or None, on the model's device. Raises: `InputError`."""
    device = device_of(model) if any(True for _ in (*model.parameters(), *model.buffers())) else x.device
    classes = {}
    for name, argument in (("labels", labels), ("targets", targets)):
        if argument is None:
            continue
        if isinstance(argument, str):
            if name == "labels" or argument != EVERY:
                others = "" if name == "labels" else f", None or {EVERY!r}"
                raise InputError(f"{name} is {argument!r}; give (B,) classes{others}.")
            continue
        check_unmasked(argument, name)
        try:
            value = argument if isinstance(argument, Tensor) else torch.as_tensor(argument, device="cpu")
        except (ValueError, TypeError, RuntimeError) as error:
            kind = type(argument).__name__
            raise InputError(
                f"{name} is a {kind} that makes no tensor ({error}); it must be {len(x)} whole numbers, the places of "
                "the classes among the outputs (of names: [names.index(name) for name in ...])."
            ) from None
        other = value.is_floating_point() or value.is_complex() or value.dtype == torch.bool
        whole = not other or not value.numel()  # torch takes an empty list for float32
        if value.shape != (len(x),) or not whole:
            hint = _hint(value, x)
            raise InputError(
                f"{name} is {tuple(value.shape)} {value.dtype}; it must be {len(x)} whole numbers, one per row of x, "
                f"which is {tuple(x.shape)}.{hint}"
            )
        value = value.to(device, torch.int64, copy=True)
        if len(value) and int(value.min()) < 0:
            raise InputError(f"{name} holds {int(value.min())}; classes count from 0.")
        classes[name] = value
    if "targets" in classes and bool((classes["targets"] == classes["labels"]).any()):
        row = int((classes["targets"] == classes["labels"]).nonzero()[0, 0])
        raise InputError(
            f"The target of example {row} is its label, {int(classes['labels'][row])}; give a wrong class."
        )
    images = x.detach().to(device)
    return images.clone() if images.is_inference() else images, classes["labels"], classes.get("targets")


def _loaded(others: Tensor | Callable[[], Tensor] | None, images: Tensor, box: Box) -> Tensor | None:
    """The images (S, n) to start from, padded as rows of a search are; None without any."""
    flat = _checked_starts(others(), images, box) if callable(others) else others
    return None if flat is None else box.padded(flat, ALIGNED)[0]


def _checked_starts(starts: Tensor | np.ndarray | None, images: Tensor, box: Box) -> Tensor | None:
    """The images (S, n) to start from, on the device of the search; None without any. Raises: `InputError`."""
    if starts is None:
        return None
    given = float_batch(starts, "starts")
    if given.shape[1:] != images.shape[1:]:
        raise InputError(f"starts has the shape {tuple(given.shape)}; it must be (S, *{tuple(images.shape[1:])}).")
    flat = given.detach().to(images.device, images.dtype).flatten(1)
    flat = box.inside(flat[~box.outside(flat)])
    return flat if len(flat) else None


def _check_grade(starts: object, options: SearchOptions) -> None:
    if starts is not None and not GRADES[options.grade].starts:
        raise InputError(f"The grade {options.grade} takes no starts; best and thorough do.")


def _check_scale(x: Tensor, images: Tensor, box: Box, options: SearchOptions) -> None:
    """Raise `InputError` where every image lies outside the box [0, 1] because it holds bytes."""
    unit = isinstance(options.upper, (int, float)) and options.upper == 1
    if unit and len(x) and bool(box.outside(images.flatten(1)).all()) and looks_like_bytes(x):
        raise InputError(f"x runs from {float(x.min()):g} to {float(x.max()):g}, the box from 0 to 1: write x / 255.")


def _hint(value: Tensor, x: Tensor) -> str:
    """What makes classes (B,) of what was given for them, where that is plain to see. x: (B, ...)"""
    count = len(x)
    if value.numel() == 1 and count == 1:
        return " For a single class write [label]."
    if value.numel() == 1:
        single = "" if x.ndim > 3 else " For a single image write x[None]."
        return f"{single} For one class for all of them write torch.full((len(x),), {value.item():.0f})."
    if value.ndim == 2 and len(value) == count and value.shape[1] > 1:
        return " Of scores, or rows of zeros with a one, .argmax(1) makes them."
    if value.shape == (count, 1):
        return " Write .flatten()."
    return " Where they are whole, write .long()." if value.shape == (count,) and value.is_floating_point() else ""


def _check_classes(count: int, labels: Tensor, target_classes: Tensor | None) -> None:
    for name, value in (("labels", labels), ("targets", target_classes)):
        if value is not None and int(value.max()) >= count:
            raise InputError(
                f"{name} holds {int(value.max())}, but the model gives {count} classes (0 to {count - 1})."
            )
