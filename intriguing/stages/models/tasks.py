"""Tasks that make the tables `examples` and `models`: listing the inputs, training models, loading a user's weights."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.data import Dataset
from intriguing.engine.worker import Work
from intriguing.models import (
    TrainOptions,
    build_model,
    error_rate,
    is_classifier,
    load_weights,
    parameter_count,
    probe,
    save_weights,
    train_model,
    weights_hash,
)
from intriguing.stages.common.parameters import Architecture, ModelKey
from intriguing.stages.common.resources import device, device_name
from intriguing.stages.models import functions


@functions.EXAMPLES.implementation
def examples(work: Work, p: functions.ExamplesParameters) -> dict[str, pa.Table]:
    """The table `examples`: id, label and split of every input."""
    splits = work.resource("dataset").splits
    return {
        "examples": tables.EXAMPLES.build(
            {
                "example_id": np.concatenate([s.ids for s in splits.values()]),
                "label": np.concatenate([s.labels for s in splits.values()]),
                "split": [name for name, s in splits.items() for _ in range(len(s))],
            },
            dataset=p.dataset,
        )
    }


@functions.TRAIN.implementation
def train(work: Work, p: functions.TrainParameters) -> dict[str, Any]:
    """Build and train a model; its weights, and its row in the table `models`."""
    torch.set_num_threads(p.compute.threads)
    data = work.resource("dataset")
    net = build(p.architecture, p.key.model_seed)
    train_model(
        net.to(device()), data, TrainOptions.of(p.training), p.key.model_seed, p.compute.threads, evaluate=False
    )
    return _result(work, net, data, p.key, p.compute.slots)


@functions.LOAD.implementation
def load(work: Work, p: functions.LoadParameters) -> dict[str, Any]:
    """Build a model with a user's weights, or as its architecture makes it; the same outputs as `train`."""
    torch.set_num_threads(p.compute.threads)
    net = build(p.architecture, p.key.model_seed)
    if work.has_resource("weights"):
        load_weights(net, work.resource("weights"))
    return _result(work, net, work.resource("dataset"), p.key, p.compute.slots)


def build(architecture: Architecture, seed: int) -> torch.nn.Module:
    """The network, with the weights that `seed` gives it."""
    return build_model(architecture.architecture, architecture.shape, architecture.classes, architecture.options, seed)


def _result(work: Work, net: torch.nn.Module, data: Dataset, key: ModelKey, slots: int) -> dict[str, Any]:
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
    )
    return {"weights": weights, "models": row}
