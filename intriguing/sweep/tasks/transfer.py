"""Tasks that feed images to models: clean ones, and those that were made for another model."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.data import Split
from intriguing.engine.worker import Work
from intriguing.models import predict
from intriguing.sweep.resources import device, device_name
from intriguing.sweep.tasks.draws import attacked_positions
from intriguing.transfer import gaussian_noise


def clean(
    work: Work,
    dataset: str,
    model: str,
    model_seed: int,
    split: str,
    images: int,
    seed: int,
    start: int,
    stop: int,
    threads: int,
    slots: int,
) -> dict[str, pa.Table]:
    """Feed the attacked inputs `start` to `stop` unchanged."""
    torch.set_num_threads(threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[split]
    chosen = attacked_positions(rows, images, seed)[start:stop]
    zeros = np.zeros(len(chosen), dtype=np.float32)
    columns = {
        "search_id": [f"clean/{i}" for i in rows.ids[chosen]],
        "rms": zeros,
        "clipped_fraction": zeros,
        **_predicted(work, rows, chosen, rows.pixels(chosen), slots),
    }
    keys = {"dataset": dataset, "model": model, "model_seed": model_seed, "source_model": "", "source_seed": -1}
    return {"transfer": tables.TRANSFER.build(columns, **keys, grade="", target_rule="", kind="clean")}


def feed(
    work: Work,
    dataset: str,
    model: str,
    model_seed: int,
    source_model: str,
    source_seed: int,
    split: str,
    kinds: list[str],
    seed: int,
    threads: int,
    slots: int,
) -> dict[str, pa.Table]:
    """Feed what was found for another model, and noise of the same size; only searches with status `found` enter."""
    torch.set_num_threads(threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[split]
    found = work.table("distortions", ["search_id", "example_id", "grade", "target_rule", "status"]).to_pandas()
    images = {r["search_id"]: r for r in work.table("adversarial", ["search_id", "shape", "image"]).to_pylist()}
    found = found[found["status"] == "found"]
    chosen = rows.positions(found["example_id"].to_numpy())
    original = rows.pixels(chosen)
    changed = torch.tensor(
        np.array([images[s]["image"] for s in found["search_id"]], dtype=np.float32).reshape(tuple(original.shape))
    )
    rms = (changed.double() - original.double()).flatten(1).square().mean(dim=1).sqrt().numpy()
    parts = []
    for kind in kinds:
        fed, size, clipped = changed, rms.astype(np.float32), np.zeros(len(found), dtype=np.float32)
        if kind == "gaussian":
            noisy = gaussian_noise(original.numpy(), rms, seed, found["search_id"].tolist())
            fed, size, clipped = torch.from_numpy(noisy.images), noisy.rms_after, noisy.clipped_fraction
        columns = {
            "search_id": found["search_id"].tolist(),
            "grade": found["grade"].tolist(),
            "target_rule": found["target_rule"].tolist(),
            "kind": [kind] * len(found),
            "rms": size,
            "clipped_fraction": clipped,
            **_predicted(work, rows, chosen, fed, slots),
        }
        keys = {"dataset": dataset, "model": model, "model_seed": model_seed}
        parts.append(tables.TRANSFER.build(columns, **keys, source_model=source_model, source_seed=source_seed))
    return {"transfer": pa.concat_tables(parts)}


def _predicted(work: Work, rows: Split, chosen: np.ndarray, images: torch.Tensor, slots: int) -> dict[str, Any]:
    labels = rows.labels[chosen]
    logits = predict(work.resource("model"), images.to(device()), slots)
    predictions = logits.argmax(dim=1).cpu().numpy()
    return {
        "example_id": rows.ids[chosen],
        "label": labels,
        "prediction": predictions,
        "is_error": predictions != labels,
    }
