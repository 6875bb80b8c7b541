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
    built,
    found_images,
    joined,
    pieces,
    rms_of,
    without_images,
)
from intriguing.transfer import Perturbed, amplify, gaussian_noise


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
        for piece in pieces(len(found), found.images.shape[1:], slots):
            changed = _kept(work, kind, rows, found, piece, parameters)
            guesses.append(answer(found.images[piece] if kind == "minimal" else changed.images))
            fed.append(without_images(changed))
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
        made = _changed(kind, rows, found, piece, parameters)
        return made, made.images.nbytes

    return work.kept(f"{kind} {piece} {parameters.amplified_rms} {parameters.seed}", FOUND, make)


def _changed(kind: str, rows: Split, found: Found, piece: slice, parameters: functions.ChangedParameters) -> Perturbed:
    """The images of one kind: amplified to `amplified_rms`, or noise that is as large as what was found.

    Those as found are in memory already: of them only the sizes.
    """

    def make(part: slice) -> Perturbed:
        here = slice(piece.start + part.start, piece.start + part.stop)
        original, images = rows.pixels(found.positions[here]), found.images[here]
        if kind == "amplified":
            return amplify(original.numpy(), images, parameters.amplified_rms)
        rms = rms_of(torch.from_numpy(images), original)
        if kind == "minimal":
            return Perturbed(images, rms.astype(np.float32), np.zeros(len(images), np.float32))
        return gaussian_noise(original.numpy(), rms, parameters.seed, found.names[here], after_clipping=True)

    return built(piece.stop - piece.start, found.images.shape[1:], make, images_too=kind != "minimal")
