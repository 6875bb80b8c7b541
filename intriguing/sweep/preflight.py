"""What can be refused before any work starts: models that cannot be built or fed, layers that are not there.

A model of the user's own, `module:factory`, is tried in a process of its own, since its code may hang or exit.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from intriguing.basics.process.patience import telling
from intriguing.errors import IntriguingError, ModelError
from intriguing.stages import STAGES
from intriguing.stages.common.child import Call, in_child
from intriguing.stages.common.parameters import Architecture
from intriguing.stages.common.planned import PlannedModel
from intriguing.stages.common.stage import Sweep
from intriguing.sweep.spec import Spec, section_of


@dataclass(frozen=True)
class ModelToCheck:
    """A model as plain data: what it takes to build and feed it, and the sections of stages that check it."""

    dataset: str
    name: str
    architecture: Architecture
    training: dict[str, Any]
    weights_path: str
    layers: tuple[str, ...]
    slots: int
    sections: dict[str, Any]
    seeds: tuple[int, ...] = (0,)
    is_trained: bool = False

    @property
    def is_users_code(self) -> bool:
        """Whether building it runs code of the user's."""
        name = self.architecture.architecture
        return ":" in name and not name.startswith("torchvision:")


def check_models(spec: Spec, sweep: Sweep, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], dict[str, int]]:
    """Build the models of these (data set, model) `pairs`, feed each a few images, and look its layers up.

    Returns the number of units of each layer that the spec names, by (data set, model).

    Raises:
        ModelError: it cannot be built or fed, or does not answer in time; the message names the model and the data set.
        UnknownNameError: it has no such layer; the nearest names are listed.
        WeightsError: its weights file does not fit.
        InputError: a training option is out of range.
    """
    checking = {stage.name: section_of(spec, stage) for stage in STAGES if stage.check_model}
    sections = {name: section for name, section in checking.items() if section is not None}
    models: dict[tuple[str, str], list[PlannedModel]] = {}
    for model in sweep.models:
        models.setdefault((model.dataset.name, model.name), []).append(model)
    checks = [_to_check(seeds, spec.compute.slots, sections) for pair, seeds in sorted(models.items()) if pair in pairs]
    # What most often is wrong first: before this process imports torch for the others.
    units: dict[tuple[str, str], dict[str, int]] = {}
    users = [check for check in checks if check.is_users_code]
    if users:
        calls = [
            Call(f"models.{check.name} on {check.dataset} ({check.architecture.architecture})", check)
            for check in users
        ]
        answers = in_child(f"{__name__}:layer_units", calls, spec.compute.check_seconds, ModelError)
        units = {(check.dataset, check.name): answer for check, answer in zip(users, answers, strict=True)}
    for check in (check for check in checks if not check.is_users_code):
        with telling(f"trying models.{check.name} on {check.dataset}"):
            units[check.dataset, check.name] = layer_units(check)
    return {pair: layers for pair, layers in units.items() if layers}


def _to_check(seeds: list[PlannedModel], slots: int, sections: dict[str, Any]) -> ModelToCheck:
    """One model of a data set, planned with each of its `seeds`."""
    model = seeds[-1]
    return ModelToCheck(
        dataset=model.dataset.name,
        name=model.name,
        architecture=model.architecture,
        training=dict(model.training),
        weights_path=model.weights_path,
        layers=model.layers,
        slots=slots,
        sections=sections,
        seeds=tuple(each.seed for each in seeds),
        is_trained=not model.is_loaded,
    )


def layer_units(model: ModelToCheck) -> dict[str, int]:
    """Build the model, feed it a few images, and count the units of its layers; raises as `check_models` does."""
    import torch

    from intriguing.activations import collect_activations
    from intriguing.models import TrainOptions, build_model, check_model, load_weights, probe
    from intriguing.models.feeding.probing import check_modes
    from intriguing.models.files.outside import check_forward, check_outside

    built = model.architecture
    try:
        TrainOptions.of(model.training)
        build = partial(build_model, built.architecture, built.shape, built.classes, built.options)
        net = build(0)
        if model.is_trained and not any(w.is_floating_point() or w.is_complex() for w in net.parameters()):
            raise ModelError("It has no weights to train: write train = false, and it is used as it is.")
        if model.weights_path:
            load_weights(net, model.weights_path)
        if model.is_users_code:
            check_forward(net, built.shape)
        rows = check_model(probe(net), built.shape, built.classes, model.slots, model.is_trained)
        if model.is_trained:
            check_modes(net)
        if model.is_users_code:
            check_outside(net, built.shape, build, model.seeds)
        for stage in STAGES:
            if stage.check_model is not None and stage.name in model.sections:
                stage.check_model.load()(
                    model.sections[stage.name], net, built.shape, model.slots, model.name, model.layers
                )
        if not model.layers:
            return {}
        # Noise, and four of it: only inputs that differ show whether they depend on their company.
        noise = torch.rand(4, *built.shape, generator=torch.Generator().manual_seed(0))
        block = next(collect_activations(net, [noise], model.layers, slots=len(noise) if rows == 2 else rows))
        return {layer: v.shape[1] for layer, v in block.vectors.items()}
    except IntriguingError as error:
        raise type(error)(f"models.{model.name} on {model.dataset}: {error}") from error
    except Exception as error:
        raise ModelError(
            f"models.{model.name} cannot be built for {model.dataset}: {type(error).__name__}: {error}"
        ) from error
