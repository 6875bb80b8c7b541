"""The only place that imports torchvision.

A torchvision wheel for CUDA cannot be imported beside a CPU torch. Its Python code registers fake kernels for operators
that its binary, which was not loaded, should have defined ("operator torchvision::nms does not exist"). This module
defines the schemas of these operators first, so that the import succeeds. The operators themselves are not used.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TypeVar

_T = TypeVar("_T")

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []


@cache
def torchvision() -> ModuleType:
    """The module torchvision, imported on the first call, with any installed torch."""
    try:
        return import_module("torchvision")
    except RuntimeError as e:
        if "torchvision::" not in str(e):
            raise
    import sys

    import torch

    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    _libraries.append(library)  # its definitions exist as long as it does
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    return import_module("torchvision")


def with_torchvision(call: Callable[[], _T]) -> _T:
    """The result of `call`, code of the user's: called again where it imports torchvision and that fails as above."""
    try:
        return call()
    except RuntimeError as e:
        if "torchvision::" not in str(e):
            raise
    torchvision()
    return call()
