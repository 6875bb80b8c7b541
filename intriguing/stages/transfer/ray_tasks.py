"""Tasks that follow rays: through the images that were made for another model, and through noise as their control."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing import tables
from intriguing.data import Split
from intriguing.engine.worker import Work
from intriguing.stages.common.resources import device_name
from intriguing.stages.transfer import functions
from intriguing.stages.transfer.feeding import (
    FOUND,
    answering,
    answers,
    built,
    found_images,
    joined,
    lists,
    parts,
    pieces,
    without_images,
)
from intriguing.transfer import Followed, Perturbed, Rays, directions, follow, gaussian_noise


@dataclass(frozen=True)
class _RaySource:
    """How the rays of a task are made, and what names them in the worker's memory."""

    make: Callable[[slice], Rays]
    """The rays of a piece of the positions."""
    inputs: tuple[str, ...]
    """The task's inputs that they are made of."""
    part: str = ""
    """Which part of these inputs."""


NO_SOURCE = {"source_model": "", "source_seed": -1, "grade": "", "target_rule": ""}
"""The columns that name a source, for images that were made for no model."""


@functions.FOLLOW_RAYS.implementation
def follow_rays(work: Work, parameters: functions.RaysParameters) -> dict[str, pa.Table]:
    """What a model says along the rays through the images found for another model: rows of the table `rays`."""
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[parameters.split]
    found = found_images(work, rows)

    def rays(piece: slice) -> Rays:
        clean = rows.pixels(found.positions[piece]).numpy()
        return Rays(clean, found.images[piece])

    columns = {
        "search_id": found.names,
        **found.columns,
        **_followed(work, rows, found.positions, _RaySource(rays, FOUND), parameters),
    }
    keys = {**parameters.key.columns, "source_model": parameters.source_model, "source_seed": parameters.source_seed}
    return {"rays": tables.RAYS.build(columns, **keys, kind="adversarial")}


@functions.FEED_NOISE.implementation
def feed_noise(work: Work, parameters: functions.NoiseParameters) -> dict[str, pa.Table]:
    """What a model says of the attacked inputs plus Gaussian noise: of fixed sizes (`transfer`), along rays (`rays`).

    The images are those that the clean row has: the readable ones.
    """
    torch.set_num_threads(parameters.compute.threads)
    work.device = device_name()
    rows = work.resource("dataset").splits[parameters.attacked.split]
    positions = rows.positions(work.table("clean", ["example_id"])["example_id"].to_numpy())
    outputs = [_of_fixed_size(work, rows, positions, size, parameters) for size in parameters.noise]
    names = [f"noise/{i}" for i in rows.ids[positions]]
    seed = parameters.attacked.seed

    def rays(piece: slice) -> Rays:
        clean = rows.pixels(positions[piece]).numpy()
        here = names[piece]
        return Rays(
            clean, lambda at: clean[at] + directions(clean[at].shape, seed, [here[i] for i in at]), inside=False
        )

    # Without sizes nothing is followed, and the table has no rows.
    followed = positions if parameters.sizes else positions[:0]
    source = _RaySource(rays, ("dataset",), f"{parameters.shard} {seed}")
    columns = {
        "search_id": names[: len(followed)],
        **_followed(work, rows, followed, source, parameters),
    }
    keys = {**parameters.key.columns, **NO_SOURCE, "kind": "gaussian"}
    return {
        "transfer": pa.concat_tables([tables.TRANSFER.schema.empty_table(), *outputs]),
        "rays": tables.RAYS.build(columns, **keys),
    }


def _of_fixed_size(
    work: Work, rows: Split, positions: np.ndarray, size: float, parameters: functions.NoiseParameters
) -> pa.Table:
    """Rows of kind `noise`: the images plus noise of this standard deviation, clipped."""
    slots, seed = parameters.compute.slots, parameters.attacked.seed
    names = [f"noise/{i}" for i in rows.ids[positions]]
    answer, fed, guesses = answering(work, slots), list[Perturbed](), []
    for batch in parts(len(positions), slots):
        at, called = positions[batch], names[batch]

        def make(part: slice, at: np.ndarray = at, called: list[str] = called) -> Perturbed:
            return gaussian_noise(rows.pixels(at[part]).numpy(), size, seed, called[part])

        noisy = built(len(at), tuple(rows.images.shape[1:]), make)
        guesses.append(answer(noisy.images))
        fed.append(without_images(noisy))
    columns = {
        "search_id": [f"noise/{size:g}/{i}" for i in rows.ids[positions]],
        "rms": joined([one.rms_after for one in fed], np.float32),
        "clipped_fraction": joined([one.clipped_fraction for one in fed], np.float32),
        **answers(rows, positions, joined(guesses, np.int64)),
    }
    return tables.TRANSFER.build(columns, **parameters.key.columns, **NO_SOURCE, kind="noise", size=size)


def _followed(
    work: Work,
    rows: Split,
    positions: np.ndarray,
    source: _RaySource,
    parameters: functions.RaysParameters | functions.NoiseParameters,
) -> dict[str, Any]:
    """The columns of the table `rays`: those of the images at these positions, followed piece by piece.

    The rays of a piece are kept for the worker's next task.
    """
    sizes, slots = parameters.sizes, parameters.compute.slots
    answer, labels, done = answering(work, slots), rows.labels[positions], list[Followed]()
    clean = _clean_predictions(work, rows.ids[positions])
    shape = tuple(rows.images.shape[1:])
    for piece in pieces(len(positions), shape, slots):

        def make(piece: slice = piece) -> tuple[Rays, int]:
            made = source.make(piece)
            return made, made.nbytes

        kept = work.kept(f"rays {piece}", source.inputs, make, source.part)
        done.append(follow(kept, sizes, labels[piece], clean[piece], answer))
    none = np.zeros((len(sizes), 0))
    rms, predictions = (np.hstack([none, *(getattr(one, key) for one in done)]).T for key in ("rms", "predictions"))
    crossing, below = (joined([getattr(one, key) for one in done], float) for key in ("crossing", "right_below"))
    return {
        "example_id": rows.ids[positions],
        "label": labels,
        "clean_error": clean != labels,
        "sizes": lists(np.tile(np.asarray(sizes), (len(positions), 1)), pa.float32()),
        "rms": lists(rms, pa.float32()),
        "predictions": lists(predictions.astype(np.int64), pa.int64()),
        "status": joined([one.status for one in done], str).tolist(),
        "crossing": pa.array(crossing, pa.float32(), from_pandas=True),
        "right_below": pa.array(below, pa.float32(), from_pandas=True),
        "forward_passes": joined([one.passes for one in done], np.int64),
    }


def _clean_predictions(work: Work, ids: np.ndarray) -> np.ndarray:
    """What the model answered to the unchanged images with these ids, (n,) int64, as its clean row says."""
    rows = work.table("clean", ["example_id", "prediction"])
    known, said = rows["example_id"].to_numpy(), rows["prediction"].to_numpy()
    order = np.argsort(known, kind="stable")
    return said[order[np.searchsorted(known, ids, sorter=order)]]
