"""What a plan must know of data sets and of what users bring, gathered without torch where that can be."""

import hashlib
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intriguing.basics.folders.files import expanded
from intriguing.basics.folders.presence import is_folder
from intriguing.basics.process.patience import telling
from intriguing.data import is_users_code, load_dataset
from intriguing.data.files import near_files, open_regular
from intriguing.errors import DataError, MissingDataError, WeightsError
from intriguing.models.registry import ENDINGS
from intriguing.stages.common.child import Call, in_child
from intriguing.stages.common.planned import PlannedDataset
from intriguing.stages.common.stage import Inspection, Outside
from intriguing.stages.models.spec import ModelsSection

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFiles:
    """A model as a plan sees it: the hashes of a user's source and of a weights file, empty where there is none."""

    source_hash: str = ""
    weights_hash: str = ""
    weights_path: str = ""


@dataclass(frozen=True)
class DataAndModelFiles:
    """The data sets of a spec, those that are there, and its models, by name."""

    datasets: Mapping[str, PlannedDataset]
    models: Mapping[str, ModelFiles]


def inspect(section: ModelsSection, outside: Outside) -> Inspection:
    """Load each data set once to learn its sizes and hashes, and hash what users bring.

    An optional data set whose files are missing is left out, with a warning that says where they belong; so are the
    models that were for it alone.

    Raises:
        DataError: a data set cannot be read, or is not what a data set should be.
        WeightsError: there is no such weights file.
    """
    datasets = _datasets(section, outside)
    section = without_datasets(section, section.datasets.keys() - datasets.keys())
    return Inspection(section, DataAndModelFiles(datasets, _models(section)))


def without_datasets(section: ModelsSection, missing: Collection[str]) -> ModelsSection:
    """`section` without the data sets of these names, and without the models that were for them alone."""
    models = {}
    for name, model in section.models.items():
        left = None if model.datasets is None else [d for d in model.datasets if d not in missing]
        if left != []:
            models[name] = model.model_copy(update={"datasets": left})
    kept = {name: dataset for name, dataset in section.datasets.items() if name not in missing}
    return section.model_copy(update={"datasets": kept, "models": models})


@dataclass(frozen=True)
class DatasetSource:
    """Where a data set comes from: its source, the folder it lies in, and whether it may be downloaded."""

    source: str
    root: str | None = None
    download: bool = False


DatasetDescription = tuple[str, dict[str, int], tuple[int, int, int], int, str, dict[str, int]]
"""A data set's content hash, sizes of its splits, shape of an image, classes, hash of the names, and the number of
images of each split's smallest class.
"""


def describe(source: DatasetSource) -> DatasetDescription:
    """Load a data set and describe it; raises `DataError` where it cannot be read, `MissingDataError` for no files."""
    dataset = load_dataset(source.source, source.root, source.download)
    sizes = {split: len(rows) for split, rows in dataset.splits.items()}
    rarest = {name: int(np.unique(rows.labels, return_counts=True)[1].min()) for name, rows in dataset.splits.items()}
    return dataset.content_hash, sizes, dataset.shape, dataset.classes, dataset.names_hash, rarest


def _datasets(section: ModelsSection, outside: Outside) -> dict[str, PlannedDataset]:
    datasets = {}
    for name, dataset in section.datasets.items():
        where = dataset.root or outside.root
        where = os.path.realpath(expanded(where)) if where else None
        candidates = [
            DatasetSource(source, where, dataset.download) for source in (dataset.source or name, *dataset.instead)
        ]
        try:
            source, description = _first_readable(candidates, f"datasets.{name}", outside.seconds)
        except MissingDataError as error:
            if not dataset.optional or len(section.datasets) == 1:
                raise
            log.warning("The sweep goes on without the data set %r: %s", name, error)
            continue
        datasets[name] = PlannedDataset(name, source, where, *description)
    return datasets


def _first_readable(candidates: Sequence[DatasetSource], key: str, seconds: float) -> tuple[str, DatasetDescription]:
    """The first of `candidates` whose files are there, as (source, description), with a warning if it is not the first.

    A function of the user's is called in a process of its own, for at most `seconds`. Raises `MissingDataError`, the
    first one's, where none is there; `DataError` for one that is there and cannot be read, without a look at the rest,
    and for a missing one whose root is not there: a typing error, not a data set that this machine lacks.
    """
    missing: list[MissingDataError] = []
    for candidate in candidates:
        try:
            if is_users_code(candidate.source):
                calls = [Call(f"{key} ({candidate.source})", candidate)]
                description = in_child(f"{__name__}:describe", calls, seconds, DataError)[0]
            else:
                with telling(f"looking through {key} ({candidate.source})"):
                    description = describe(candidate)
        except MissingDataError as error:
            root = candidate.root
            if root and not (is_folder(root) or candidate.download or is_users_code(candidate.source)):
                raise DataError(
                    f"{key}: there is no folder {root} (--data, INTRIGUING_DATA, or the data set's root), where "
                    f"{candidate.source!r} is looked for."
                ) from error
            missing.append(error)
            continue
        if missing:
            log.warning("%s is taken from %r instead: %s", key, candidate.source, missing[0])
        return candidate.source, description
    raise missing[0]


def _models(section: ModelsSection) -> dict[str, ModelFiles]:
    """The hashes of what users bring: the source of a `module:factory`, and weights files."""
    files = {}
    for name, model in section.models.items():
        architecture = model.architecture or name
        source = _source_hash(architecture)
        if model.weights is None:
            files[name] = ModelFiles(source)
            continue
        path = Path(os.path.realpath(expanded(model.weights)))  # resolve() raises for links in a circle
        try:
            with open_regular(path) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise WeightsError(f"models.{name}.weights: there is no file {path}.{near_files(path, ENDINGS)}") from None
        except OSError as e:
            raise WeightsError(f"models.{name}.weights: {path} cannot be read: {e.strerror}.") from None
        files[name] = ModelFiles(source, digest, str(path))
    return files


def _source_hash(architecture: str) -> str:
    if ":" not in architecture or architecture.startswith("torchvision:"):
        return ""
    from intriguing.models import source_hash

    return source_hash(architecture)
