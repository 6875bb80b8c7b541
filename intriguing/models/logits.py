"""The logits of a model that returns probabilities.

Probabilities saturate: in float32 they can be exactly 1 and 0, and then their gradient is zero. Their logarithms give
the same decision and do not saturate.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_SOFTMAX = (torch.softmax, torch.Tensor.softmax, torch.special.softmax, torch.nn.functional.softmax)


class _Softmaxes(TorchFunctionMode):
    """Stores the input and the output of every softmax that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func in _SOFTMAX:
            self.calls.append((args[0] if args else kwargs["input"], out))
        return out


def logits_behind(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The probabilities (B, C) that `model` returns for `images`, and logits (B, C) whose softmax they are.

    If the last operation is a softmax of torch called from Python, the logits are its exact inputs. Otherwise they are
    the logarithms of the probabilities, with the smallest normal number in place of 0.
    """
    with _Softmaxes() as softmaxes:
        out = model(images)
    for source, result in reversed(softmaxes.calls):
        if result is out and source.shape == out.shape:
            return out, source
    if not out.is_floating_point():
        return out, out
    wide = out if torch.finfo(out.dtype).bits >= 32 else out.float()
    return out, wide.clamp(min=torch.finfo(wide.dtype).tiny).log()


def floor_of(logits: Tensor) -> Tensor:
    """The logarithm that `logits_behind` gives for a probability of 0, in the precision of `logits`."""
    return logits.new_tensor(torch.finfo(logits.dtype).tiny).log()
