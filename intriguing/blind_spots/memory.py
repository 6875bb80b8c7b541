"""What a search will hold in the device's memory, a refusal of what cannot fit, and how the host's memory is reused."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from intriguing.blind_spots.options import SearchOptions
from intriguing.errors import InputError

_ROWS_OF_STATE = 48
"""Vectors of the input's size that a slot needs at once: history, cuts, their copies while they are renewed."""
_COPIES = 4
"""Vectors of the input's size per search from the beginning to the end: image, best point, both as handed on."""
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


def check_memory(model: nn.Module, images: Tensor, options: SearchOptions, block: int, tried: str) -> None:
    """Raise `InputError`, with what would fit, when a search would not fit the device's free memory.

    The model's part is what autograd keeps for one image, times the rows of a block. Apart from the slots, every image
    and wrong class to try has a row of its own from the beginning to the end. `tried`: one, some or all wrong classes.
    """
    budget = options.memory_fraction * _free(images.device)
    one = images[0].numel() * images.element_size()
    kept, classes = _probed(model, images[:1])
    tries = {"one": 1, "some": min(options.classes, classes - 1), "all": classes - 1}[tried]
    searches = len(images) * max(1, tries)
    waiting = _COPIES * searches * one
    slot = _ROWS_OF_STATE * one
    rows = min(max(options.slots, block), -(-searches // block) * block)
    needed = waiting + rows * slot + block * kept
    if needed <= budget:
        return
    fits = int((budget - waiting) / (slot + kept))
    alone = int((budget - slot - kept) / (_COPIES * max(1, tries) * one))
    if fits > 0:
        advice = f"use slots={fits}"
    elif 0 < alone < len(images):
        advice = f"search at most {max(1, alone // 2)} images in one call"
    else:
        advice = "no number of slots fits: use a device with more memory"
    raise InputError(
        f"{searches} searches of {images[0].numel()} values, {rows} at once, need about {needed / 1e9:.1f} GB; the "
        f"share of {options.memory_fraction} of the device's free memory that may be used is {budget / 1e9:.1f} GB: "
        f"{advice}."
    )


def _free(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return float("inf")


def _probed(model: nn.Module, image: Tensor) -> tuple[int, int]:
    """Bytes that autograd keeps between the forward and the backward pass of one image, and the number of classes."""
    total = 0

    def pack(value: Tensor) -> Tensor:
        nonlocal total
        total += value.numel() * value.element_size() if not isinstance(value, nn.Parameter) else 0
        return value

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        logits = model(image.detach().nan_to_num(0.0).requires_grad_())
    classes = logits.shape[-1] if isinstance(logits, Tensor) and logits.ndim else 1
    return 2 * total, classes
