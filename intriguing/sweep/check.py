"""What can be refused before any work starts: models that cannot be built or fed, layers that are not there.

A model of the user's own, `module:factory`, is tried in a process of its own, since its code may hang or exit.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from intriguing.errors import IntriguingError, ModelError
from intriguing.sweep.child import Call, in_child
from intriguing.sweep.facts import DatasetFacts, ModelFacts
from intriguing.sweep.spec import Spec


@dataclass(frozen=True)
class Look:
    """A model to look at: what it takes to build and feed it, as plain data."""

    dataset: str
    name: str
    architecture: str
    shape: tuple[int, int, int]
    classes: int
    options: dict[str, Any]
    training: dict[str, Any]
    weights_path: str
    layers: list[str]
    is_attacked: bool

    @property
    def is_users_code(self) -> bool:
        """Whether building it runs code of the user's."""
        return ":" in self.architecture and not self.architecture.startswith("torchvision:")


def check_models(
    spec: Spec,
    datasets: Mapping[str, DatasetFacts],
    models: Mapping[str, ModelFacts],
    wanted: Collection[tuple[str, str]],
) -> dict[tuple[str, str], dict[str, int]]:
    """Build each (data set, model) of `wanted`, feed it a blank image, and look its layers up.

    Returns the number of units of each layer that the spec names, by (data set, model).

    Raises:
        ModelError: it cannot be built or fed, or does not answer in time; the message names the model and the data set.
        UnknownNameError: it has no such layer; the nearest names are listed.
        WeightsError: its weights file does not fit.
        InputError: a training option is out of range.
    """
    looks = [
        _look(spec, datasets[dataset], name, models[name])
        for dataset, name in sorted(wanted)
        if dataset in datasets and name in spec.models
    ]
    found = {(look.dataset, look.name): look_at(look) for look in looks if not look.is_users_code}
    users = [look for look in looks if look.is_users_code]
    if users:
        calls = [Call(f"models.{look.name} on {look.dataset} ({look.architecture})", look) for look in users]
        answers = in_child("intriguing.sweep.check:look_at", calls, spec.compute.check_seconds, ModelError)
        found |= {(look.dataset, look.name): units for look, units in zip(users, answers, strict=True)}
    return {pair: found[pair] for pair in ((look.dataset, look.name) for look in looks) if found[pair]}


def _look(spec: Spec, facts: DatasetFacts, name: str, model: ModelFacts) -> Look:
    wanted = spec.models[name]
    return Look(
        dataset=facts.name,
        name=name,
        architecture=wanted.architecture or name,
        shape=facts.shape,
        classes=facts.classes,
        options=wanted.options,
        training=wanted.training,
        weights_path=model.weights_path,
        layers=wanted.layers,
        is_attacked=spec.blind_spots is not None,
    )


def look_at(look: Look) -> dict[str, int]:
    """Build the model, feed it a blank image, and count the units of its layers; raises as `check_models` does."""
    import torch

    from intriguing.activations import collect_activations
    from intriguing.models import TrainOptions, build_model, check_model, is_classifier, load_weights, probe

    try:
        TrainOptions.of(look.training)
        net = build_model(look.architecture, look.shape, look.classes, look.options, seed=0)
        if look.weights_path:
            load_weights(net, look.weights_path)
        check_model(probe(net), look.shape, look.classes)
        if look.is_attacked and not is_classifier(net):
            raise ModelError("it has no logits, so it cannot be attacked: take [blind_spots] out of the spec")
        if not look.layers:
            return {}
        [block] = collect_activations(net, [torch.zeros(1, *look.shape)], look.layers, slots=1)
        return {layer: v.shape[1] for layer, v in block.vectors.items()}
    except IntriguingError as error:
        raise type(error)(f"models.{look.name} on {look.dataset}: {error}") from error
    except Exception as error:
        raise ModelError(
            f"models.{look.name} cannot be built for {look.dataset}: {type(error).__name__}: {error}"
        ) from error
