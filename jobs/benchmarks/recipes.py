"""How the recipes of the paper's networks were chosen: `python jobs/benchmark.py recipes [--data FOLDER]`.

Every candidate is trained on 50,000 images of MNIST's training set and judged on the other 10,000, never on the test
set. Prints a Markdown table: errors on both in percent, and CPU-seconds.
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from intriguing.data import Dataset, load_dataset
from intriguing.data.dataset import build_dataset
from intriguing.models import TrainOptions, build_model, train_model

HELD_OUT = 10_000
_BEFORE = {"encoder_epochs": 8, "corruption": 0.3}
_OLD_ENCODER = {
    "epochs": 300,
    "weight_decay": 1e-6,
    "encoder_epochs": 20,
    "encoder_loss": "squared",
    "corruption": 0.0,
    "sparsity": 0.05,
    "sparsity_penalty": 1.0,
    "encoder_decay": 1e-4,
}
CANDIDATES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "FC100-100-10, the recipe": ("mlp", {"hidden": [100, 100]}, {}),
    "FC100-100-10, lambda 1e-5": ("mlp", {"hidden": [100, 100]}, {"weight_decay": 1e-5}),
    "FC100-100-10, lambda 1e-6, 15 epochs, batch 64 (before)": (
        "mlp",
        {"hidden": [100, 100]},
        {"weight_decay": 1e-6, "epochs": 15, "batch_size": 64, "learning_rate": 5e-3},
    ),
    "FC200-200-10, the recipe": ("mlp", {"hidden": [200, 200]}, {}),
    "FC123-456-10, the recipe": ("mlp", {"hidden": [123, 456]}, {}),
    "AE400-10, the recipe": ("autoencoder", {}, {}),
    "AE400-10, 24 epochs": ("autoencoder", {}, {"encoder_epochs": 24}),
    "AE400-10, 24 epochs, noise 0.3": ("autoencoder", {}, _BEFORE | {"encoder_epochs": 24}),
    "AE400-10, 8 epochs, noise 0.3 (before)": ("autoencoder", {}, _BEFORE),
    "AE400-10, 8 epochs, no noise": ("autoencoder", {}, _BEFORE | {"corruption": 0.0}),
    "AE400-10, squared error, decay (before)": ("autoencoder", {}, _OLD_ENCODER),
} | {
    f"FC10({decay:g}), decay_form {form}": ("softmax", {}, {"weight_decay": decay, "decay_form": form})
    for form in ("half", "printed")
    for decay in (1e-4, 1e-2, 1.0)
}


def main(argv: list[str]) -> None:
    """Train the candidates whose names hold `--only`, and print a line for each."""
    parser = argparse.ArgumentParser(prog="jobs/benchmark.py recipes", description=__doc__)
    parser.add_argument("--data", help="the folder that MNIST lies in (INTRIGUING_DATA)")
    parser.add_argument("--only", default="", help="train only candidates whose names hold this")
    arguments = parser.parse_args(argv)
    dataset = held_out(load_dataset("mnist", arguments.data))
    print("| recipe | training error, % | held-out error, % | CPU-s |\n|---|---|---|---|")
    for name, candidate in CANDIDATES.items():
        if arguments.only in name:
            print(f"| {name} | {' | '.join(judged(dataset, *candidate))} |", flush=True)


def held_out(dataset: Dataset) -> Dataset:
    """MNIST's training set alone, cut into 50,000 images and 10,000 that stand in place of the test set."""
    split = dataset.split("train")
    order = np.random.default_rng(0).permutation(len(split))
    rows = {"train": order[HELD_OUT:], "test": order[:HELD_OUT]}
    images = np.asarray(split.images)
    parts = {name: (images[at], split.labels[at], None) for name, at in rows.items()}
    return build_dataset("mnist, held out", parts, "held out", dataset.classes)


def judged(
    dataset: Dataset, architecture: str, options: Mapping[str, Any], training: Mapping[str, Any]
) -> tuple[str, str, str]:
    """Training error, held-out error and CPU-seconds of one candidate, as text."""
    began = time.process_time()
    model = build_model(architecture, dataset.shape, dataset.classes, options)
    report = train_model(model, dataset, TrainOptions(**training))
    assert report.test_error is not None
    return f"{100 * report.train_error:.3f}", f"{100 * report.test_error:.2f}", f"{time.process_time() - began:.0f}"
