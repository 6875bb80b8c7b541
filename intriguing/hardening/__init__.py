"""Hardening: training on what the searches find, with a pool of changes per layer (section 4.1's regularisation).

`options` costs no torch; the names below are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intriguing.hardening.cutting import INPUT, Cut
    from intriguing.hardening.measures import Measures, measure
    from intriguing.hardening.options import HardeningOptions
    from intriguing.hardening.training import Hardening

_HOME = {
    "Cut": "intriguing.hardening.cutting",
    "Hardening": "intriguing.hardening.training",
    "HardeningOptions": "intriguing.hardening.options",
    "INPUT": "intriguing.hardening.options",
    "Measures": "intriguing.hardening.measures",
    "measure": "intriguing.hardening.measures",
}

__all__ = ["INPUT", "Cut", "Hardening", "HardeningOptions", "Measures", "measure"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
