"""Tasks that feed images to models: clean ones, and those that were made for another model."""

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.data import Split
from intriguing.engine.worker import Work
from intriguing.stages.common.clean import clean_predictions
from intriguing.stages.common.resources import device_name
from intriguing.stages.common.sampling import attacked_positions
from intriguing.stages.transfer import functions
from intriguing.stages.transfer.feeding import (
    FOUND,
    Found,
    answering,
    answers,
    found_images,
    joined,
    parts,
    pieces,
    rms_of,
)
from intriguing.transfer import Perturbed, amplify, gaussian_noise

_AT_ONCE = 1 << 22
"""Numbers of the images that are changed at once: 32 MB in float64."""


@functions.PREDICT_UNCHANGED.implementation
def predict_unchanged(work: Work, parameters: functions.UnchangedParameters) -> dict[str, pa.Table]:
    """What a model says of a shard of the attacked inputs, unchanged: rows of the table `transfer`."""
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[parameters.attacked.split]
    attacked = attacked_positions(rows, parameters.attacked, parameters.shard)
    chosen, predictions = clean_predictions(work, rows, attacked, parameters.compute.slots)
    zeros = np.zeros(len(chosen), dtype=np.float32)
    columns = {
        "search_id": [f"clean/{i}" for i in rows.ids[chosen]],
        "rms": zeros,
        "clipped_fraction": zeros,
        **answers(rows, chosen, predictions),
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
    rows, slots = work.resource("dataset").splits[parameters.split], parameters.compute.slots
    found, answer = found_images(work, rows), answering(work, slots)
    tables_of_kinds = [tables.TRANSFER.schema.empty_table()]
    for kind in parameters.kinds:
        fed, guesses = list[Perturbed](), []
        for piece in pieces(len(found), tuple(rows.images.shape[1:]), slots):
            images = _kept(work, kind, rows, found, piece, parameters)
            guesses.append(answer(images.images))
            fed.append(images._replace(images=np.empty(0)))
        columns = {
            "search_id": found.names,
            **found.columns,
            "kind": [kind] * len(found),
            "rms": joined([one.rms_after for one in fed], np.float32),
            "clipped_fraction": joined([one.clipped_fraction for one in fed], np.float32),
            **answers(rows, found.positions, joined(guesses, np.int64)),
        }
        sources = {"source_model": parameters.source_model, "source_seed": parameters.source_seed}
        tables_of_kinds.append(tables.TRANSFER.build(columns, **parameters.key.columns, **sources, size=None))
    return {"transfer": pa.concat_tables(tables_of_kinds)}


def _kept(
    work: Work, kind: str, rows: Split, found: Found, piece: slice, parameters: functions.ChangedParameters
) -> Perturbed:
    """The images of one kind, which the worker keeps for the next model that is fed them."""

    def make() -> tuple[Perturbed, int]:
        images = _changed(kind, rows, found, piece, parameters)
        return images, images.images.nbytes

    return work.kept(f"{kind} {piece} {parameters.amplified_rms} {parameters.seed}", FOUND, make)


def _changed(kind: str, rows: Split, found: Found, piece: slice, parameters: functions.ChangedParameters) -> Perturbed:
    """The images of one kind: as found, amplified to `amplified_rms`, or noise that is as large as what was found."""
    count, shape = piece.stop - piece.start, tuple(rows.images.shape[1:])
    images, done = np.empty((count, *shape), np.float32), []
    # Arithmetic in float64 takes many times the pixels' own memory: few images at a time, where they are large.
    for part in parts(count, min(parameters.compute.slots, _AT_ONCE // max(1, int(np.prod(shape))))):
        here = slice(piece.start + part.start, piece.start + part.stop)
        names, original = found.names[here], rows.pixels(found.positions[here])
        stored = torch.from_numpy(found.stored.stack(names))
        match kind:
            case "minimal":
                rms, none = rms_of(stored, original), np.zeros(len(names), dtype=np.float32)
                one = Perturbed(stored.numpy(), rms.astype(np.float32), none)
            case "amplified":
                one = amplify(original.numpy(), stored.numpy(), parameters.amplified_rms)
            case _:
                rms = rms_of(stored, original)
                one = gaussian_noise(original.numpy(), rms, parameters.seed, names, after_clipping=True)
        images[part] = one.images
        done.append(one._replace(images=np.empty(0)))
    rms_after, clipped = (joined([one[i] for one in done], np.float32) for i in (1, 2))
    return Perturbed(images, rms_after, clipped)
