"""The networks whose units are examined, trained and untrained, and where their activations come from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from intriguing.engine.task import Output, Resource
from intriguing.stages.common.parameters import Architecture, Compute, Draw, Shard
from intriguing.stages.common.planned import PlannedModel, part_of, shards_of
from intriguing.stages.common.stage import Sweep
from intriguing.stages.units.functions import LayerKey, Reading
from intriguing.stages.units.names import RANDOM, TRAINED
from intriguing.stages.units.spec import UnitsSpec


@dataclass(frozen=True)
class Network:
    """A network in the plan: a model as it was trained, or its untrained control.

    weights: the resource that holds its weights. rows: how many inputs it is fed. judge: the network that judges it.
    """

    model: PlannedModel
    weights: Resource
    control: str
    rows: int
    judge: "Network | None" = None

    @property
    def is_trained(self) -> bool:
        """Whether it is the model itself."""
        return self.control == TRAINED

    @property
    def task_part(self) -> str:
        """Its part of a task's name."""
        return self.model.task_part if self.is_trained else f"{self.model.task_part}/{self.control}"

    @property
    def resources(self) -> dict[str, Resource]:
        """What computing its activations takes."""
        return {"dataset": self.model.dataset.resource, "model": self.weights}

    def layer_part(self, layer: str) -> str:
        """The part of a task's name for one of its layers."""
        return f"{self.task_part}/{part_of(layer)}"

    def layer_key(self, layer: str) -> LayerKey:
        """The columns that name one of its layers in a table."""
        return LayerKey(self.model.key, layer)

    def untrained(self, weights: Resource, rows: int) -> "Network":
        """Its control, with these weights; it is fed the tested inputs alone."""
        return Network(self.model, weights, RANDOM, rows, self.judge)


@dataclass(frozen=True)
class Study:
    """The section [units] with what the sweep says of seeds, shards and threads."""

    section: UnitsSpec
    sweep: Sweep

    @property
    def compute(self) -> Compute:
        """How tasks compute."""
        return Compute(self.sweep.compute.threads, self.sweep.compute.slots)

    @property
    def reading(self) -> Reading:
        """How activations are read off a network."""
        return Reading(self.section.reduce, self.section.dtype)

    @property
    def is_stored(self) -> bool:
        """Whether all activations are kept; if not, those of the inputs that tests and histograms rest on."""
        return self.section.mode == "store"

    def networks(self) -> list[Network]:
        """Every model that names a layer, as it was trained, with its judge."""
        models = [replace(model, layers=_without_wildcards(model)) for model in self.sweep.models if model.layers]
        return [self._network(model, models) for model in models]

    def draw(self, rows: int) -> Draw:
        """The draw of `rows` inputs."""
        return Draw(self.section.split, rows, self.sweep.seed)

    def tested_rows(self, network: Network) -> int:
        """How many inputs a test rests on."""
        return min(network.rows, self.section.tested_rows)

    def shards(self, network: Network) -> list[Shard]:
        """The shards of the inputs that `network` is fed."""
        return shards_of(network.rows, self.sweep.compute.rows_per_shard)

    def stored(self, network: Network, layer: str) -> list[Output]:
        """The activations of a layer that are kept, shard by shard."""
        index, shards = network.model.layers.index(layer), range(len(self.shards(network)))
        if self.is_stored or not network.is_trained:
            return [Output(activations_name(network, i), f"layer{index}") for i in shards]
        return [Output(stream_name(network, i), f"kept{index}") for i in shards]

    def _network(self, model: PlannedModel, models: Sequence[PlannedModel]) -> Network:
        rows = self.section.rows or model.dataset.sizes[self.section.split]
        chosen = judge_of(self.section, model, models) if "encoder" in self.section.judges else None
        judge = None if chosen is None else Network(chosen, chosen.resource, TRAINED, rows)
        return Network(model, model.resource, TRAINED, rows, judge)


def judge_of(section: UnitsSpec, model: PlannedModel, models: Sequence[PlannedModel]) -> PlannedModel | None:
    """The network that judges `model`: of another architecture, and of another seed where there is one.

    `section.judge` where that is one, else the first in the order of the spec; None where there is none.
    """
    others = [
        other
        for other in models
        if other.dataset.name == model.dataset.name
        and other.architecture.architecture != model.architecture.architecture
    ]
    names = list(dict.fromkeys(other.name for other in others))
    if not names:
        return None
    name = section.judge if section.judge in names else names[0]
    seeds = [other for other in others if other.name == name]
    later = [other for other in seeds if other.seed > model.seed]
    earlier = [other for other in seeds if other.seed < model.seed]
    return (later or earlier or seeds)[0]


def activations_name(network: Network, shard: int) -> str:
    """The name of the task that collects a shard."""
    return f"activations/{network.task_part}/{shard:05d}"


def stream_name(network: Network, shard: int) -> str:
    """The name of the task that scans a shard as it is computed."""
    return f"stream/{network.task_part}/{shard:05d}"


def _without_wildcards(model: PlannedModel) -> tuple[str, ...]:
    """The model's layers, each spelled out; the model is built to look them up where there are wildcards."""
    if not any(set(layer) & set("*?[") for layer in model.layers):
        return model.layers
    from intriguing.activations import resolve_layers
    from intriguing.models import build_model

    built: Architecture = model.architecture
    net = build_model(built.architecture, built.shape, built.classes, built.options)
    return tuple(layer.name for layer in resolve_layers(net, model.layers))
