"""Do single units mean more than random directions? How small a change makes a network wrong?

See the README for a tour. Everything public is an attribute of this module; it is imported on first use, so that
`import intriguing` costs no torch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from intriguing import errors
from intriguing.basics.version import __version__

if TYPE_CHECKING:
    from intriguing.activations import collect_activations
    from intriguing.blind_spots import SearchOptions, SearchResult, minimal_distortion
    from intriguing.results import Run, open_run
    from intriguing.stability import operator_norm
    from intriguing.sweep import run
    from intriguing.transfer import amplify, gaussian_noise
    from intriguing.units import Directions, Moments, RotationTests, TopK, rotation_test

# MKL reads this at its first product. Then it rounds a row alike wherever the row lies in memory and whatever stands
# beside it, which a search needs to be independent of its company; it costs no time that can be measured.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

_HOME = {
    "Directions": "intriguing.units",
    "Moments": "intriguing.units",
    "RotationTests": "intriguing.units",
    "Run": "intriguing.results",
    "SearchOptions": "intriguing.blind_spots",
    "SearchResult": "intriguing.blind_spots",
    "TopK": "intriguing.units",
    "amplify": "intriguing.transfer",
    "collect_activations": "intriguing.activations",
    "gaussian_noise": "intriguing.transfer",
    "minimal_distortion": "intriguing.blind_spots",
    "open_run": "intriguing.results",
    "operator_norm": "intriguing.stability",
    "rotation_test": "intriguing.units",
    "run": "intriguing.sweep",
}

__all__ = [  # noqa: RUF022 (the order of the README)
    "run",
    "open_run",
    "Run",
    "minimal_distortion",
    "SearchOptions",
    "SearchResult",
    "amplify",
    "gaussian_noise",
    "collect_activations",
    "rotation_test",
    "RotationTests",
    "Directions",
    "TopK",
    "Moments",
    "operator_norm",
    "errors",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'intriguing' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
