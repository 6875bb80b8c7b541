"""Whose units are examined: a trained network or its untrained control, and where its activations come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from intriguing.engine.task import Output, Resource
from intriguing.sweep.spec import Spec, UnitsSpec
from intriguing.sweep.stages.common import Trained, dataset_resource, part_of, shards_of
from intriguing.sweep.tasks.names import RANDOM, TRAINED


@dataclass(frozen=True)
class Subject:
    """A network in a plan."""

    model: Trained
    resource: Resource
    """Its weights: those of `model`, or the control's."""
    control: str
    """trained or random_init."""
    rows: int
    """How many inputs it is fed."""
    judge: "Subject | None" = None
    """The network that judges it."""

    @property
    def place(self) -> str:
        """Its part of a task's name."""
        return self.model.place if self.control == TRAINED else f"{self.model.place}/{self.control}"

    def layer_name(self, layer: str) -> str:
        """The part of a task's name for one of its layers."""
        return f"{self.place}/{part_of(layer)}"


def trained_subject(spec: Spec, model: Trained, models: Sequence[Trained]) -> Subject:
    """`model` as it was trained, with its judge among `models`."""
    units = section(spec)
    rows = units.rows or model.dataset.sizes[units.split]
    chosen = judge_of(units, model, models) if "encoder" in units.judges else None
    judge = None if chosen is None else Subject(chosen, chosen.resource, TRAINED, rows)
    return Subject(model, model.resource, TRAINED, rows, judge)


def untrained(spec: Spec, subject: Subject, resource: Resource) -> Subject:
    """The control of `subject` whose weights are those of `resource`; it is fed the tested inputs alone."""
    return Subject(subject.model, resource, RANDOM, tested_rows(spec, subject), subject.judge)


def judge_of(units: UnitsSpec, model: Trained, models: Sequence[Trained]) -> Trained | None:
    """The network that judges `model`: of another architecture, and of another seed where there is one.

    `units.judge` where that is one, else the first in the order of the spec; None where there is none.
    """
    others = [
        other
        for other in models
        if other.dataset.name == model.dataset.name
        and other.resource.parameters["architecture"] != model.resource.parameters["architecture"]
    ]
    names = list(dict.fromkeys(other.name for other in others))
    if not names:
        return None
    name = units.judge if units.judge in names else names[0]
    seeds = [other for other in others if other.name == name]
    later = [other for other in seeds if other.seed > model.seed]
    earlier = [other for other in seeds if other.seed < model.seed]
    return (later or earlier or seeds)[0]


def section(spec: Spec) -> UnitsSpec:
    """The spec's section on units."""
    assert spec.units is not None
    return spec.units


def tested_rows(spec: Spec, subject: Subject) -> int:
    """How many inputs a test rests on."""
    return min(subject.rows, section(spec).tested_rows)


def shards(spec: Spec, subject: Subject) -> list[tuple[int, int]]:
    """The shards of the inputs that `subject` is fed, as (start, stop)."""
    return shards_of(subject.rows, spec.compute.rows_per_shard)


def activations_name(subject: Subject, shard: int) -> str:
    """The name of the task that collects a shard."""
    return f"activations/{subject.place}/{shard:05d}"


def stored(spec: Spec, subject: Subject, layer: str) -> list[Output]:
    """The stored activations of a layer; none where they are computed anew by whoever needs them."""
    if section(spec).mode == "stream":
        return []
    number = subject.model.layers.index(layer)
    return [Output(activations_name(subject, i), f"layer{number}") for i in range(len(shards(spec, subject)))]


def drawn(spec: Spec, rows: int) -> dict[str, Any]:
    """The parameters by which a task draws its inputs."""
    units = section(spec)
    return {"split": units.split, "rows": rows, "seed": spec.seed}


def computing(spec: Spec) -> dict[str, int]:
    """The parameters by which a task computes."""
    return {"threads": spec.compute.threads, "slots": spec.compute.slots}


def network(subject: Subject) -> dict[str, Resource]:
    """The resources that computing activations takes."""
    return {"dataset": dataset_resource(subject.model.dataset), "model": subject.resource}
