"""Tasks of hardening: an epoch of a training, its measures, and the claims."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.torch
import torch

from intriguing import randomness, tables
from intriguing.engine.worker import Work
from intriguing.hardening.cutting import dropout_layers, pool_layers
from intriguing.hardening.measures import Measures, error_of, fooled, held_out, measure
from intriguing.hardening.options import HardeningOptions
from intriguing.hardening.training import Clock, Hardening
from intriguing.models import (
    TrainOptions,
    load_weights,
    parameter_count,
    probe,
    weights_hash,
)
from intriguing.models.fitting import Examples
from intriguing.stability import lower_bounds
from intriguing.stages.common.resources import build, device, device_name
from intriguing.stages.hardening import functions
from intriguing.stages.hardening.outcome.judged import judged_rows
from intriguing.stages.hardening.resources import LoadedExamples


@functions.EPOCH.implementation
def epoch(work: Work, parameters: functions.EpochParameters) -> dict[str, Any]:
    """Train for one epoch; `weights`, `optimizer`, `pools` (what the epoch found) and `clock`.

    `clock` is JSON: what the training has cost up to here.
    """
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    net = build(parameters.architecture, parameters.key.model_seed).to(device())
    of = parameters.training_of
    examples, _ = _examples(work.resource("examples"), of)
    hardening = Hardening(
        net, examples, _options(of, net), TrainOptions.of(of.training), parameters.key.model_seed,
        parameters.compute.threads,
    )  # fmt: skip
    before = Clock()
    if parameters.epoch:
        hardening.restore(work.blobs("weights")[0], work.blobs("optimizer")[0], work.blobs("pools"))
        before = _clock(work)
    clock = hardening.epoch(parameters.epoch).after(before)
    return hardening.checkpoint() | {"clock": json.dumps(asdict(clock)).encode()}


def _clock(work: Work) -> Clock:
    return Clock(**json.loads(work.blobs("clock")[0]))


@functions.MEASURE.implementation
def measure_epoch(work: Work, parameters: functions.MeasureParameters) -> dict[str, Any]:
    """What a network is worth after an epoch: `hardening`, a row.

    After the last one also `models`, its row of that table, and `adversarial`, the images that fool it, as safetensors.
    """
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    net = build(parameters.architecture, parameters.key.model_seed)
    of = parameters.training_of
    options = _options(of, net)
    weights = work.blobs("weights")[0]
    probe(load_weights(net, weights)).to(device())
    examples: LoadedExamples = work.resource("examples")
    trained_on, measured_on = _examples(examples, of)
    attacked = _attacked(measured_on, of.seed)[: parameters.images]
    found = _measured(net, measured_on, attacked, parameters.grade)
    old = safetensors.torch.load(work.blobs("attacks")[0]) if parameters.fed else None
    errors = {"train_error": error_of(net, trained_on), "error": error_of(net, measured_on)}
    pooled = options.layers if options.has_pools else ()
    row = _row(_clock(work), pooled, found) | errors | _transfer(net, measured_on, old)
    row |= _certified(net, measured_on, found, attacked[found.positions[: parameters.certified]])
    table = tables.HARDENING.build(
        {name: [value] for name, value in row.items()} | {"epoch": [parameters.epoch + 1]},
        **parameters.key.columns,
        variant=of.variant,
        network=parameters.network,
        method=options.method,
        below=options.below,
        layers=list(pooled),
        split="held-out" if of.held_out else "test",
        images=len(measured_on),
    )
    if not parameters.last:
        return {"hardening": table}
    models = tables.MODELS.build(
        {},
        **(replace(parameters.key, model=parameters.network).columns),
        weights_hash=weights_hash(weights),
        parameters=parameter_count(net),
        train_error=error_of(net, examples.train) if of.held_out else row["train_error"],
        test_error=None if of.held_out else row["error"],
        train_part=None,
        other_error=None,
    )
    adversarial = {"images": found.adversarial.cpu().contiguous(), "positions": attacked[found.positions].cpu()}
    return {"hardening": table, "models": models, "adversarial": safetensors.torch.save(adversarial)}


def _measured(net: torch.nn.Module, examples: Examples, attacked: torch.Tensor, grade: str) -> Measures:
    """How small a change makes the network wrong on the images at these positions."""
    if len(attacked):
        return measure(net, examples.inputs(attacked), examples.labels[attacked], grade)
    return Measures(np.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


@functions.CLAIMS.implementation
def claims(work: Work, parameters: functions.ClaimsParameters) -> dict[str, pa.Table]:
    """What the trainings say of each claim: `claims`, rows of `hardening_claims`."""
    rows = judged_rows(work.table("hardening").to_pylist(), parameters.baseline, parameters.goal)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    named = {"dataset": parameters.dataset, "model": parameters.model}
    return {"claims": tables.HARDENING_CLAIMS.build(columns, **named)}


def _options(of: functions.Training, net: torch.nn.Module) -> HardeningOptions:
    """The options of a training, with the layers of this network."""
    options = dict(of.mixed)
    pooled = options.get("method") in ("pools", "noise")
    layers = pool_layers(net, of.layers, of.chosen) if pooled else ()
    dropped = dropout_layers(net, options.pop("dropped", ()))
    dropout = tuple(options.pop("dropout", ()))
    return HardeningOptions(**options, layers=layers, dropout=dropout, dropped=dropped if dropout else ())


def _examples(loaded: LoadedExamples, of: functions.Training) -> tuple[Examples, Examples]:
    """What is trained on, and what errors are measured on: the test split, or training images that are held out."""
    if not of.held_out:
        assert loaded.test is not None  # the plan asks for the split
        return loaded.train, loaded.test
    order = randomness.generator(of.seed, "held out").permutation(len(loaded.train))
    return held_out(loaded.train, of.held_out, order)


def _attacked(examples: Examples, seed: int) -> torch.Tensor:
    """The positions of `examples` in the order in which they are attacked: the same for every network."""
    order = randomness.generator(seed, "hardening attacked").permutation(len(examples))
    return torch.from_numpy(order.astype(np.int64)).to(examples.labels.device)


def _row(clock: Clock, pooled: tuple[str, ...], found: Measures) -> dict[str, Any]:
    """What a training cost up to here, and how small a change makes its network wrong."""
    return {
        "distortion": found.rms,
        "distortion_images": found.found,
        "distortions": [None if np.isnan(value) else float(value) for value in found.distortions],
        "lower_bound": None,
        "bounded_images": 0,
        "cpu_seconds": clock.seconds,
        "search_seconds": clock.searching,
        "searches": clock.searched,
        "pool_rms": [clock.norms.get(layer) for layer in pooled],
    }


def _certified(
    net: torch.nn.Module, examples: Examples, measures: Measures, positions: torch.Tensor
) -> dict[str, float | int | None]:
    """The proven lower bounds of the first of the distortions; nothing where a network is beyond proof."""
    if not len(positions):
        return {}
    images, adversarial = examples.inputs(positions), measures.adversarial[: len(positions)]
    found = torch.linalg.vector_norm((adversarial.to(images) - images).flatten(1), dim=1)
    bound = lower_bounds(net, images, examples.labels[positions], found=found).bound.double().cpu().numpy()
    proven = bound[np.isfinite(bound) & (bound > 0)] / max(1, images[0].numel()) ** 0.5
    return {"lower_bound": float(proven.mean()) if len(proven) else None, "bounded_images": len(proven)}


def _transfer(
    net: torch.nn.Module, examples: Examples, old: dict[str, torch.Tensor] | None
) -> dict[str, float | int | None]:
    """How many of the baseline's adversarial images fool a network."""
    if old is None:
        return {"fooled": None, "fooled_of": 0}
    where = old["positions"].to(examples.labels.device)
    images, labels = examples.inputs(where), examples.labels[where]
    wrong, count = fooled(net, images, old["images"].to(images), labels)
    return {"fooled": wrong / count if count else None, "fooled_of": count}
