"""What a person may hand to a library call as images, and what to write where it is something else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from intriguing.basics.masked import check_unmasked
from intriguing.basics.process.memory import is_out_of_memory
from intriguing.errors import InputError, IntriguingError, ModelError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NO_MINIMUM = {torch.uint16, torch.uint32, torch.uint64}
"""Types that torch computes nothing with but conversions."""


def as_tensor(given: Any, name: str) -> Tensor:
    """`given`, a tensor or a NumPy array, as a tensor that shares no read-only memory.

    Raises `InputError` for anything else, and for an array of a type that torch has not (text, complex, long double).
    """
    check_unmasked(given, name)
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "fiub":
            raise InputError(f"{name} is an array of type {given.dtype}; it must be of numbers.")
        if given.dtype.kind == "f" and given.dtype.itemsize > 8:
            described = f"{name} is {given.shape} {given.dtype}, a type that torch has not"
            raise InputError(f'{described}: write {name}.astype("float64").')
        native = given.astype(given.dtype.newbyteorder("="), copy=not given.flags.writeable)
        return torch.from_numpy(np.ascontiguousarray(native))
    if not isinstance(given, Tensor):
        raise InputError(f"{name} is a {type(given).__name__}; it must be a tensor or a NumPy array (B, *shape).")
    return given


def as_rows(given: Any, name: str) -> Tensor:
    """`given` as a tensor: a tensor as it is, else what NumPy makes of it (a frame of pandas too, row by row).

    torch takes a frame for the list of its columns. Raises `InputError` for what is no array of numbers.
    """
    if isinstance(given, Tensor):
        return given
    check_unmasked(given, name)
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError(f"{name} cannot be read as an array: {error}") from None
    return as_tensor(array, name)


def float_batch(given: Any, name: str = "x") -> Tensor:
    """`given` as a tensor (B, *shape) of float32 or float64; raises `InputError` with the line to write otherwise."""
    x = as_tensor(given, name)
    described = f"{name} is {tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}"
    converted = f'{name}.astype("float32")' if isinstance(given, np.ndarray) else f"{name}.float()"
    if x.dtype.is_complex:
        raise InputError(f"{described}; it must be float32 or float64 in the box.")
    if not x.dtype.is_floating_point:
        is_bytes = x.dtype == torch.uint8 or looks_like_bytes(x)
        line = f"{name} / 255" if is_bytes else f"{converted}, scaled to the box"
        raise InputError(f"{described}; it must be float32 or float64 in the box: write {line}.")
    if x.dtype not in (torch.float32, torch.float64):
        raise InputError(f"{described}; it must be float32 or float64: write {converted}.")
    if x.ndim < 2:
        raise InputError(f"{described}; it must be a batch (B, *shape): write {name}[None] for a single input.")
    return x


def looks_like_bytes(x: Tensor) -> bool:
    """Whether `x` holds whole numbers from 0 to 255 of which some are above 1."""
    if not x.numel():
        return False
    if x.dtype in _NO_MINIMUM:
        x = x.to(torch.float64)
    low, high = (float(v) for v in torch.aminmax(x))
    return low >= 0 and 1 < high <= 255 and bool((x == x.round() if x.is_floating_point() else x == x).all())


@contextmanager
def feeding(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Inside, `model` is fed `x` (B, *shape); where that fails for a reason that shape and type tell, a `ModelError`
    says what to write in place of torch's own error.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        line = None if is_out_of_memory(error) or isinstance(error, IntriguingError) else advice(model, x)
        if line is None:
            raise
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelError(
            f"The model does not take inputs of shape {tuple(x.shape)} and type {x.dtype}: {line} ({first})"
        ) from error


def advice(model: nn.Module, x: Tensor) -> str | None:
    """What to write so that `model` takes `x` (B, *shape), where shape and type tell; None where they do not."""
    weights = next((p for p in model.parameters() if p.is_floating_point()), None)
    conv = next((m for m in model.modules() if isinstance(m, _CONVOLUTIONS)), None)
    if conv is not None:
        dims = next(n for n, kind in enumerate(_CONVOLUTIONS, 1) if isinstance(conv, kind))
        channels = conv.in_channels
        if x.ndim == dims + 1:
            return _missing_dimension(x, dims, channels)
        if x.ndim == dims + 2 and x.shape[-1] == channels != x.shape[1]:
            order = ", ".join(map(str, (0, dims + 1, *range(1, dims + 1))))
            return f"the channels ({channels}) are last and must come second: write x.permute({order})."
        if x.ndim == dims + 2 and x.shape[1] == 1 != channels:
            return f"it has 1 channel, and the model takes {channels}: x.{_expanded(dims, channels)} copies it."
        if x.ndim == dims + 2 and x.shape[1] != channels:
            return f"it has {x.shape[1]} channels, and the model takes {channels}."
    if weights is not None and not x.is_floating_point():
        line = "x / 255" if x.dtype == torch.uint8 else "x.float()"
        return f"the model's weights are {weights.dtype}: write {line}."
    if weights is not None and x.dtype != weights.dtype:
        return f"the model's weights are {weights.dtype}: write x.to({weights.dtype})."
    return None


def _missing_dimension(x: Tensor, dims: int, channels: int) -> str:
    """What to write where a model takes (n, channels, *dims) and `x` has a dimension less (and may be padded)."""
    if x.shape[-1] == channels:
        line = f"x.permute({', '.join(map(str, (dims, *range(dims))))})[None]"
        return f"the batch dimension is missing, and the channels ({channels}) are last: write {line}."
    if channels == 1:
        return "the channel dimension is missing: write x[:, None]."
    return (
        f"a dimension is missing: write x[None] for a single input, x[:, None].{_expanded(dims, channels)} for inputs "
        "without channels."
    )


def _expanded(dims: int, channels: int) -> str:
    """The call that copies the one channel of (n, 1, *dims)."""
    return f"expand({', '.join(map(str, (-1, channels, *[-1] * dims)))})"
