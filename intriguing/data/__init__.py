"""Data sets of images: by name, from a file, from a folder of photos, or from a user's own function."""

from intriguing.data.dataset import Dataset, Skipped, Split
from intriguing.data.sources import (
    FORMS,
    KNOWN,
    data_root,
    dataset_hash,
    describe,
    is_users_code,
    known_datasets,
    load_dataset,
    source_names,
)

__all__ = [
    "FORMS",
    "KNOWN",
    "Dataset",
    "Skipped",
    "Split",
    "data_root",
    "dataset_hash",
    "describe",
    "is_users_code",
    "known_datasets",
    "load_dataset",
    "source_names",
]
