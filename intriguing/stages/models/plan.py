"""Data and models: list the inputs, train or load every model on every data set."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

from intriguing.data.part_names import check_part
from intriguing.engine.task import Output, Resource, Task
from intriguing.errors import DataError, SpecError
from intriguing.models.registry import RECIPES
from intriguing.stages.common.parameters import Architecture, Compute, ModelKey
from intriguing.stages.common.planned import WEIGHTS_FILE, PlannedDataset, PlannedModel, part_of
from intriguing.stages.common.stage import Sweep
from intriguing.stages.models import functions
from intriguing.stages.models.inspection import ModelFiles
from intriguing.stages.models.spec import ModelSpec, ModelsSection

log = logging.getLogger(__name__)


def plan(section: ModelsSection, sweep: Sweep) -> Iterator[Task]:
    """Every data set's list of inputs, and every model of the spec on each of its data sets."""
    for dataset in sweep.files.datasets.values():
        sweep.add(dataset)
    _check(section, sweep)
    for dataset in sweep.datasets.values():
        yield examples(dataset)
    known: dict[str, str] = {}
    for name, model in section.models.items():
        for dataset_name in model.datasets or section.datasets:
            for seed in model.seeds or section.model_seeds:
                dataset = sweep.datasets[dataset_name]
                task, planned = _model(model, ModelKey(dataset_name, name, seed), dataset, sweep)
                sweep.add(planned)
                first = known.setdefault(_identity(task, sweep.files.models[name]), name)
                if first != name:
                    log.warning(
                        "models.%s and models.%s are one network on %s (seed %d): what fools one fools the other, "
                        "which says nothing of transfer. %s",
                        first,
                        name,
                        dataset_name,
                        seed,
                        "They have the same weights." if model.weights else "Give one of them other seeds.",
                    )
                yield task


def _identity(task: Task, files: ModelFiles) -> str:
    """What decides a model's weights: all parameters of its task but its name, and with a weights file but its seed."""
    names = {"model"} | ({"model_seed"} if files.weights_hash else set())
    return json.dumps(
        [{k: v for k, v in task.parameters.items() if k not in names}, files.weights_hash], sort_keys=True
    )


def _check(section: ModelsSection, sweep: Sweep) -> None:
    for name, model in section.models.items():
        for dataset in model.datasets or sweep.datasets:
            if model.is_trained and "train" not in sweep.datasets[dataset].sizes:
                raise SpecError(
                    f"models.{name}: data set {dataset!r} has no train split to train it on. Give the data set one, "
                    "name a file of `weights`, or write `train = false`."
                )
            if model.train_part:
                rarest = sweep.datasets[dataset].rarest.get("train", sweep.datasets[dataset].sizes["train"])
                _check_part(f"models.{name}.train_part: data set {dataset!r}", model.train_part, rarest)


def _check_part(what: str, part: str, rarest: int) -> None:
    try:
        check_part(what, part, rarest)
    except DataError as error:
        raise SpecError(str(error)) from None


def examples(dataset: PlannedDataset) -> Task:
    """The task that lists a data set's inputs, and what it left out where inputs have names."""
    rows = sum(dataset.sizes.values())
    return functions.EXAMPLES.task(
        dataset.examples.task,
        functions.ExamplesParameters(dataset.name, dataset.names_hash),
        resources={"dataset": dataset.resource},
        publish={"examples": "examples"} | ({"skipped": "skipped"} if dataset.names_hash else {}),
        affinity=dataset.content_hash,
        rows={"examples": rows},
        size=rows * 4,
    )


def _model(model: ModelSpec, key: ModelKey, dataset: PlannedDataset, sweep: Sweep) -> tuple[Task, PlannedModel]:
    """The task that makes a model's weights, and the model as later stages see it."""
    files: ModelFiles = sweep.files.models[key.model]
    architecture = Architecture(
        model.architecture or key.model, model.options, dataset.shape, dataset.classes, files.source_hash
    )
    compute = Compute(sweep.compute.threads, sweep.compute.slots)
    resources = {"dataset": dataset.resource}
    name = f"model/{part_of(key.dataset)}/{part_of(key.model)}/{key.model_seed}"
    publish = {"models": "models"}
    common = {
        "publish": publish,
        "affinity": dataset.content_hash,
        "noun": "models",
        "rows": {"models": 1},
    }
    if model.is_trained and not files.weights_hash:
        if dataset.names_hash:  # photos may turn out to be damaged when they are decoded
            publish["skipped"] = "skipped"
        seed = sweep.seed if model.train_part else 0
        recipe = RECIPES.get(architecture.architecture, 0)
        parameters = functions.TrainParameters(
            key, architecture, compute, model.training, model.train_part, seed, recipe
        )
        task = functions.TRAIN.task(name, parameters, resources=resources, **common)
    else:
        if files.weights_hash:
            location = {"path": files.weights_path}
            resources["weights"] = Resource(WEIGHTS_FILE, {"sha256": files.weights_hash}, location=location)
        parameters = functions.LoadParameters(key, architecture, compute)
        common |= {"publish": {}, "rows": {}}  # its row comes from the stage `errors`
        task = functions.LOAD.task(name, parameters, resources=resources, **common)
    weights = Output(name, "weights")
    layers = tuple(model.layers)
    planned = PlannedModel(
        dataset, key.model, key.model_seed, layers, architecture, weights, model.training, files.weights_path
    )
    return task, replace(planned, train_part=model.train_part, is_loaded=task.function == functions.LOAD.function)
