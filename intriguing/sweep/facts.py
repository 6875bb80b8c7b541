"""What a plan must know of data sets and models before anything runs, gathered without torch where that can be."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from intriguing.data import load_dataset
from intriguing.errors import WeightsError
from intriguing.sweep.spec import Spec


@dataclass(frozen=True)
class DatasetFacts:
    """A data set as a plan sees it: name in the spec, source, where it lies, hash, split sizes, shape, classes."""

    name: str
    source: str
    root: str | None
    content_hash: str
    sizes: Mapping[str, int]
    shape: tuple[int, int, int]
    classes: int

    @property
    def values(self) -> int:
        """How many numbers an input has."""
        return prod(self.shape)


@dataclass(frozen=True)
class ModelFacts:
    """A model as a plan sees it: the hashes of a user's source and of a weights file, empty where there is none."""

    source_hash: str = ""
    weights_hash: str = ""
    weights_path: str = ""


def gather_datasets(spec: Spec, root: str | None = None) -> dict[str, DatasetFacts]:
    """Load each data set of `spec` once, to learn its facts; `root` is where to look unless the spec says otherwise.

    Raises:
        DataError: a data set cannot be read, or is not what a data set should be.
    """
    found = {}
    for name, wanted in spec.datasets.items():
        source, where = wanted.source or name, wanted.root or root
        where = str(Path(where).expanduser().resolve()) if where else None
        dataset = load_dataset(source, where, wanted.download)
        sizes = {split: len(rows) for split, rows in dataset.splits.items()}
        found[name] = DatasetFacts(name, source, where, dataset.content_hash, sizes, dataset.shape, dataset.classes)
    return found


def gather_models(spec: Spec) -> dict[str, ModelFacts]:
    """The hashes of what users bring: the source of a `module:factory`, and weights files."""
    found = {}
    for name, model in spec.models.items():
        architecture = model.architecture or name
        source = _source_hash(architecture)
        if model.weights is None:
            found[name] = ModelFacts(source)
            continue
        path = Path(model.weights).expanduser().resolve()
        if not path.is_file():
            raise WeightsError(f"models.{name}.weights: there is no file {path}.")
        found[name] = ModelFacts(source, hashlib.sha256(path.read_bytes()).hexdigest(), str(path))
    return found


def _source_hash(architecture: str) -> str:
    if ":" not in architecture or architecture.startswith("torchvision:"):
        return ""
    from intriguing.models import source_hash

    return source_hash(architecture)
