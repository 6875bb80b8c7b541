"""Data and models: list the inputs, train or load every model on every data set."""

from collections.abc import Iterator, Mapping
from typing import Any

from intriguing.engine.task import Output, Resource, Task
from intriguing.sweep import functions
from intriguing.sweep.facts import DatasetFacts, ModelFacts
from intriguing.sweep.spec import Spec
from intriguing.sweep.stages.common import RESOURCES, Trained, dataset_resource, part_of


def examples(facts: DatasetFacts) -> Task:
    """The task that lists a data set's inputs, and what it left out where inputs have names."""
    rows = sum(facts.sizes.values())
    named = {"named": facts.names_hash} if facts.names_hash else {}
    return Task(
        f"examples/{part_of(facts.name)}",
        functions.EXAMPLES,
        {"dataset": facts.name} | named,
        resources={"dataset": dataset_resource(facts)},
        publish={"examples": "examples"} | ({"skipped": "skipped"} if named else {}),
        affinity=facts.content_hash,
        rows={"examples": rows},
        size=rows * 4,
    )


def models(
    spec: Spec, datasets: Mapping[str, DatasetFacts], models: Mapping[str, ModelFacts]
) -> Iterator[tuple[Trained, Task]]:
    """Every model of `spec` on each of its data sets, with the task that makes its weights."""
    for name, model in spec.models.items():
        for dataset in model.datasets or spec.datasets:
            facts = datasets[dataset]
            built = {
                "architecture": model.architecture or name,
                "options": model.options,
                "shape": list(facts.shape),
                "classes": facts.classes,
                "source_hash": models[name].source_hash,
            }
            for seed in model.seeds or spec.model_seeds:
                place = f"{part_of(dataset)}/{part_of(name)}/{seed}"
                yield _model(spec, facts, name, seed, built, models[name], place)


def _model(
    spec: Spec, facts: DatasetFacts, name: str, seed: int, built: dict[str, Any], model: ModelFacts, place: str
) -> tuple[Trained, Task]:
    keys = {"dataset": facts.name, "model": name, "model_seed": seed}
    parameters = {**keys, **built, "threads": spec.compute.threads, "slots": spec.compute.slots}
    resources = {"dataset": dataset_resource(facts)}
    function, publish = functions.LOAD, {"models": "models"}
    if model.weights_hash:
        kept = {"sha256": model.weights_hash}
        resources["weights"] = Resource(f"{RESOURCES}:weights_file", kept, location={"path": model.weights_path})
    elif spec.models[name].is_trained:
        parameters["training"] = spec.models[name].training
        function = functions.TRAIN
        if facts.names_hash:  # photos may turn out to be damaged when they are decoded
            publish["skipped"] = "skipped"
    task = Task(
        f"model/{place}",
        function,
        parameters,
        resources=resources,
        publish=publish,
        affinity=facts.content_hash,
        noun="models",
        rows={"models": 1},
    )
    weights = Output(task.name, "weights")
    resource = Resource(f"{RESOURCES}:model", built, {"weights": weights})
    return Trained(facts, name, seed, tuple(spec.models[name].layers), weights, resource), task
