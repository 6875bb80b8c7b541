"""Tasks that make the tables `examples` and `models`: listing the inputs, training models, loading a user's weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.data import Dataset, Skipped, Split
from intriguing.data.parts import split_in_two
from intriguing.engine.worker import Work
from intriguing.models import (
    TrainOptions,
    error_rate,
    is_classifier,
    load_weights,
    parameter_count,
    probe,
    save_weights,
    train_model,
    weights_hash,
)
from intriguing.stages.common.parameters import ModelKey
from intriguing.stages.common.resources import build, device, device_name
from intriguing.stages.models import functions


@functions.EXAMPLES.implementation
def examples(work: Work, parameters: functions.ExamplesParameters) -> dict[str, pa.Table]:
    """The table `examples`: id, label, split and names of every input; where inputs have names, `skipped` too."""
    data: Dataset = work.resource("dataset")
    splits = data.splits
    labels = np.concatenate([s.labels for s in splits.values()])
    columns = {
        "example_id": np.concatenate([s.ids for s in splits.values()]),
        "label": labels,
        "split": [name for name, s in splits.items() for _ in range(len(s))],
        "class_name": [data.class_names[n] for n in labels] if data.class_names else [None] * len(labels),
        "path": [path for s in splits.values() for path in (s.paths or [None] * len(s))],
    }
    outputs = {"examples": tables.EXAMPLES.build(columns, dataset=parameters.dataset)}
    if parameters.named:
        outputs["skipped"] = _skipped(data.skipped, dataset=parameters.dataset, model="", model_seed=-1)
    return outputs


def _skipped(skipped: Sequence[Skipped], **keys: Any) -> pa.Table:
    identified = [bad for bad in skipped if bad.id >= 0]
    reasons = [f"{bad.path}: {bad.reason}" if bad.path else bad.reason for bad in identified]
    return tables.SKIPPED.build({"example_id": [bad.id for bad in identified], "reason": reasons}, **keys)


@functions.TRAIN.implementation
def train(work: Work, parameters: functions.TrainParameters) -> dict[str, Any]:
    """Build and train a model; its weights, and its row in the table `models`."""
    torch.set_num_threads(parameters.compute.threads)
    data, rest = work.resource("dataset"), None
    if parameters.train_part:
        data, rest = split_in_two(data, parameters.train_part, parameters.part_seed)
    net = build(parameters.architecture, parameters.key.model_seed)
    options = TrainOptions.of(parameters.training)
    report = train_model(
        net.to(device()), data, options, parameters.key.model_seed, parameters.compute.threads, evaluate=False
    )
    left_out = [replace(bad, reason=f"left out of the training: {bad.reason}") for bad in report.skipped]
    outputs = _result(work, net, data, parameters.key, parameters.compute.slots, (parameters.train_part, rest))
    return outputs | {"skipped": _skipped(left_out, **parameters.key.columns)}


@functions.LOAD.implementation
def load(work: Work, parameters: functions.LoadParameters) -> dict[str, Any]:
    """Build a model with a user's weights, or as its architecture makes it: its weights."""
    torch.set_num_threads(parameters.compute.threads)
    net = build(parameters.architecture, parameters.key.model_seed)
    if work.has_resource("weights"):
        load_weights(net, work.resource("weights"))
    return {"weights": save_weights(net)}


def _result(
    work: Work,
    net: torch.nn.Module,
    data: Dataset,
    key: ModelKey,
    slots: int,
    trained_on: tuple[str, Split | None] = ("", None),
) -> dict[str, Any]:
    """The model's weights and row; trained_on: the name of the part that is `data`'s training split, and the rest."""
    part, rest = trained_on
    weights = save_weights(net)
    probe(net).to(device())
    work.device = device_name()
    measured = data.splits if is_classifier(net) else {}
    row = tables.MODELS.build(
        {},
        **key.columns,
        weights_hash=weights_hash(weights),
        parameters=parameter_count(net),
        **{
            f"{name}_error": error_rate(net, measured[name], slots) if name in measured else None
            for name in ("train", "test")
        },
        train_part=part or None,
        other_error=error_rate(net, rest, slots) if rest is not None and measured else None,
    )
    return {"weights": weights, "models": row}
