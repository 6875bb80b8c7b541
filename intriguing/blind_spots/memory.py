"""Memory of a search: how much it needs, and how many rows fit on the device."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from intriguing.basics.process.memory import available_memory, is_out_of_memory
from intriguing.basics.torch_modes import without_compiler
from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.options import SearchOptions
from intriguing.blind_spots.solvers.loop import Layout
from intriguing.blind_spots.starts.race import CANDIDATES
from intriguing.errors import InputError
from intriguing.models.examination import Conduct
from intriguing.models.feeding.rows import PADDED, SINGLE, SMALL, Blocks, blocks_of, least_operations, operations_of_row

_STATE, _STEP = 24, 28
"""Vectors of the input's size: per slot, the state of a row (image, trial and best point, gradients, and 6 cuts or the
10 to 15 vectors of a quasi-Newton history); and per row that a step advances at a time, what the step needs besides."""
_COPIES = 8
"""Vectors of the input's size per row for the whole search: image and best point, each with one copy, and the four
vectors of a paused row."""
_OF_IMAGE, _OF_SLOT, _MASKS = 10, 6, 8
"""For each class: numbers per image, which its outputs take in the confirmation, and per slot, for logits and what is
made of them; and bytes per row for the whole search, of the masks of its goals and rivals and of their copies. Measured
with 5,000 and 20,000 classes and 8 to 600 images. Of a network with few classes they are next to nothing."""
_ENOUGH = {SMALL.most: 64, SINGLE.most: 16}
"""Number of slots by rows per call: where few rows are fed at once, more rows side by side make nothing faster, and a
row that waits can be dropped for what others have found."""


@dataclass(frozen=True)
class Plan:
    """How a search is done: what is in memory at the same time, and how the model is fed."""

    images: int
    """Images that are searched together; the others follow."""
    slots: int
    """Rows that are searched side by side."""
    blocks: Blocks
    """Rows per call of the model."""
    operations: float
    """Floating-point operations of the model's forward pass of one row, from which `blocks` follows."""
    slot_bytes: float
    """Memory of one slot; a step needs more for the rows that it advances."""
    row_bytes: float
    """Memory of one row in a call of the model, forward and backward."""
    needed: float
    """Memory of the whole search, in bytes."""
    budget: float
    """Memory that the search may plan with, in bytes."""
    fewer_slots: bool = False
    """Whether more slots do not fit."""
    fewer_rows: bool = False
    """Whether more rows per call do not fit, so that last digits may depend on what else is searched."""

    def __str__(self) -> str:
        most, least = self.blocks.most, self.blocks.least
        fed = "1 image" if most == 1 else f"{least} images" if most == least else f"{least} to {most} images"
        return (
            f"Up to {self.slots} searches side by side; the model gets {fed} at a time ({self.operations / 1e6:,.3g} "
            f"million operations each). Memory: {_megabytes(self.slot_bytes)} per search and "
            f"{_megabytes(self.row_bytes)} per image in the model, {_megabytes(self.needed)} in all of the "
            f"{_megabytes(self.budget)} that may be used."
        )


@dataclass(frozen=True)
class RowCost:
    """What one row costs the model."""

    operations: float
    """Floating-point operations of a forward pass."""
    bytes: float
    """Memory of a forward and backward pass: twice what autograd saves between them."""
    blocks: Blocks
    """The rows per call that the cost advises. Which fit in memory says the `Plan`."""

    @property
    def dear(self) -> bool:
        """Whether each row is fed alone, however much memory there is."""
        return self.blocks.most == 1


def plan(
    cost: RowCost, conduct: Conduct, images: Tensor, options: SearchOptions, tried: str, together: int = 1
) -> Plan:
    """The slots, images and rows per call that fit in the device's available memory, at most those asked for.

    The model needs the memory of a row, times the rows of a call. Besides the slots, each pair of an image and a wrong
    class to try has a row for the whole search. tried: `one`, `some` or `all` wrong classes. together: rows that an
    image may have at some time in any case.

    Raises: `InputError` if not even one image fits.
    """
    fixed = is_graphed(images.device)
    budget = options.memory_fraction * available(images.device)
    one = images[0].numel() * images.element_size()
    several = {"one": 1, "some": max(CANDIDATES, options.classes), "all": conduct.classes}
    tries = max(together, min(several[tried], conduct.classes - 1))
    number, classes = images.element_size(), conduct.classes
    of_image = tries * (_COPIES * one + _MASKS * classes) + _OF_IMAGE * number * classes
    of_slot = _STATE * one + _OF_SLOT * number * classes
    choices = list(_choices(options.slots, conduct.rows, cost.blocks, fixed))

    def needed(count: int, choice: tuple[int, Blocks]) -> float:
        slots, blocks = choice
        layout = Layout.of(slots, blocks, images[0].numel())
        width = layout.width(count * tries, fixed)
        moved = width if fixed else min(width, layout.piece)
        return count * of_image + width * of_slot + moved * _STEP * one + blocks.size(width) * cost.bytes

    def planned(count: int, choice: tuple[int, Blocks]) -> Plan:
        costs = (of_slot, cost.bytes, needed(count, choice), budget)
        fewer = choice[0] < choices[0][0], choice[1].least < choices[0][1].least
        return Plan(count, *choice, cost.operations, *costs, *fewer)

    for choice in choices:
        if needed(len(images), choice) <= budget and (choice[1].least == choices[0][1].least or fixed):
            return planned(len(images), choice)
    # Only a part of the images at a time: half of the memory for their rows, if that leaves enough for the slots.
    for choice in choices:
        count = min(len(images), max(1, int(budget / 2 / of_image)))
        while count > 1 and needed(count, choice) > budget:
            count //= 2
        if needed(count, choice) <= budget and (count * tries >= choice[0] or choice is choices[-1]):
            return planned(count, choice)
    for choice in choices:
        if needed(1, choice) <= budget:
            return planned(1, choice)
    least = needed(1, choices[-1])
    raise InputError(
        f"The search of one image of {images[0].numel()} values needs about {_megabytes(least)}; the share of "
        f"{options.memory_fraction} of the device's available memory that may be used is {_megabytes(budget)}: use a "
        "device with more memory, a smaller model or smaller images."
    )


def _choices(slots: int, rows: int, blocks: Blocks, fixed: bool) -> Iterator[tuple[int, Blocks]]:
    """Slots and rows per call: first as asked for, then fewer and fewer. rows: the only ones that the model takes.

    On a CPU `blocks` are what the cost of a row advises; on a CUDA device all rows in work are fed at once if they fit.
    """
    if not (rows or fixed):
        slots = min(slots, _ENOUGH.get(blocks.most, slots))
    for size in [slots, *(1 << k for k in reversed(range(slots.bit_length())) if 1 << k < slots)]:
        if rows:
            yield size, Blocks(rows, rows, rows)
        elif fixed:
            for share in (1, 2, 4, 8):
                yield size, Blocks(-(-size // share), 1)
        elif size < blocks.least and size < slots:
            yield size, Blocks(size, size, size)
        else:
            yield size, blocks if size >= blocks.most else Blocks(max(size, blocks.least), blocks.least, blocks.step)


def _megabytes(count: float) -> str:
    """A number of bytes as MB: two digits after the point below 10, none above."""
    return f"{count / 1e6:,.2f} MB" if count < 1e7 else f"{count / 1e6:,.0f} MB"


def available(device: torch.device) -> float:
    """Bytes that this process can still allocate on the device: free ones, and those in torch's cache."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + held)
    return available_memory()


@without_compiler
class _Kept(TorchDispatchMode):
    """Counts the bytes of tensors, of each storage once and of those of the model's weights never: these are there
    once for all rows. As a context it counts what all operators give.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.bytes = 0
        self._known = {w.untyped_storage().data_ptr() for w in (*model.parameters(), *model.buffers())}

    def count(self, value: Tensor) -> Tensor:
        """Count a tensor, and give it back."""
        if value.layout is not torch.strided:  # sparse weights, made from others in each pass
            self.bytes += value.numel() * value.element_size()
            return value
        storage = value.untyped_storage()
        if storage.data_ptr() not in self._known:
            self._known.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return value

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operator, and count what it gives."""
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(value, Tensor):
                self.count(value)
        return out


def cost_of(model: nn.Module, conduct: Conduct, image: Tensor) -> RowCost:
    """What a row like `image` (1, *shape) costs the model, by one forward pass.

    Weights and views of them need no memory of a row.
    """
    kept = _Kept(model)
    rows = conduct.rows or (1 if conduct.alone else 2)
    batch = image.detach().nan_to_num(0.0).expand(rows, *image.shape[1:])

    def operations_of(hooks: AbstractContextManager[Any]) -> float:
        with hooks:
            return operations_of_row(model, batch.to(conduct.dtype, copy=True))

    try:
        operations = operations_of(torch.autograd.graph.saved_tensors_hooks(kept.count, lambda value: value))
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        # torch.func.grad takes no such hooks: a model that uses it keeps at most all that its operators give.
        operations = operations_of(kept)
    blocks = blocks_of(operations, least_operations(model)) if conduct.alone else PADDED
    return RowCost(operations, 2 * kept.bytes / rows, blocks)
