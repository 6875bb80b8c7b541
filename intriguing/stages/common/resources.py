"""Loaders of what stays in a worker's memory between tasks: data sets, models, weights files.

Each returns what it loaded and its size in bytes.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch

from intriguing.data import Dataset, load_dataset
from intriguing.data.factories import check_source
from intriguing.errors import DataError, ModelError, WeightsError
from intriguing.models import build_model, load_weights, parameter_count, probe
from intriguing.stages.common.parameters import Architecture


def device() -> torch.device:
    """Where a task computes: the worker's GPU where it has one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """The kind of device that a task computes on, as the table `tasks` names it."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def dataset(content_hash: str, source: str, root: str | None = None) -> tuple[Dataset, int]:
    """The data set; raises `DataError` where its content is not that which the plan was made from."""
    loaded = load_dataset(source, root)
    if loaded.content_hash != content_hash:
        raise DataError(
            f"Data set {source!r} differs on this worker from the one that the plan was made from "
            f"({loaded.content_hash[:12]} here, {content_hash[:12]} there). Put the same files on every node."
        )
    size = sum(int(getattr(split.images, "nbytes", 0)) for split in loaded.splits.values())
    return loaded, size


def model(
    architecture: str,
    options: dict[str, Any],
    shape: list[int],
    classes: int,
    source_hash: str,
    weights: bytes,
) -> tuple[torch.nn.Module, int]:
    """The model with its stored weights, frozen, in eval mode, on this worker's device."""
    network = build_model(architecture, (shape[0], shape[1], shape[2]), classes, options, seed=0)
    _check_code(architecture, source_hash)
    load_weights(network, weights)
    return probe(network).to(device()), parameter_count(network) * 4


def build(architecture: Architecture, seed: int) -> torch.nn.Module:
    """The network, with the weights that `seed` gives it; raises `ModelError` where its code is not the plan's."""
    of = architecture
    network = build_model(of.architecture, of.shape, of.classes, of.options, seed)
    _check_code(of.architecture, of.source_hash)
    return network


def _check_code(architecture: str, source_hash: str) -> None:
    """Raise `ModelError` where a function of the user's is not what it was when the plan was made."""
    if source_hash:
        check_source(architecture, source_hash, ModelError)


def weights_file(sha256: str, path: str) -> tuple[bytes, int]:
    """A user's weights file; raises `WeightsError` when it is not there, or another than when the plan was made."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read on this worker: {error}.") from error
    if (here := hashlib.sha256(content).hexdigest()) != sha256:
        raise WeightsError(
            f"The weights file {path} is not that which the plan was made from ({here[:12]} here, {sha256[:12]} "
            "there): it was changed while the run was at work, or differs on this worker. Run the same command again."
        )
    return content, len(content)
