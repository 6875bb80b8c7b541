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
from intriguing.transfer import Perturbed, amplify, gaussian_noise


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
    pixels, chosen, _ = rows.readable(attacked_positions(rows, images, seed)[start:stop])
    zeros = np.zeros(len(chosen), dtype=np.float32)
    columns = {
        "search_id": [f"clean/{i}" for i in rows.ids[chosen]],
        "rms": zeros,
        "clipped_fraction": zeros,
        **_predicted(work, rows, chosen, pixels, slots),
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
    amplified_rms: float,
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
        made = _changed(kind, original, changed, rms, amplified_rms, seed, found["search_id"].tolist())
        columns = {
            "search_id": found["search_id"].tolist(),
            "grade": found["grade"].tolist(),
            "target_rule": found["target_rule"].tolist(),
            "kind": [kind] * len(found),
            "rms": made.rms_after,
            "clipped_fraction": made.clipped_fraction,
            **_predicted(work, rows, chosen, torch.from_numpy(made.images), slots),
        }
        keys = {"dataset": dataset, "model": model, "model_seed": model_seed}
        parts.append(tables.TRANSFER.build(columns, **keys, source_model=source_model, source_seed=source_seed))
    return {"transfer": pa.concat_tables(parts)}


def _changed(
    kind: str,
    original: torch.Tensor,
    changed: torch.Tensor,
    rms: np.ndarray,
    amplified_rms: float,
    seed: int,
    names: list[str],
) -> Perturbed:
    """The images of one kind: as found, amplified to `amplified_rms`, or noise that is as large as what was found."""
    match kind:
        case "minimal":
            return Perturbed(changed.numpy(), rms.astype(np.float32), np.zeros(len(rms), dtype=np.float32))
        case "amplified":
            return amplify(original.numpy(), changed.numpy(), amplified_rms)
        case _:
            return gaussian_noise(original.numpy(), rms, seed, names, after_clipping=True)


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
