"""What is run: the spec that a user writes, the plan that it becomes, and the tasks that the plan is made of.

The names below are imported on first use: what reads a finished run needs none of what runs one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intriguing.sweep.runner import execute, prepare, run
    from intriguing.sweep.spec import Spec, load_spec, spec_names

_HOME = {
    "Spec": "intriguing.sweep.spec",
    "execute": "intriguing.sweep.runner",
    "load_spec": "intriguing.sweep.spec",
    "prepare": "intriguing.sweep.runner",
    "run": "intriguing.sweep.runner",
    "spec_names": "intriguing.sweep.spec",
}

__all__ = ["Spec", "execute", "load_spec", "prepare", "run", "spec_names"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
