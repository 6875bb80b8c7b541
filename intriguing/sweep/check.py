"""What can be refused before any work starts: models that cannot be built or fed, layers that are not there."""

from collections.abc import Collection, Mapping

import torch

from intriguing.activations import collect_activations
from intriguing.errors import IntriguingError, ModelError
from intriguing.models import (
    TrainOptions,
    build_model,
    check_model,
    check_searchable,
    is_classifier,
    load_weights,
    probe,
)
from intriguing.sweep.facts import DatasetFacts, ModelFacts
from intriguing.sweep.spec import Spec


def check_models(
    spec: Spec,
    datasets: Mapping[str, DatasetFacts],
    models: Mapping[str, ModelFacts],
    wanted: Collection[tuple[str, str]],
) -> dict[tuple[str, str], dict[str, int]]:
    """Build each (data set, model) of `wanted`, feed it a blank image, and look its layers up.

    Returns the number of units of each layer that the spec names, by (data set, model).

    Raises:
        ModelError: it cannot be built or fed; the message names the model and the data set.
        UnknownNameError: it has no such layer; the nearest names are listed.
        WeightsError: its weights file does not fit.
        InputError: a training option is out of range.
    """
    units = {}
    for dataset, name in sorted(wanted):
        if dataset not in datasets or name not in spec.models:
            continue
        facts, model = datasets[dataset], spec.models[name]
        try:
            TrainOptions.of(model.training)
            net = build_model(model.architecture or name, facts.shape, facts.classes, model.options, seed=0)
            if models[name].weights_path:
                load_weights(net, models[name].weights_path)
            rows = check_model(probe(net), facts.shape, facts.classes, spec.compute.slots)
            if spec.blind_spots is not None and not is_classifier(net):
                raise ModelError("it has no logits, so it cannot be attacked: take [blind_spots] out of the spec")
            if spec.blind_spots is not None:
                check_searchable(net, facts.shape, (8, spec.compute.slots, 1))
            if model.layers:
                [block] = collect_activations(
                    net, [torch.zeros(1, *facts.shape)], model.layers, slots=1 if rows == 2 else rows
                )
                units[dataset, name] = {layer: v.shape[1] for layer, v in block.vectors.items()}
        except IntriguingError as error:
            raise type(error)(f"models.{name} on {dataset}: {error}") from error
        except Exception as error:
            raise ModelError(f"models.{name} cannot be built for {dataset}: {type(error).__name__}: {error}") from error
    return units
