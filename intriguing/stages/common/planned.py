"""What all stages share: models as tasks see them, names of tasks, shards."""

from dataclasses import dataclass
from urllib.parse import quote

from intriguing.engine.task import Output, Resource
from intriguing.sweep.facts import DatasetFacts

RESOURCES = "intriguing.sweep.resources"


@dataclass(frozen=True)
class Trained:
    """A model that the plan trains or loads, with what other tasks need of it."""

    dataset: DatasetFacts
    name: str
    seed: int
    layers: tuple[str, ...]
    weights: Output
    resource: Resource

    @property
    def place(self) -> str:
        """The model's part of a task's name."""
        return f"{part_of(self.dataset.name)}/{part_of(self.name)}/{self.seed}"

    @property
    def keys(self) -> dict[str, str | int]:
        """The columns that name the model in a table."""
        return {"dataset": self.dataset.name, "model": self.name, "model_seed": self.seed}


def dataset_resource(facts: DatasetFacts) -> Resource:
    """The data set as something that tasks keep loaded."""
    return Resource(
        f"{RESOURCES}:dataset",
        {"content_hash": facts.content_hash},
        location={"source": facts.source, "root": facts.root},
    )


def shards_of(total: int, size: int) -> list[tuple[int, int]]:
    """`total` things cut into pieces of `size`, as (start, stop)."""
    return [(start, min(start + size, total)) for start in range(0, total, size)]


def part_of(name: str) -> str:
    """`name` as a part of a task's name, which slashes separate."""
    return quote(name, safe=" ()[],;:+=@!$&'*")
