"""How torch rounds float32 products: in full, or to fewer bits, as the user's settings allow (TF32 on a GPU); and how a
CPU takes the smallest numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

_FULL = "ieee"
_PRODUCT_ERRORS = {"tf32": 2.0**-10, "bf16": 2.0**-7}
"""The relative error of a product of two rounded float32 numbers: twice the unit roundoff of the type."""

_SMALLEST = 5e-324
"""A denormal number."""


def _backends() -> dict[str, list[Any]]:
    """What holds the setting of matrix products, convolutions and recurrent layers, per kind of device."""
    cpu, cudnn = torch.backends.mkldnn, torch.backends.cudnn
    return {
        "cuda": [torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn],  # type: ignore[attr-defined]
        "cpu": [cpu.matmul, cpu.conv, cpu.rnn],  # type: ignore[attr-defined]
    }


@dataclass(frozen=True)
class Precision:
    """A setting for all kinds of devices."""

    names: tuple[tuple[str, ...], ...]
    """torch's names, per kind of device: of matrix products, convolutions, recurrent layers."""

    @classmethod
    def now(cls) -> "Precision":
        """The setting that holds at present: that of the user, outside of `used`."""
        return cls(tuple(tuple(b.fp32_precision for b in kinds) for kinds in _backends().values()))

    @classmethod
    def all(cls, name: str) -> "Precision":
        """The same name everywhere."""
        return cls(tuple((name,) * len(kinds) for kinds in _backends().values()))

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside, torch computes so; afterwards, as before."""
        before = Precision.now()
        try:
            self.set()
            yield
        finally:
            before.set()

    def set(self) -> None:
        """Have torch compute so from now on."""
        for kinds, names in zip(_backends().values(), self.names, strict=True):
            for backend, name in zip(kinds, names, strict=True):
                backend.fp32_precision = name

    def on(self, device: torch.device) -> tuple[str, ...]:
        """The names of the products on a device, where no name means in full."""
        kinds = list(_backends())
        names = self.names[kinds.index(device.type)] if device.type in kinds else ()
        return tuple(_FULL if name == "none" else name for name in names)

    def product_errors(self, device: torch.device) -> tuple[float, float]:
        """The relative errors of float32 products on a device, in matrix products and in convolutions: 0 in full."""
        errors = [_PRODUCT_ERRORS.get(name, 0.0) for name in self.on(device)]
        return (errors[0], errors[1]) if errors else (0.0, 0.0)


FULL = Precision.all(_FULL)
USUAL = Precision((("none", "tf32", "tf32"), ("none",) * 3))
"""What torch begins with."""


def full_precision() -> Any:
    """A context: inside, float32 products are rounded in full. By default torch uses TF32 in CUDA convolutions; its
    rounding is larger than small margins.
    """
    return FULL.used()


def takes_denormals_for_zero() -> bool:
    """Whether this thread takes denormal numbers for zero."""
    return _SMALLEST == 0.0  # where it does, this number is


@contextmanager
def without_denormals() -> Iterator[None]:
    """Inside, a CPU takes denormal numbers (below 1.2e-38 in float32) for zero; afterwards, as before.

    Many processors compute with them fifty times as slowly. Weights of 1e-35, as weight decay leaves them at pixels
    that are always black, give such numbers in a gradient and in all that is computed with it, and add nothing there.
    With several threads torch may do so in this one alone.
    """
    before = takes_denormals_for_zero()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def distinct(device: torch.device, dtype: torch.dtype) -> tuple[Precision, ...]:
    """The settings that can round a network of this dtype in different ways on a device: first that of the user.

    On a CUDA device these are full precision and TF32, and what the user mixes of them.
    """
    caller = Precision.now()
    if dtype != torch.float32:
        return (caller,)
    others = [FULL, Precision((("tf32",) * 3, *FULL.names[1:]))] if device.type == "cuda" else [FULL]
    found = {caller.on(device): caller}
    for other in others:
        found.setdefault(other.on(device), other)
    return tuple(found.values())
