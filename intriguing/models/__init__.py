"""Models: the paper's networks, torchvision's and a user's own. They are built, trained, stored and prepared for
probing.

Names are imported on first use, so that listing architectures and hashing a user's source do not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intriguing.models.build import build_model
    from intriguing.models.examination import check_searchable
    from intriguing.models.options import GENERAL, TrainOptions
    from intriguing.models.probing import (
        check_model,
        classes_of,
        error_rate,
        is_classifier,
        parameter_count,
        predict,
        probe,
    )
    from intriguing.models.registry import known_models, source_hash
    from intriguing.models.training import TrainingReport, resolved, train_model
    from intriguing.models.weights import load_weights, save_weights, weights_hash

_HOME = {
    "GENERAL": "options",
    "TrainOptions": "options",
    "TrainingReport": "training",
    "build_model": "build",
    "check_model": "probing",
    "classes_of": "probing",
    "check_searchable": "examination",
    "error_rate": "probing",
    "is_classifier": "probing",
    "known_models": "registry",
    "load_weights": "weights",
    "parameter_count": "probing",
    "predict": "probing",
    "probe": "probing",
    "resolved": "training",
    "save_weights": "weights",
    "source_hash": "registry",
    "train_model": "training",
    "weights_hash": "weights",
}

__all__ = [
    "GENERAL",
    "TrainOptions",
    "TrainingReport",
    "build_model",
    "check_model",
    "check_searchable",
    "classes_of",
    "error_rate",
    "is_classifier",
    "known_models",
    "load_weights",
    "parameter_count",
    "predict",
    "probe",
    "resolved",
    "save_weights",
    "source_hash",
    "train_model",
    "weights_hash",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
