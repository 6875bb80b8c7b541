"""Models: the paper's networks, torchvision's and a user's own. They are built, trained and stored, examined before
they are searched, and fed.

The named architectures (`registry`, `build`) and their training are modules here; `files` has their weights,
`examination` tries whether a model can be searched, `feeding` gives it its inputs in batches. Names are imported on
first use, so that listing architectures and hashing a user's source do not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intriguing.models.build import build_model
    from intriguing.models.examination import check_searchable
    from intriguing.models.feeding.probing import (
        check_model,
        classes_of,
        error_rate,
        is_classifier,
        parameter_count,
        predict,
        probe,
    )
    from intriguing.models.files.weights import load_weights, save_weights, weights_hash
    from intriguing.models.options import GENERAL, TrainOptions
    from intriguing.models.registry import known_models, source_hash
    from intriguing.models.training import TrainingReport, resolved, train_model

_HOME = {
    "GENERAL": "intriguing.models.options",
    "TrainOptions": "intriguing.models.options",
    "TrainingReport": "intriguing.models.training",
    "build_model": "intriguing.models.build",
    "check_model": "intriguing.models.feeding.probing",
    "classes_of": "intriguing.models.feeding.probing",
    "check_searchable": "intriguing.models.examination",
    "error_rate": "intriguing.models.feeding.probing",
    "is_classifier": "intriguing.models.feeding.probing",
    "known_models": "intriguing.models.registry",
    "load_weights": "intriguing.models.files.weights",
    "parameter_count": "intriguing.models.feeding.probing",
    "predict": "intriguing.models.feeding.probing",
    "probe": "intriguing.models.feeding.probing",
    "resolved": "intriguing.models.training",
    "save_weights": "intriguing.models.files.weights",
    "source_hash": "intriguing.models.registry",
    "train_model": "intriguing.models.training",
    "weights_hash": "intriguing.models.files.weights",
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
    return getattr(import_module(_HOME[name]), name)
