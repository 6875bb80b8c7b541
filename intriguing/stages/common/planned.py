"""What a plan holds that later stages build on: data sets, models, searches; and how tasks and shards are named."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from intriguing.engine.task import Code, Output, Resource
from intriguing.errors import SpecError, unknown_name
from intriguing.stages.common.parameters import Architecture, AttackedInputs, ModelKey, Shard, as_json
from intriguing.stats.findings import counted

if TYPE_CHECKING:
    from intriguing.stages.common.stage import Sweep

_LOADERS = "intriguing.stages.common.resources"
DATASET = Code("intriguing.sweep.resources:dataset", f"{_LOADERS}:dataset")
MODEL = Code("intriguing.sweep.resources:model", f"{_LOADERS}:model")
WEIGHTS_FILE = Code("intriguing.sweep.resources:weights_file", f"{_LOADERS}:weights_file")


@dataclass(frozen=True)
class PlannedDataset:
    """A data set as a plan sees it: name in the spec, source, where it lies, hash, split sizes, shape, classes.

    names_hash: over the names of classes and examples; empty where there are none. rarest: how many images the smallest
    class of each split has.
    """

    name: str
    source: str
    root: str | None
    content_hash: str
    sizes: Mapping[str, int]
    shape: tuple[int, int, int]
    classes: int
    names_hash: str = ""
    rarest: Mapping[str, int] = field(default_factory=dict)

    @property
    def values(self) -> int:
        """How many numbers an input has."""
        return prod(self.shape)

    @cached_property
    def resource(self) -> Resource:
        """The data set as something that tasks keep loaded."""
        return Resource(
            DATASET, {"content_hash": self.content_hash}, location={"source": self.source, "root": self.root}
        )

    @property
    def examples(self) -> Output:
        """Its rows of the table `examples`."""
        return Output(f"examples/{part_of(self.name)}", "examples")


@dataclass(frozen=True)
class PlannedModel:
    """A model that the plan trains or loads, with what other tasks need of it.

    training: the arguments of its training. weights_path: the user's file that its weights come from, if they do.
    train_part: the part of the training split that it is trained on ("1 of 2"); empty where that is all of it.
    is_loaded: whether it comes from a file, or as its architecture makes it, and not from a training in the sweep.
    row_task: the task that publishes its row of the table `models`, where that is not the one that makes its weights.
    """

    dataset: PlannedDataset
    name: str
    seed: int
    layers: tuple[str, ...]
    architecture: Architecture
    weights: Output
    training: Mapping[str, Any] = field(default_factory=dict)
    weights_path: str = ""
    train_part: str = ""
    is_loaded: bool = False
    row_task: str = ""

    @property
    def row(self) -> Output:
        """Its row of the table `models`."""
        if self.row_task:
            return Output(self.row_task, "models")
        return Output(f"errors/{self.task_part}" if self.is_loaded else self.weights.task, "models")

    @cached_property
    def resource(self) -> Resource:
        """The model with its weights, as something that tasks keep loaded."""
        return model_resource(self.architecture, self.weights)

    @property
    def task_part(self) -> str:
        """The model's part of a task's name."""
        return f"{part_of(self.dataset.name)}/{part_of(self.name)}/{self.seed}"

    @property
    def key(self) -> ModelKey:
        """The columns that name the model in a table."""
        return ModelKey(self.dataset.name, self.name, self.seed)


@dataclass(frozen=True)
class PlannedSearch:
    """A shard of searches: the model, the rule for targets, the shard's number, its inputs, the task's outputs, and the
    search's grade where that is not the section's own.
    """

    model: PlannedModel
    target_rule: str
    number: int
    attacked: AttackedInputs
    shard: Shard
    distortions: Output
    adversarial: Output
    further_grade: str = ""

    @property
    def task_part(self) -> str:
        """The search's part of a task's name."""
        rule = f"{self.target_rule}/{self.further_grade}" if self.further_grade else self.target_rule
        return f"{self.model.task_part}/{rule}/{self.number:05d}"


@dataclass(frozen=True)
class PlannedRows:
    """Rows that a task publishes and later stages read: the table, the data set's name, the kinds of image that they
    are about, and the task's output. amplified_rms: the size that its amplified changes have.
    """

    table: str
    dataset: str
    kinds: tuple[str, ...]
    output: Output
    amplified_rms: float = 0.0


@dataclass(frozen=True)
class PlannedPredictions:
    """Outputs with the columns `example_id` and `prediction`: classes that a model gives to unchanged inputs."""

    model: ModelKey
    outputs: tuple[Output, ...]


def model_resource(architecture: Architecture, weights: Output) -> Resource:
    """A network of this architecture with these stored weights."""
    return Resource(MODEL, as_json(architecture), {"weights": weights})


def predictions_of(sweep: "Sweep", model: ModelKey) -> tuple[Output, ...]:
    """The outputs that were planned last with the classes that a model gives to unchanged inputs; () where none was."""
    planned = [each.outputs for each in sweep.all(PlannedPredictions) if each.model == model]
    return planned[-1] if planned else ()


def shards_of(total: int, size: int) -> list[Shard]:
    """`total` things cut into shards of `size`."""
    return [Shard(start, min(start + size, total)) for start in range(0, total, size)]


def check_counts(section: str, dataset: PlannedDataset, split: str, counts: Mapping[str, int]) -> None:
    """Refuse a section that asks for more inputs than the split has; `counts` are its numbers by key.

    Raises:
        SpecError: the data set has no such split, or too few inputs; the message names the key.
    """
    if split not in dataset.sizes:
        raise SpecError(f"{section}.split: {unknown_name(f'split of {dataset.name!r}', split, dataset.sizes)}")
    for key, count in counts.items():
        if count > dataset.sizes[split]:
            raise too_many(f"{section}.{key}", count, dataset, split, dataset.sizes[split])


def too_many(key: str, count: int, dataset: PlannedDataset, split: str, there: int) -> SpecError:
    """The error of a `key` that asks for more inputs than are `there` to choose from."""
    return SpecError(
        f"{key} is {count}, more than the {counted(there, 'input')} of {dataset.name!r} ({split} split) to choose "
        f"from. Write at most {there}."
    )


def part_of(name: str) -> str:
    """`name` as a part of a task's name, which slashes separate."""
    return quote(name, safe=" ()[],;:+=@!$&'*")
