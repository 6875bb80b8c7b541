"""The one door to torchvision.

A torchvision wheel built for CUDA does not import beside a CPU torch: its Python code registers fake kernels for
operators that its binary, which was not loaded, should have defined ("operator torchvision::nms does not exist").
Defining the schemas of those operators first lets the import pass. Nothing here uses the operators themselves.
"""

from functools import cache
from importlib import import_module
from types import ModuleType

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []


@cache
def torchvision() -> ModuleType:
    """The module torchvision, imported on the first call, beside whatever torch is installed."""
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
    _libraries.append(library)  # its definitions last as long as it does
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    return import_module("torchvision")
