"""What can be refused before any work starts: models that cannot be built or fed, layers that are not there."""

from collections.abc import Collection

import torch

from intriguing.activations import collect_activations
from intriguing.errors import IntriguingError, ModelError
from intriguing.models import TrainOptions, build_model, check_model, is_classifier, load_weights, probe
from intriguing.stages.common.stage import Sweep
from intriguing.sweep.spec import Spec


def check_models(
    spec: Spec, sweep: Sweep, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, int]]:
    """Build each (data set, model) of `wanted`, feed it a blank image and noise, and look its layers up.

    Returns the number of units of each layer that the spec names, by (data set, model).

    Raises:
        ModelError: it cannot be built or fed; the message names the model and the data set.
        UnknownNameError: it has no such layer; the nearest names are listed.
        WeightsError: its weights file does not fit.
        InputError: a training option is out of range.
    """
    units = {}
    models = {(model.dataset.name, model.name): model for model in sweep.models}
    for (dataset, name), model in sorted(models.items()):
        if (dataset, name) not in wanted:
            continue
        built = model.architecture
        try:
            TrainOptions.of(model.training)
            net = build_model(built.architecture, built.shape, built.classes, built.options, seed=0)
            if model.weights_path:
                load_weights(net, model.weights_path)
            check_model(probe(net), built.shape, built.classes)
            if spec.blind_spots is not None and not is_classifier(net):
                raise ModelError("it has no logits, so it cannot be attacked: take [blind_spots] out of the spec")
            if model.layers:
                # Noise, and four of it: only inputs that differ show whether they depend on their company.
                noise = torch.rand(4, *built.shape, generator=torch.Generator().manual_seed(0))
                [block] = collect_activations(net, [noise], model.layers, slots=len(noise))
                units[dataset, name] = {layer: v.shape[1] for layer, v in block.vectors.items()}
        except IntriguingError as error:
            raise type(error)(f"models.{name} on {dataset}: {error}") from error
        except Exception as error:
            raise ModelError(f"models.{name} cannot be built for {dataset}: {type(error).__name__}: {error}") from error
    return units
