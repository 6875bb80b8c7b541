"""What a search will hold in the device's memory, and a refusal of what cannot fit."""

import os

import torch
from torch import Tensor, nn

from intriguing.blind_spots.options import SearchOptions
from intriguing.errors import InputError

_ROWS_OF_STATE = 48
"""Vectors of the input's size that a slot needs at once: history, cuts, their copies while they are renewed."""


def check_memory(model: nn.Module, images: Tensor, options: SearchOptions, block: int) -> None:
    """Raise `InputError`, with the slots that would fit, when a search would not fit the device's free memory.

    The model's part is what autograd keeps for one image, times the rows of a block.
    """
    free = _free(images.device)
    state = _ROWS_OF_STATE * images[0].numel() * images.element_size()
    kept = _kept(model, images[:1])
    searches = len(images) * max(1, options.classes)
    rows = min(max(options.slots, block), -(-searches // block) * block)
    needed = rows * state + block * kept
    if needed > options.memory_fraction * free:
        fits = int(options.memory_fraction * free / (state + kept))
        advice = f"use slots={fits}" if fits else "no number of slots fits: use a device with more memory"
        raise InputError(
            f"{rows} slots of {images[0].numel()} values need about {needed / 1e9:.1f} GB and the device has "
            f"{free / 1e9:.1f} GB free, of which a share of {options.memory_fraction} may be used: {advice}."
        )


def _free(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return float("inf")


def _kept(model: nn.Module, image: Tensor) -> int:
    """Bytes that autograd keeps between the forward and the backward pass of one image."""
    total = 0

    def pack(value: Tensor) -> Tensor:
        nonlocal total
        total += value.numel() * value.element_size() if not isinstance(value, nn.Parameter) else 0
        return value

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        model(image.detach().nan_to_num(0.0).requires_grad_())
    return 2 * total
