"""Memory of a search: how much it needs, how many rows fit on the device, and reuse of freed memory on the host."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from intriguing.basics.memory import available_memory
from intriguing.blind_spots.cuda_graph import is_graphed
from intriguing.blind_spots.loop import width_of
from intriguing.blind_spots.options import SearchOptions
from intriguing.errors import InputError
from intriguing.models.examination import Conduct

_ROWS_OF_STATE = 48
"""Vectors of the input's size per slot: history, cuts, and their copies while they change."""
_COPIES = 4
"""Vectors of the input's size per row for the whole search: image and best point, each with one copy."""
_BLOCK, _LEAST = 128, 32
"""Largest and smallest number of rows of a batch on a CPU."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 32 * 2**20
"""Blocks larger than this are returned to the system at once; it is the largest value that glibc sets by itself."""


@contextmanager
def reused_heap() -> Iterator[None]:
    """Inside, glibc keeps up to 1 GB of freed memory for reuse.

    Every step frees blocks of the same size as the next one allocates. Returning them to the system in between takes
    about a tenth of a search's time. With an allocator other than glibc's nothing changes.
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
    """How many images and rows are in memory at the same time."""

    images: int
    """Images that are searched together; the others follow."""
    slots: int
    block: int
    """Largest number of rows per call of the model."""
    least: int
    """Smallest number of rows per call; all other numbers are multiples of it."""


def blocks(slots: int, fixed: bool) -> tuple[int, int]:
    """The largest and the smallest number of rows per call of the model; fixed: all slots, as for a CUDA graph.

    With fewer than 32 rows a CPU rounds matrix products differently, so a batch has fewer only if 32 do not fit.
    """
    if fixed:
        return slots, slots
    return (_BLOCK if slots >= _BLOCK else _LEAST), _LEAST


def plan(model: nn.Module, conduct: Conduct, images: Tensor, options: SearchOptions, tried: str) -> Plan:
    """The slots and images that fit in the device's available memory, at most those asked for.

    The model needs what autograd saves for one image, times the rows of a block. Besides the slots, each pair of an
    image and a wrong class to try has a row for the whole search. tried: `one`, `some` or `all` wrong classes.

    Raises: `InputError` if not even one image fits.
    """
    fixed = is_graphed(images.device)
    budget = options.memory_fraction * available(images.device)
    one = images[0].numel() * images.element_size()
    saved = _saved_bytes(model, conduct, images[:1])
    tries = max(1, {"one": 1, "some": min(options.classes, conduct.classes - 1), "all": conduct.classes - 1}[tried])
    choices = list(_choices(options.slots, conduct.rows, fixed))

    def needed(count: int, choice: tuple[int, int, int]) -> float:
        slots, block, _ = choice
        state = width_of(count * tries, slots, fixed) * _ROWS_OF_STATE * one
        return _COPIES * count * tries * one + state + block * saved

    for choice in choices:
        if needed(len(images), choice) <= budget and (choice[2] == choices[0][2] or fixed):
            return Plan(len(images), *choice)
    # Only a part of the images at a time: half of the memory for their rows, if that leaves enough for the slots.
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
    """Slots, largest and smallest number of rows of a batch: first as asked for, then fewer and fewer."""
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
    """Bytes that this process can still allocate on the device: free ones, and those in torch's cache."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + held)
    return available_memory()


def _saved_bytes(model: nn.Module, conduct: Conduct, image: Tensor) -> float:
    """Bytes that a forward and a backward pass of one image need: twice what autograd saves between them.

    Weights and views of them do not count, because they are in memory once for all images.
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
