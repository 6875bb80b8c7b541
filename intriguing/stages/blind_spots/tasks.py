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
def search(work: Work, p: functions.SearchParameters) -> dict[str, pa.Table]:
    """Search for the smallest changes of a shard of the attacked inputs; `distortions`, `adversarial`."""
    torch.set_num_threads(p.compute.threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[p.attacked.split]
    chosen = attacked_positions(rows, p.attacked, p.shard)
    ids, labels = rows.ids[chosen], rows.labels[chosen]
    targets: Any = "every" if p.target_rule == "every" else None
    if p.target_rule == "random":
        targets = torch.from_numpy(random_targets(ids, labels, p.classes, p.attacked.seed)).to(device())
    options = SearchOptions(grade=p.grade, slots=p.compute.slots)
    found = minimal_distortion(
        work.resource("model"),
        rows.pixels_or_nan(chosen).to(device()),  # one that cannot be read gets the status bad_input
        torch.from_numpy(np.array(labels)).to(device()),
        targets,
        options,
    )
    names = [f"{p.grade}/{p.target_rule}/{i}" for i in ids]
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
            **p.key.columns,
            target_rule=p.target_rule,
            grade=p.grade,
            penalty_form=options.penalty_form,
        ),
        "adversarial": _images(found, names, p.key),
    }


def _images(found: SearchResult, names: list[str], key: ModelKey) -> pa.Table:
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
        **key.columns,
    )


def _classes(found: torch.Tensor) -> list[int | None]:
    return [None if c < 0 else c for c in found.tolist()]


def _numbers(found: torch.Tensor) -> list[float | None]:
    return [None if x != x else x for x in found.tolist()]
