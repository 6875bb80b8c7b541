"""What a data set is: splits of images and labels, checked when built. Pixels stay uint8 until a batch is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from intriguing.data.files import frozen
from intriguing.errors import DataError, unknown_name

if TYPE_CHECKING:
    import torch

# Resizing in float32 leaves values like -3e-8; they are clipped, what lies further out is an error.
TOLERANCE = 1e-6


class Images(Protocol):
    """What a split keeps its images in: an array (N, C, H, W), or something that decodes rows when asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """uint8 (0 to 255) or float32 (0 to 1)."""
        ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Skipped:
    """A file that a data set left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W) as uint8 or as float32 in [0, 1], labels (N,) int64, and ids (N,) int64."""

    images: Images
    labels: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, indices: "Sequence[int] | np.ndarray | torch.Tensor | slice") -> "torch.Tensor":
        """The images at these positions of the split, as a float32 tensor (n, C, H, W) in [0, 1].

        Raises `DataError` naming the example when a pixel is NaN or out of range, or when a photo cannot be decoded.
        """
        import torch

        if isinstance(indices, torch.Tensor):
            indices = indices.cpu().numpy()
        rows = np.arange(len(self))[indices] if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        values = self.images[rows]
        if values.dtype == np.uint8:
            # A copy: torch does not take read-only arrays or the strides of NHWC files.
            return torch.from_numpy(np.array(values, order="C")).to(torch.float32).div_(255.0)
        check_range(values, self.ids[rows])
        return torch.from_numpy(np.array(values, np.float32, order="C")).clamp_(0.0, 1.0)

    def positions(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Where the examples with these `ids` stand in the split: (n,) int64. Raises `DataError` for an id it lacks."""
        wanted = np.asarray(ids, dtype=np.int64)
        order = np.argsort(self.ids, kind="stable")
        found = np.minimum(np.searchsorted(self.ids, wanted, sorter=order), len(self) - 1)
        missing = wanted[self.ids[order[found]] != wanted]
        if missing.size:
            raise DataError(
                f"The split has no example {int(missing[0])} ({missing.size} of {wanted.size} ids lacking)."
            )
        return order[found]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: `splits` ("train", "test", or one of them), images of `shape` (C, H, W), and how many `classes`.

    `content_hash` is the SHA-256 of what it was read from, `skipped` lists files that could not be read.
    """

    source: str
    splits: dict[str, Split]
    shape: tuple[int, int, int]
    classes: int
    content_hash: str
    skipped: tuple[Skipped, ...] = field(default=())

    @property
    def name(self) -> str:
        """The source that it was loaded from."""
        return self.source

    def split(self, name: str) -> Split:
        """The split called `name`; raises `UnknownNameError` listing those there are."""
        if name not in self.splits:
            raise unknown_name(f"split of data set {self.source!r}", name, self.splits)
        return self.splits[name]


def check_range(values: np.ndarray, ids: np.ndarray) -> None:
    """Raise `DataError`, naming the first bad example, where `values` (n, ...) are NaN or outside [0, 1]."""
    flat = values.reshape(len(values), -1)
    good = ((flat >= -TOLERANCE) & (flat <= 1 + TOLERANCE)).all(axis=1)
    if good.all():
        return
    worst = int(np.argmin(good))
    if not np.isfinite(flat[worst]).all():
        raise DataError(f"Example {int(ids[worst])} has a pixel that is NaN or infinite. Remove or repair it.")
    low, high = float(flat[worst].min()), float(flat[worst].max())
    raise DataError(
        f"Example {int(ids[worst])} has pixels from {low:g} to {high:g}; they must lie in [0, 1]. "
        "Undo the normalisation (it belongs in the model, as a layer) or give uint8 images of 0 to 255."
    )


def as_nchw(images: np.ndarray, what: str) -> np.ndarray:
    """Images given as (N, H, W), (N, H, W, C) or (N, C, H, W), as (N, C, H, W): uint8 as it is, floats as float32.

    In four dimensions the axis of size 1, 3 or 4 holds the channels; where both could, (N, C, H, W) is taken. Raises
    `DataError` for another rank or type.
    """
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{what}: images of type {images.dtype}; give uint8 (0 to 255) or floats in [0, 1].")
    if images.ndim not in (3, 4):
        raise DataError(f"{what}: images of shape {images.shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W).")
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[1] not in (1, 3, 4) and images.shape[3] in (1, 3, 4):
        images = images.transpose(0, 3, 1, 2)
    return images if images.dtype == np.uint8 else images.astype(np.float32, copy=False)


def _labels(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    if labels.shape != (count,):
        raise DataError(f"{what}: {count} images and labels of shape {labels.shape}; give one label per image.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{what}: labels of type {labels.dtype}; give integers from 0.")
    return labels.astype(np.int64)


def build_dataset(
    source: str,
    parts: Mapping[str, tuple[Images, np.ndarray, np.ndarray | None]],
    content_hash: str,
    classes: int | None = None,
    skipped: Sequence[Skipped] = (),
) -> Dataset:
    """A checked data set from splits given as (images (N, C, H, W), labels (N,), ids (N,) or None to number them).

    `classes` None takes one more than the largest label. Raises `DataError` for an empty split, images of different
    shapes, labels out of range, a single class, repeated ids, NaN or out-of-range pixels.
    """
    splits: dict[str, Split] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    first = 0
    for name, (images, labels, ids) in parts.items():
        what = f"Data set {source!r}, split {name!r}"
        count = int(images.shape[0])
        if count == 0:
            raise DataError(f"{what} is empty. Give at least one image, or leave the split out.")
        numbers = np.arange(first, first + count) if ids is None else np.asarray(ids)
        first += count
        if numbers.shape != (count,) or not np.issubdtype(numbers.dtype, np.integer):
            raise DataError(f"{what}: {count} images and ids of shape {numbers.shape}; give one integer per image.")
        kept = frozen(images) if isinstance(images, np.ndarray) else images
        numbers = numbers.astype(np.int64)
        splits[name] = Split(kept, frozen(_labels(np.asarray(labels), count, what)), frozen(numbers))
        shapes[name] = tuple(int(n) for n in images.shape[1:])
    if not splits:
        raise DataError(f"Data set {source!r} is empty: it has no split. Give 'train', 'test' or both.")
    if len(set(shapes.values())) > 1:
        raise DataError(f"Data set {source!r} has images of different shapes: {shapes}. Make them the same.")
    _check_labels(source, splits, classes)
    everyone = np.concatenate([s.ids for s in splits.values()])
    if len(np.unique(everyone)) < len(everyone):
        raise DataError(f"Data set {source!r} repeats an id; ids must be unique over all splits.")
    for s in splits.values():
        if isinstance(s.images, np.ndarray) and s.images.dtype != np.uint8:
            for start in range(0, len(s), 4096):
                check_range(s.images[start : start + 4096], s.ids[start : start + 4096])
    channels, height, width = next(iter(shapes.values()))
    largest = max(int(s.labels.max()) for s in splits.values())
    return Dataset(source, splits, (channels, height, width), classes or largest + 1, content_hash, tuple(skipped))


def _check_labels(source: str, splits: Mapping[str, Split], classes: int | None) -> None:
    for name, split in splits.items():
        bad = np.flatnonzero((split.labels < 0) | (split.labels >= (classes or np.iinfo(np.int64).max)))
        if bad.size:
            top = f"to {classes - 1}" if classes else "upwards"
            raise DataError(
                f"Data set {source!r}, split {name!r}: example {int(split.ids[bad[0]])} has the label "
                f"{int(split.labels[bad[0]])}; labels run from 0 {top}."
            )
    seen = np.unique(np.concatenate([s.labels for s in splits.values()]))
    if len(seen) < 2:
        raise DataError(
            f"Data set {source!r} has one class only (label {int(seen[0])}); a classifier needs two. "
            "Add images of another class."
        )
