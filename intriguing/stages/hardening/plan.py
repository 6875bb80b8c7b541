"""Hardening: a training per variant and seed; a task per epoch, and one for its measures; then the claims."""

import re
from collections.abc import Iterator
from typing import Any

from intriguing.engine.task import Code, Output, Resource, Task
from intriguing.errors import SpecError
from intriguing.models import TrainOptions
from intriguing.stages.common.parameters import Compute, ModelKey, as_json
from intriguing.stages.common.planned import PlannedDataset, PlannedModel, check_counts, part_of
from intriguing.stages.common.stage import Sweep
from intriguing.stages.hardening import functions
from intriguing.stages.hardening.spec import HardeningSpec, HardeningVariant

_EPOCHS = 10
"""Epochs of a training where neither spec nor model says how many: a plan knows no recipe."""
_EXAMPLES = Code("intriguing.stages.hardening.resources:examples")
_AXIS = re.compile(r"@-?\d+$")


def plan(section: HardeningSpec, sweep: Sweep) -> Iterator[Task]:
    """Every variant of every model, seed by seed, so that whole seeds are finished first; then what they say.

    Raises:
        SpecError: a data set has too few images, or no split to train or to measure on.
    """
    bases = list({(m.dataset.name, m.name): m for m in sweep.models if m.name in section.models}.values())
    for base in bases:
        if base.train_part:
            raise SpecError(
                f"hardening.models: {base.name!r} is trained on a part of the training split ({base.train_part}), and "
                "hardening trains on all of it: name a model without train_part."
            )
        _check(section, base.dataset)
    joining: list[PlannedModel] = []
    for base in bases:
        measures = []
        for seed in section.seeds:
            attacks: Output | None = None
            # The baseline comes first: the other networks are fed its adversarial images.
            for name in sorted(section.variants, key=lambda name: name != section.baseline):
                run = _Run(section, sweep, base, name, seed)
                yield from run.epochs()
                for measure in run.measures(attacks):
                    measures.append(Output(measure.name, "hardening"))
                    yield measure
                attacks = attacks or Output(measures[-1].task, "adversarial")
                if name in section.joining:
                    joining.append(run.network)
        yield functions.CLAIMS.task(
            f"hardening/{part_of(base.dataset.name)}/{part_of(base.name)}/claims",
            functions.ClaimsParameters(base.dataset.name, base.name, section.baseline, section.goal),
            inputs={"hardening": measures},
            publish={"claims": "hardening_claims"},
            noun="answers",
        )
    for network in joining:
        sweep.add(network)


def _check(section: HardeningSpec, dataset: PlannedDataset) -> None:
    """Raise `SpecError` where a data set has not what is needed."""
    check_counts("hardening", dataset, "train", {"held_out": section.held_out})
    if section.held_out >= dataset.sizes["train"]:
        raise SpecError(f"hardening.held_out is {section.held_out}: nothing of {dataset.name!r} is left to train on.")
    wanted = {"images": section.images, "curve_images": section.curve_images}
    if not section.held_out:
        check_counts("hardening", dataset, section.split, wanted)
    elif max(wanted.values()) > section.held_out:
        raise SpecError(
            f"hardening.images: {max(wanted.values())} images are to be searched, and {section.held_out} are held out. "
            "Lower images and curve_images, or raise held_out."
        )


class _Run:
    """One training: a model's architecture, a variant, a seed."""

    def __init__(self, section: HardeningSpec, sweep: Sweep, base: PlannedModel, name: str, seed: int) -> None:
        self._section, self._base = section, base
        self._key = ModelKey(base.dataset.name, base.name, seed)
        self._compute = Compute(sweep.compute.threads, sweep.compute.slots)
        variant = section.variants[name].over(section.defaults)
        self._training = functions.Training(
            variant=name,
            layers=tuple(variant.layers) if isinstance(variant.layers, list) else _names(base.layers),
            chosen=variant.chosen,
            mixed=_mixed(variant, base.layers),
            training=section.training_of(section.variants[name], dict(base.training)),
            held_out=section.held_out,
            seed=sweep.seed,
        )
        self._count = TrainOptions.of(self._training.training).epochs or _EPOCHS
        self._training.training["epochs"] = self._count
        self._kept = variant.options().kept_epochs if variant.options().has_pools else 0
        self._per_epoch = variant.options().new_per_epoch if self._kept else 0
        self._name = f"hardening/{part_of(base.dataset.name)}/{part_of(base.name)}/{part_of(name)}/{seed}"
        self.network = PlannedModel(
            base.dataset, f"{base.name}, {name}", seed, base.layers, base.architecture,
            Output(self._task(self._count - 1), "weights"), self._training.training,
            row_task=self._task(self._count - 1, "measures"),
        )  # fmt: skip

    def _task(self, epoch: int, kind: str = "epoch") -> str:
        return f"{self._name}/{kind}/{epoch + 1:04d}"

    def epochs(self) -> Iterator[Task]:
        """A task per epoch: each goes on from the weights, the optimiser and the pools of those before it."""
        for epoch in range(self._count):
            before = self._task(epoch - 1)
            pooled = range(max(0, epoch - self._kept), epoch)
            inputs: dict[str, Any] = {}
            if epoch:
                inputs = {name: Output(before, name) for name in ("weights", "optimizer", "clock")}
                inputs["pools"] = [Output(self._task(earlier), "pools") for earlier in pooled]
            yield functions.EPOCH.task(
                self._task(epoch),
                functions.EpochParameters(self._key, self._base.architecture, self._training, self._compute, epoch),
                inputs=inputs,
                resources={"examples": _resource(self._base.dataset)},
                affinity=self._name,
                noun="epochs",
                size=self._per_epoch * (2 * self._base.dataset.values + 8),
            )

    def measures(self, attacks: Output | None) -> Iterator[Task]:
        """A task per epoch that measures the network; `attacks`: the baseline's adversarial images."""
        section = self._section
        for epoch in range(self._count):
            last = epoch == self._count - 1
            inputs = {name: Output(self._task(epoch), name) for name in ("weights", "clock")}
            yield functions.MEASURE.task(
                self._task(epoch, "measures"),
                functions.MeasureParameters(
                    self._key, self._base.architecture, self._training, self._compute, self.network.name, epoch, last,
                    fed=attacks is not None,
                    images=section.images if last else section.curve_images,
                    certified=section.certified if last else section.curve_certified,
                    grade=section.grade,
                ),
                inputs=inputs if attacks is None else inputs | {"attacks": attacks},
                resources={"examples": _resource(self._base.dataset)},
                publish={"hardening": "hardening"} | ({"models": "models"} if last else {}),
                affinity=self._name,
                noun="measures",
                rows={"hardening": 1} | ({"models": 1} if last else {}),
            )  # fmt: skip


def _resource(dataset: PlannedDataset) -> Resource:
    """The data set's examples as something that tasks keep loaded."""
    return Resource(_EXAMPLES, dataset.resource.parameters, location=dataset.resource.location)


def _names(layers: tuple[str, ...]) -> tuple[str, ...]:
    """The model's layers, without the axis of the units, which a pool does not ask for."""
    return tuple(_AXIS.sub("", layer) for layer in layers)


def _mixed(variant: HardeningVariant, layers: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of `HardeningOptions` but those that name layers."""
    options = as_json(variant.options(dropped=_names(layers) if variant.dropout else ()))
    return {name: value for name, value in options.items() if name != "layers"}
