"""The only place that imports torchvision, and what lets any code import it beside any torch.

A torchvision wheel for CUDA cannot be imported beside a CPU torch. Its Python code registers fake kernels for operators
that its binary, which was not loaded, should have defined ("operator torchvision::nms does not exist"). Where an import
fails so, here or in code of the user's (a module, a function, a model's forward pass), the schemas of these operators
are defined, and it is made again. The operators themselves are not used.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

_NAME = "torchvision"
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []


def torchvision() -> ModuleType:
    """The module torchvision, with any installed torch."""
    return import_module(_NAME)


def needs_mending() -> bool:
    """Whether torchvision, where it is installed, cannot be imported by itself beside this torch."""
    try:
        torchvision()
    except ImportError:
        return False
    return bool(_libraries)


class _Loader(SourceFileLoader):
    """Runs the package's code, and again where it misses operators."""

    def exec_module(self, module: ModuleType) -> None:
        try:
            super().exec_module(module)
        except RuntimeError as e:
            if f"{_NAME}::" not in str(e):
                raise
        else:
            return
        for name in [n for n in sys.modules if n.startswith(f"{_NAME}.")]:
            del sys.modules[name]
        _define()
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds torchvision where Python does, and gives it the loader above."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _NAME else None
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def _define() -> None:
    """Define the schemas of the operators that are missing."""
    import torch

    library = torch.library.Library(_NAME, "DEF")
    _libraries.append(library)  # its definitions exist as long as it does
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)


sys.meta_path.insert(0, _Finder())
