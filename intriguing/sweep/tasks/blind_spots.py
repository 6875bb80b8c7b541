"""The task that searches: a shard of attacked inputs, one target rule."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.blind_spots import SearchOptions, SearchResult, minimal_distortion
from intriguing.engine.worker import Work
from intriguing.sweep.resources import device, device_name
from intriguing.sweep.tasks.draws import attacked_positions, random_targets


def search(
    work: Work,
    dataset: str,
    model: str,
    model_seed: int,
    split: str,
    images: int,
    seed: int,
    start: int,
    stop: int,
    target_rule: str,
    grade: str,
    classes: int,
    threads: int,
    slots: int,
) -> dict[str, pa.Table]:
    """Search for the smallest change of inputs `start` to `stop` of the attacked ones; `distortions`, `adversarial`."""
    torch.set_num_threads(threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[split]
    chosen = attacked_positions(rows, images, seed)[start:stop]
    ids, labels = rows.ids[chosen], rows.labels[chosen]
    targets: Any = "every" if target_rule == "every" else None
    if target_rule == "random":
        targets = torch.from_numpy(random_targets(ids, labels, classes, seed)).to(device())
    options = SearchOptions(grade=grade, slots=slots)
    found = minimal_distortion(
        work.resource("model"),
        rows.pixels_or_nan(chosen).to(device()),  # one that cannot be read gets the status bad_input
        torch.from_numpy(np.array(labels)).to(device()),
        targets,
        options,
    )
    keys = {"dataset": dataset, "model": model, "model_seed": model_seed}
    names = [f"{grade}/{target_rule}/{i}" for i in ids]
    wanted = targets.tolist() if isinstance(targets, torch.Tensor) else [None] * len(ids)
    return {
        "distortions": tables.DISTORTIONS.build(
            {
                "search_id": names,
                "example_id": ids,
                "label": labels,
                "target": wanted,
                "status": found.status,
                "prediction": _classes(found.prediction),
                "clean_prediction": _classes(found.clean_prediction),
                **{name: _numbers(getattr(found, name)) for name in ("l2", "distortion", "linf", "penalty")},
                "forward_passes": found.forward_passes.tolist(),
                "backward_passes": found.backward_passes.tolist(),
                "lower_bound": _numbers(found.lower_bound),
            },
            **keys,
            target_rule=target_rule,
            grade=grade,
            penalty_form=options.penalty_form,
        ),
        "adversarial": _images(found, names, keys),
    }


def _images(found: SearchResult, names: list[str], keys: dict[str, Any]) -> pa.Table:
    kept = [i for i, status in enumerate(found.status) if status in ("found", "misclassified")]
    images = found.adversarial[kept].cpu()
    flat = images.reshape(len(kept), -1)
    return tables.ADVERSARIAL.build(
        {
            "search_id": [names[i] for i in kept],
            "shape": [list(images.shape[1:])] * len(kept),
            "image": pa.ListArray.from_arrays(
                np.arange(len(kept) + 1, dtype=np.int32) * flat.shape[1], pa.array(flat.reshape(-1).numpy())
            ),
        },
        **keys,
    )


def _classes(found: torch.Tensor) -> list[int | None]:
    return [None if c < 0 else c for c in found.tolist()]


def _numbers(found: torch.Tensor) -> list[float | None]:
    return [None if x != x else x for x in found.tolist()]
