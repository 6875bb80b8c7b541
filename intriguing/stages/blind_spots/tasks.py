"""The task that searches: a shard of attacked inputs, one target rule."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.blind_spots import SearchOptions, SearchResult, minimal_distortion
from intriguing.engine.worker import Work
from intriguing.stages.blind_spots import functions
from intriguing.stages.common.parameters import ModelKey
from intriguing.stages.common.resources import device, device_name
from intriguing.stages.common.sampling import attacked_positions, random_targets


@functions.SEARCH.implementation
def search(work: Work, parameters: functions.SearchParameters) -> dict[str, pa.Table]:
    """Search for the smallest changes of a shard of the attacked inputs; `distortions`, `adversarial`."""
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[parameters.attacked.split]
    chosen = attacked_positions(rows, parameters.attacked, parameters.shard)
    ids, labels = rows.ids[chosen], rows.labels[chosen]
    targets: Any = "every" if parameters.target_rule == "every" else None
    if parameters.target_rule == "random":
        classes = random_targets(ids, labels, parameters.classes, parameters.attacked.seed)
        targets = torch.from_numpy(classes).to(device())
    options = SearchOptions(grade=parameters.grade, slots=parameters.compute.slots)
    result = minimal_distortion(
        work.resource("model"),
        rows.pixels_or_nan(chosen).to(device()),  # one that cannot be read gets the status bad_input
        torch.from_numpy(np.array(labels)).to(device()),
        targets,
        options,
    )
    names = [f"{parameters.grade}/{parameters.target_rule}/{i}" for i in ids]
    target_classes = targets.tolist() if isinstance(targets, torch.Tensor) else [None] * len(ids)
    return {
        "distortions": tables.DISTORTIONS.build(
            {
                "search_id": names,
                "example_id": ids,
                "label": labels,
                "target": target_classes,
                "status": result.status,
                "prediction": _classes(result.prediction),
                "clean_prediction": _classes(result.clean_prediction),
                **{name: _numbers(getattr(result, name)) for name in ("l2", "distortion", "linf", "penalty")},
                "forward_passes": result.forward_passes.tolist(),
                "backward_passes": result.backward_passes.tolist(),
                "lower_bound": _numbers(result.lower_bound),
            },
            **parameters.key.columns,
            target_rule=parameters.target_rule,
            grade=parameters.grade,
            penalty_form=options.penalty_form,
        ),
        "adversarial": _images(result, names, parameters.key),
    }


def _images(result: SearchResult, names: list[str], key: ModelKey) -> pa.Table:
    kept = [i for i, status in enumerate(result.status) if status in ("found", "misclassified")]
    images = result.adversarial[kept].cpu()
    flat = images.reshape(len(kept), -1)
    return tables.ADVERSARIAL.build(
        {
            "search_id": [names[i] for i in kept],
            "shape": [list(images.shape[1:])] * len(kept),
            "image": pa.ListArray.from_arrays(
                np.arange(len(kept) + 1, dtype=np.int32) * flat.shape[1], pa.array(flat.reshape(-1).numpy())
            ),
        },
        **key.columns,
    )


def _classes(classes: torch.Tensor) -> list[int | None]:
    return [None if c < 0 else c for c in classes.tolist()]


def _numbers(numbers: torch.Tensor) -> list[float | None]:
    return [None if x != x else x for x in numbers.tolist()]
