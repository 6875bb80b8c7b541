"""Where and how a torch model computes: its device, eval mode, and the number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn


def device_of(model: nn.Module) -> torch.device:
    """The device of the model's weights; the CPU for a model without weights."""
    weights = chain(model.parameters(), model.buffers())
    return next((weight.device for weight in weights), torch.device("cpu"))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, every module of `model` is in eval mode; afterwards, each has its own mode again.

    Exported programs and frozen scripts have no modes. They stay as they are; the modules around them change mode.
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


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside, torch computes with `count` threads on the CPU; afterwards, with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
