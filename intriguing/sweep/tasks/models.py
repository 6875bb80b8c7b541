"""Tasks that make the tables `examples` and `models`: listing the inputs, training models, loading a user's weights."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.data import Dataset, Skipped
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
from intriguing.sweep.resources import device, device_name


def examples(work: Work, dataset: str, named: str = "") -> dict[str, pa.Table]:
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
    made = {"examples": tables.EXAMPLES.build(columns, dataset=dataset)}
    return made | ({"skipped": _skipped(data.skipped, dataset=dataset, model="", model_seed=-1)} if named else {})


def _skipped(skipped: Sequence[Skipped], **keys: Any) -> pa.Table:
    known = [bad for bad in skipped if bad.id >= 0]
    reasons = [f"{bad.path}: {bad.reason}" if bad.path else bad.reason for bad in known]
    return tables.SKIPPED.build({"example_id": [bad.id for bad in known], "reason": reasons}, **keys)


def train(
    work: Work,
    dataset: str,
    model: str,
    model_seed: int,
    architecture: str,
    options: dict[str, Any],
    training: dict[str, Any],
    shape: list[int],
    classes: int,
    threads: int,
    slots: int,
    source_hash: str,
) -> dict[str, Any]:
    """Build and train a model; its weights, and its row in the table `models`."""
    torch.set_num_threads(threads)
    data = work.resource("dataset")
    net = build_model(architecture, (shape[0], shape[1], shape[2]), classes, options, model_seed)
    report = train_model(net.to(device()), data, TrainOptions.of(training), model_seed, threads, evaluate=False)
    keys: dict[str, Any] = {"dataset": dataset, "model": model, "model_seed": model_seed}
    left_out = [replace(bad, reason=f"left out of the training: {bad.reason}") for bad in report.skipped]
    return _result(work, net, data, slots, **keys) | {"skipped": _skipped(left_out, **keys)}


def load(
    work: Work,
    dataset: str,
    model: str,
    model_seed: int,
    architecture: str,
    options: dict[str, Any],
    shape: list[int],
    classes: int,
    threads: int,
    slots: int,
    source_hash: str,
) -> dict[str, Any]:
    """Build a model with a user's weights, or as its architecture makes it; the same outputs as `train`."""
    torch.set_num_threads(threads)
    net = build_model(architecture, (shape[0], shape[1], shape[2]), classes, options, model_seed)
    if work.has_resource("weights"):
        load_weights(net, work.resource("weights"))
    return _result(work, net, work.resource("dataset"), slots, dataset=dataset, model=model, model_seed=model_seed)


def _result(work: Work, net: torch.nn.Module, data: Dataset, slots: int, **keys: Any) -> dict[str, Any]:
    weights = save_weights(net)
    probe(net).to(device())
    work.device = device_name()
    measured = data.splits if is_classifier(net) else {}
    row = tables.MODELS.build(
        {},
        **keys,
        weights_hash=weights_hash(weights),
        parameters=parameter_count(net),
        **{
            f"{name}_error": error_rate(net, measured[name], slots) if name in measured else None
            for name in ("train", "test")
        },
    )
    return {"weights": weights, "models": row}
