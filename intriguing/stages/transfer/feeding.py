"""What the tasks of this stage share: the images that searches found, and a model's answers to images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from intriguing.data import Split
from intriguing.engine.worker import KEPT_BYTES, Work
from intriguing.models import classes_of, predict
from intriguing.stages.common.resources import device
from intriguing.stages.common.stored_images import gathered
from intriguing.transfer import Perturbed

FOUND = ("distortions", "adversarial")
"""The inputs that a shard of searches has."""

_AT_ONCE = 1 << 18
"""Numbers of the images that are changed at once: 2 MB in float64, and arithmetic takes some ten such arrays."""


@dataclass(frozen=True, eq=False)
class Found:
    """The searches of a shard with status `found`: names, columns of their rows, positions in the split, and the
    images (n, *shape) float32, which nothing may change.
    """

    names: list[str]
    columns: dict[str, list[str]]
    positions: np.ndarray
    images: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def found_images(work: Work, rows: Split) -> Found:
    """What the shard of searches found that a task reads; a worker's next task that reads it finds it there."""
    return work.kept("found", FOUND, lambda: _found(work, rows))


def _found(work: Work, rows: Split) -> tuple[Found, int]:
    searches = work.table("distortions", ["search_id", "example_id", "grade", "target_rule", "status"]).to_pandas()
    searches = searches[searches["status"] == "found"]
    names, columns = searches["search_id"].tolist(), {key: searches[key].tolist() for key in ("grade", "target_rule")}
    positions = rows.positions(searches["example_id"].to_numpy())
    stored = work.slices("adversarial", ["search_id", "shape", "image"])
    images = gathered(stored, names, tuple(rows.images.shape[1:]))
    return Found(names, columns, positions, images), images.nbytes


def pieces(count: int, shape: tuple[int, ...], slots: int) -> list[slice]:
    """How `count` images are handled: all at once where a worker can keep them for its next task, else by batches."""
    whole = count * int(np.prod(shape)) * 4
    return list(parts(count, count if 2 * whole <= KEPT_BYTES else slots))


def built(
    count: int, shape: tuple[int, ...], make: Callable[[slice], Perturbed], *, images_too: bool = True
) -> Perturbed:
    """What `make` makes of `count` images of this shape, few at a time: arithmetic in float64 takes many times the
    memory of the pixels themselves. Without `images_too` no more is kept of them than their sizes.
    """
    images, done = np.empty((count if images_too else 0, *shape), np.float32), []
    for part in parts(count, _AT_ONCE // max(1, int(np.prod(shape)))):
        one = make(part)
        if images_too:
            images[part] = one.images
        done.append(without_images(one))
    return Perturbed(images, *(joined([one[i] for one in done], np.float32) for i in (1, 2)))


def without_images(changed: Perturbed) -> Perturbed:
    """What is known of changed images that are needed no longer."""
    return changed._replace(images=np.empty(0))


def parts(count: int, size: int) -> Iterator[slice]:
    """Slices of `size` that cover `count` things."""
    step = max(1, size)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def answering(work: Work, slots: int) -> Callable[[np.ndarray | torch.Tensor], np.ndarray]:
    """The function from images (n, *shape) float32 to the classes (n,) int64 that the task's model gives them, -1 for
    none.
    """
    model, where = work.resource("model"), device()

    def answer(images: np.ndarray | torch.Tensor) -> np.ndarray:
        fed = torch.from_numpy(images) if isinstance(images, np.ndarray) else images
        return classes_of(predict(model, fed.to(where), slots))

    return answer


def answers(rows: Split, positions: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
    """The columns of the table `transfer` that say what a model answered."""
    labels = rows.labels[positions]
    return {
        "example_id": rows.ids[positions],
        "label": labels,
        "prediction": predictions,
        "is_error": predictions != labels,
    }


def joined(arrays: list[np.ndarray], kind: type) -> np.ndarray:
    """The arrays one after another; an empty one of this kind where there is none."""
    return np.concatenate(arrays) if arrays else np.empty(0, kind)


def rms_of(changed: torch.Tensor, original: torch.Tensor) -> np.ndarray:
    """The RMS (n,) float64 of each image's change."""
    change = (changed.double() - original.double()).flatten(1)
    # A single row is added up by several threads at once, and rounded otherwise than a row among others.
    change = change.expand(2, -1) if len(change) == 1 else change
    return change.square().mean(dim=1).sqrt().numpy()[: len(changed)]


def lists(rows: np.ndarray, kind: pa.DataType) -> pa.ListArray:
    """A list per row of a matrix (n, m)."""
    return pa.ListArray.from_arrays(
        np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1], pa.array(rows.reshape(-1), kind)
    )
