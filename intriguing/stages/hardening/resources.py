"""The examples of a data set as float32, which stay in a worker's memory from epoch to epoch."""

from dataclasses import dataclass

import torch

from intriguing.models.fitting import Examples
from intriguing.stages.common import resources


@dataclass(frozen=True)
class LoadedExamples:
    """The readable examples of both splits, and the number of classes."""

    train: Examples
    test: Examples | None
    """None where the data set has no test split."""


def examples(content_hash: str, source: str, root: str | None = None) -> tuple[LoadedExamples, int]:
    """A data set's examples, on this worker's device, and their size in bytes; raises as `resources.dataset` does."""
    data, size = resources.dataset(content_hash, source, root)
    read = {name: Examples.of(split, resources.device())[0] for name, split in data.splits.items()}
    values = sum(len(one) for one in read.values()) * int(torch.tensor(data.shape).prod())
    return LoadedExamples(read["train"], read.get("test")), size + 4 * values
