"""Tasks that feed images to models: clean ones, and those that were made for another model."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.data import Split
from intriguing.engine.worker import Work
from intriguing.errors import InputError
from intriguing.models import predict
from intriguing.stages.common.resources import device, device_name
from intriguing.stages.common.sampling import attacked_positions
from intriguing.stages.common.stored_images import StoredImages
from intriguing.stages.transfer import functions
from intriguing.transfer import Perturbed, amplify, gaussian_noise

_AT_ONCE = 1 << 22
"""Numbers of the images that are changed at once: 32 MB in float64."""


@functions.PREDICT_UNCHANGED.implementation
def predict_unchanged(work: Work, parameters: functions.UnchangedParameters) -> dict[str, pa.Table]:
    """What a model says of a shard of the attacked inputs, unchanged: rows of the table `transfer`."""
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[parameters.attacked.split]
    attacked, slots = attacked_positions(rows, parameters.attacked, parameters.shard), parameters.compute.slots
    fed, guesses = [np.empty(0, np.int64)], []
    for part in _parts(len(attacked), slots):
        pixels, readable, _ = rows.readable(attacked[part])
        fed.append(readable)
        guesses.append(_predictions(work, pixels, slots))
    chosen = np.concatenate(fed)
    zeros = np.zeros(len(chosen), dtype=np.float32)
    columns = {
        "search_id": [f"clean/{i}" for i in rows.ids[chosen]],
        "rms": zeros,
        "clipped_fraction": zeros,
        **_answers(rows, chosen, guesses),
    }
    keys = {**parameters.key.columns, "source_model": "", "source_seed": -1}
    return {"transfer": tables.TRANSFER.build(columns, **keys, grade="", target_rule="", kind="clean", size=None)}


@functions.PREDICT_CHANGED.implementation
def predict_changed(work: Work, parameters: functions.ChangedParameters) -> dict[str, pa.Table]:
    """What a model says of the images found for another model, and of noise of the same size: rows of `transfer`.

    Only searches with status `found` enter.
    """
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[parameters.split]
    searches = work.table("distortions", ["search_id", "example_id", "grade", "target_rule", "status"]).to_pandas()
    searches = searches[searches["status"] == "found"]
    stored = StoredImages(work.table("adversarial", ["search_id", "shape", "image"]))
    names, chosen = searches["search_id"].tolist(), rows.positions(searches["example_id"].to_numpy())
    fed: dict[str, list[Perturbed]] = {kind: [] for kind in parameters.kinds}
    guesses: dict[str, list[np.ndarray]] = {kind: [] for kind in parameters.kinds}
    # A batch at a time: beside the stored images, memory holds the pixels of one batch and what is fed in their place.
    for part in _parts(len(searches), parameters.compute.slots):
        pairs = _Pairs(rows.pixels(chosen[part]), stored, names[part])
        for kind in parameters.kinds:
            perturbed = _changed(kind, pairs, parameters.amplified_rms, parameters.seed)
            guesses[kind].append(_predictions(work, torch.from_numpy(perturbed.images), parameters.compute.slots))
            fed[kind].append(perturbed._replace(images=np.empty(0)))
    parts = []
    for kind in parameters.kinds:
        columns = {
            "search_id": names,
            "grade": searches["grade"].tolist(),
            "target_rule": searches["target_rule"].tolist(),
            "kind": [kind] * len(searches),
            "rms": _joined([one.rms_after for one in fed[kind]], np.float32),
            "clipped_fraction": _joined([one.clipped_fraction for one in fed[kind]], np.float32),
            **_answers(rows, chosen, guesses[kind]),
        }
        sources = {"source_model": parameters.source_model, "source_seed": parameters.source_seed}
        parts.append(tables.TRANSFER.build(columns, **parameters.key.columns, **sources, size=None))
    return {"transfer": pa.concat_tables(parts)}


class _Pairs:
    """The images of a batch and what their searches found, with the RMS of each change: (B,) float64."""

    def __init__(self, original: torch.Tensor, stored: StoredImages, names: list[str]) -> None:
        if stored.shape != tuple(original.shape[1:]):
            raise InputError(f"Stored images of shape {stored.shape} for a data set of {tuple(original.shape[1:])}.")
        self.original, self.names = original, names
        self._stored = stored
        # Arithmetic in float64 takes many times the pixels' own memory: few images at a time, where they are large.
        self.parts = list(_parts(len(names), max(1, _AT_ONCE // max(1, original[0].numel()))))
        self.rms = np.concatenate([_rms(self.changed(part), original[part]) for part in self.parts])

    def changed(self, part: slice) -> torch.Tensor:
        """What was found for a part of the batch, (n, *shape)."""
        return torch.from_numpy(self._stored.stack(self.names[part]))


def _changed(kind: str, pairs: _Pairs, amplified_rms: float, seed: int) -> Perturbed:
    """The images of one kind: as found, amplified to `amplified_rms`, or noise that is as large as what was found."""
    images = np.empty(tuple(pairs.original.shape), np.float32)
    done = []
    for part in pairs.parts:
        original, rms = pairs.original[part].numpy(), pairs.rms[part]
        match kind:
            case "minimal":
                zeros = np.zeros(len(rms), dtype=np.float32)
                one = Perturbed(pairs.changed(part).numpy(), rms.astype(np.float32), zeros)
            case "amplified":
                one = amplify(original, pairs.changed(part).numpy(), amplified_rms)
            case _:
                one = gaussian_noise(original, rms, seed, pairs.names[part], after_clipping=True)
        images[part] = one.images
        done.append(one)
    rms_after, clipped = (np.concatenate([one[i] for one in done]) for i in (1, 2))
    return Perturbed(images, rms_after, clipped)


def _rms(changed: torch.Tensor, original: torch.Tensor) -> np.ndarray:
    change = (changed.double() - original.double()).flatten(1)
    # A single row is added up by several threads at once, and rounded otherwise than a row among others.
    change = change.expand(2, -1) if len(change) == 1 else change
    return change.square().mean(dim=1).sqrt().numpy()[: len(changed)]


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _predictions(work: Work, images: torch.Tensor, slots: int) -> np.ndarray:
    return predict(work.resource("model"), images.to(device()), slots).argmax(dim=1).cpu().numpy()


def _answers(rows: Split, chosen: np.ndarray, guesses: list[np.ndarray]) -> dict[str, Any]:
    labels, predictions = rows.labels[chosen], _joined(guesses, np.int64)
    return {
        "example_id": rows.ids[chosen],
        "label": labels,
        "prediction": predictions,
        "is_error": predictions != labels,
    }


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, kind)
