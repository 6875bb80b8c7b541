"""What a search will hold in the device's memory, how much of it fits, and how the host's memory is reused."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from intriguing.basics.memory import available_memory
from intriguing.blind_spots.engine import width_of
from intriguing.blind_spots.graph import is_graphed
from intriguing.blind_spots.options import SearchOptions
from intriguing.errors import InputError
from intriguing.models.examination import Conduct

_ROWS_OF_STATE = 48
"""Vectors of the input's size that a slot needs at once: history, cuts, their copies while they are renewed."""
_COPIES = 4
"""Vectors of the input's size per search from the beginning to the end: image, best point, both as handed on."""
_BLOCK, _LEAST = 128, 32
"""Rows of a batch on a CPU, at most and at the least."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 32 * 2**20
"""Blocks above this always come from the system and go back to it; the value that glibc would go up to by itself."""


@contextmanager
def reused_heap() -> Iterator[None]:
    """Inside, glibc keeps up to 1 GB of freed blocks for the next tick.

    Every tick frees what the next one asks for; to give the pages back and fetch them anew costs about a tenth of a
    search's time. Other allocators are left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        yield
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, 2**30)
    try:
        yield
    finally:
        mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)


@dataclass(frozen=True)
class Plan:
    """What of a search is in memory at once."""

    images: int
    """Images of a call that are searched together; the others wait for their turn."""
    slots: int
    block: int
    """Rows that the model sees, at most."""
    least: int
    """Rows that the model sees, at the least, and a divisor of all their numbers."""


def blocks(slots: int, fixed: bool) -> tuple[int, int]:
    """The most and the fewest rows that the model sees. `fixed`: as a graph of a CUDA device has it, always all slots.

    Below 32 rows a CPU's matrix products round otherwise, so a batch has fewer only where 32 do not fit in memory.
    """
    if fixed:
        return slots, slots
    return (_BLOCK if slots >= _BLOCK else _LEAST), _LEAST


def plan(model: nn.Module, conduct: Conduct, images: Tensor, options: SearchOptions, tried: str) -> Plan:
    """The slots and images that fit the device's available memory: as many as asked for, or as many as can be.

    The model's part is what autograd keeps for one image, times the rows of a block. Apart from the slots, every image
    and wrong class to try has a row of its own from the beginning to the end. `tried`: one, some or all wrong classes.

    Raises `InputError` where not even one image fits.
    """
    fixed = is_graphed(images.device)
    budget = options.memory_fraction * available(images.device)
    one = images[0].numel() * images.element_size()
    kept = _kept(model, conduct, images[:1])
    tries = max(1, {"one": 1, "some": min(options.classes, conduct.classes - 1), "all": conduct.classes - 1}[tried])
    choices = list(_choices(options.slots, conduct.rows, fixed))

    def needed(count: int, choice: tuple[int, int, int]) -> float:
        slots, block, _ = choice
        state = width_of(count * tries, slots, fixed) * _ROWS_OF_STATE * one
        return _COPIES * count * tries * one + state + block * kept

    for choice in choices:
        if needed(len(images), choice) <= budget and (choice[2] == choices[0][2] or fixed):
            return Plan(len(images), *choice)
    # Images in turns: half of the memory for those that wait, where that leaves enough for the slots.
    for choice in choices:
        count = min(len(images), max(1, int(budget / 2 / (_COPIES * tries * one))))
        while count > 1 and needed(count, choice) > budget:
            count //= 2
        if needed(count, choice) <= budget and (count * tries >= choice[0] or choice is choices[-1]):
            return Plan(count, *choice)
    for choice in choices:
        if needed(1, choice) <= budget:
            return Plan(1, *choice)
    least = needed(1, choices[-1])
    raise InputError(
        f"The search of one image of {images[0].numel()} values needs about {least / 1e6:.3g} MB; the share of "
        f"{options.memory_fraction} of the device's available memory that may be used is {budget / 1e6:.3g} MB: use a "
        "device with more memory, a smaller model or smaller images."
    )


def _choices(slots: int, rows: int, fixed: bool) -> Iterator[tuple[int, int, int]]:
    """Slots, the most and the fewest rows of a batch: those asked for, then ever fewer."""
    if rows:
        while slots >= 1:
            yield slots, rows, rows
            slots //= 2
        return
    yield slots, *blocks(slots, fixed)
    size = 1 << (max(1, slots - 1).bit_length() - 1)
    while size >= 1:
        if size < slots:
            most, least = blocks(size, fixed)
            yield (size, most, least) if size >= least else (size, size, size)
        size //= 2


def available(device: torch.device) -> float:
    """Bytes of the device that this process can still get: free, or held by torch for its next tensors."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + held)
    return available_memory()


def _kept(model: nn.Module, conduct: Conduct, image: Tensor) -> float:
    """Bytes that autograd keeps between the passes of one image, and as much again for its own work.

    Weights, which it keeps as well, or views of them, are there once whatever the number of images.
    """
    counted = {w.untyped_storage().data_ptr() for w in (*model.parameters(), *model.buffers())}
    total = 0

    def pack(value: Tensor) -> Tensor:
        nonlocal total
        storage = value.untyped_storage()
        if storage.data_ptr() not in counted:
            counted.add(storage.data_ptr())
            total += storage.nbytes()
        return value

    rows = conduct.rows or (1 if conduct.alone else 2)
    batch = image.detach().nan_to_num(0.0).expand(rows, *image.shape[1:])
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        out = model(batch.to(conduct.dtype, copy=True).requires_grad_() * 1)
    del out
    return 2 * total / rows
