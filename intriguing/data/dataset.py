"""Data sets: splits of images and labels, checked when built. Pixels remain uint8 until a batch is read."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from intriguing.basics.text.brief import brief
from intriguing.basics.text.printable import printable
from intriguing.data.files import frozen
from intriguing.errors import DataError, unknown_name

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)

# Resizing in float32 gives values like -3e-8, which are clipped; values further outside are an error.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Names:
    """Names of the classes, in the order of the labels, and of the examples of each split."""

    classes: tuple[str, ...] = ()
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Images(Protocol):
    """The images of a split: an array (N, C, H, W), or an object that decodes rows on demand."""

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
    """A file that was left out of a data set, and the reason; `id` is the one that it would have, or -1."""

    path: str
    reason: str
    id: int = -1


@dataclass(frozen=True, eq=False)
class Split:
    """Images (N, C, H, W) as uint8 or as float32 in [0, 1], labels (N,) int64, and ids (N,) int64.

    `paths` are the names of the examples: files below the data set's folder, or a user's names; may be empty.
    """

    images: Images
    labels: np.ndarray
    ids: np.ndarray
    paths: tuple[str, ...] = ()

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, indices: "Sequence[int] | np.ndarray | torch.Tensor | slice") -> "torch.Tensor":
        """The images at these positions of the split, as a float32 tensor (n, C, H, W) in [0, 1].

        Raises: `DataError` with the example if a pixel is NaN or out of range, or a photo cannot be decoded.
        """
        import torch

        if isinstance(indices, torch.Tensor):
            indices = indices.cpu().numpy()
        rows = np.arange(len(self))[indices] if isinstance(indices, slice) else np.asarray(indices, dtype=np.int64)
        values = self.images[rows]
        if values.dtype == np.uint8:
            # torch does not accept read-only arrays or the strides of NHWC files.
            # An axis of length 1 may have any stride in an array of order C; a model's `view` is to meet plain ones.
            pixels = torch.from_numpy(np.require(values, None, ["C", "W"]))
            return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255.0)
        check_range(values, self.ids[rows])
        return torch.from_numpy(np.array(values, np.float32, order="C")).clamp_(0.0, 1.0)

    def readable(self, positions: np.ndarray) -> "tuple[torch.Tensor, np.ndarray, list[Skipped]]":
        """The readable images among the `positions` (n,), their positions, and the unreadable ones with reasons.

        Images are (m, C, H, W), positions (m,) in the given order.
        """
        import torch

        try:
            return self.pixels(positions), np.asarray(positions, dtype=np.int64), []
        except DataError:
            images, good, bad = [], [], []
        for at in positions:
            try:
                images.append(self.pixels([int(at)]))
                good.append(int(at))
            except DataError as error:
                name = self.paths[int(at)] if self.paths else ""
                bad.append(Skipped(name, str(error), int(self.ids[int(at)])))
        shape = (0, *self.images.shape[1:])
        return torch.cat(images) if images else torch.zeros(shape), np.array(good, dtype=np.int64), bad

    def pixels_or_nan(self, positions: np.ndarray) -> "torch.Tensor":
        """The images (n, C, H, W) at these positions, NaN for those that cannot be read."""
        import torch

        images, at, bad = self.readable(positions)
        if not bad:
            return images
        every = torch.full((len(positions), *self.images.shape[1:]), torch.nan, dtype=torch.float32)
        every[torch.from_numpy(np.isin(np.asarray(positions), at))] = images
        return every

    def positions(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """The positions (n,) int64 of the examples with these `ids`. Raises: `DataError` for an unknown id."""
        numbers = np.asarray(ids, dtype=np.int64)
        order = np.argsort(self.ids, kind="stable")
        places = np.minimum(np.searchsorted(self.ids, numbers, sorter=order), len(self) - 1)
        missing = numbers[self.ids[order[places]] != numbers]
        if missing.size:
            raise DataError(
                f"The split has no example {int(missing[0])} ({missing.size} of {numbers.size} ids lacking)."
            )
        return order[places]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: `splits` ("train", "test", or one of them), images of `shape` (C, H, W), and how many `classes`.

    `content_hash` is the SHA-256 of its source, `skipped` lists files that could not be read, `class_names` are the
    names of the classes by label (may be empty).
    """

    source: str
    splits: dict[str, Split]
    shape: tuple[int, int, int]
    classes: int
    content_hash: str
    skipped: tuple[Skipped, ...] = field(default=())
    class_names: tuple[str, ...] = ()

    __repr__ = brief

    @property
    def name(self) -> str:
        """The source that it was loaded from."""
        return self.source

    def split(self, name: str) -> Split:
        """The split with this `name`. Raises: `UnknownNameError` with the names of the splits."""
        if name not in self.splits:
            raise unknown_name(f"split of data set {self.source!r}", name, self.splits)
        return self.splits[name]

    @property
    def names_hash(self) -> str:
        """SHA-256 of the names of classes and examples; empty if there are none."""
        named = {name: split.paths for name, split in self.splits.items() if split.paths}
        if not (named or self.class_names):
            return ""
        return hashlib.sha256(json.dumps([self.class_names, named]).encode()).hexdigest()


def check_range(values: np.ndarray, ids: np.ndarray, what: str = "Example") -> None:
    """Raise `DataError` with the first bad example if `values` (n, ...) are NaN or outside [0, 1].

    what: how the message begins, before the example's number.
    """
    flat = values.reshape(len(values), -1)
    good = ((flat >= -TOLERANCE) & (flat <= 1 + TOLERANCE)).all(axis=1)
    if good.all():
        return
    worst = int(np.argmin(good))
    if not np.isfinite(flat[worst]).all():
        raise DataError(f"{what} {int(ids[worst])} has a pixel that is NaN or infinite. Remove or repair it.")
    low, high = float(flat[worst].min()), float(flat[worst].max())
    raise DataError(
        f"{what} {int(ids[worst])} has pixels from {low:g} to {high:g}; they must lie in [0, 1]. "
        f"{_way_to_01(float(np.nanmin(values)), float(np.nanmax(values)))}"
    )


def _way_to_01(low: float, high: float) -> str:
    """How floats from `low` to `high` come to lie in [0, 1]."""
    if low >= 0 and 2 < high <= 255:
        return "If they run from 0 to 255, divide by 255, or give them as uint8."
    if low >= 0 and 255 < high <= 65_535:
        return "Divide by the largest value that a pixel can have (65535 of 16 bits, 4095 of 12)."
    undo = "Undo the normalisation (it belongs in the model, as a layer)"
    if -1 <= low < 0 and high <= 1:
        return f"{undo}: from -1 to 1 it is undone by (images + 1) / 2."
    return f"{undo} or give uint8 images of 0 to 255."


def as_nchw(images: np.ndarray, what: str, channels: Literal["first", "last"] | None = None) -> np.ndarray:
    """Images given as (N, H, W), (N, H, W, C) or (N, C, H, W), as (N, C, H, W): uint8 as it is, floats as float32.

    channels: the axis of the channels in four dimensions. None: the axis of size 1, 3 or 4; if both or none have such a
    size, the one for which the other two axes are equal. Raises: `DataError` if this gives no answer, and for another
    rank or dtype.
    """
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{what}: images of type {images.dtype}; {_line_for(images)}")
    if images.ndim not in (3, 4):
        raise DataError(
            f"{what}: images of shape {images.shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W), as "
            "images.reshape(N, H, W) makes them of rows, and images[None] of a single image."
        )
    if images.ndim == 3:
        images = images[:, None]
    elif (channels or _channel_axis(images.shape, what)) == "last":
        images = images.transpose(0, 3, 1, 2)
    return images if images.dtype == np.uint8 else images.astype(np.float32, copy=False)


def _channel_axis(shape: tuple[int, ...], what: str) -> Literal["first", "last"]:
    if shape[1:] == (1, 1, 1):
        return "first"  # both are the same
    usual = shape[1] in (1, 3, 4), shape[3] in (1, 3, 4)
    if usual[0] != usual[1]:
        return "first" if usual[0] else "last"
    square = shape[2] == shape[3], shape[1] == shape[2]
    if square[0] != square[1]:
        return "first" if square[0] else "last"
    raise DataError(
        f"{what}: images of shape {shape} are {shape[1]} channels of {shape[2]} x {shape[3]}, or {shape[3]} channels "
        f"of {shape[1]} x {shape[2]}: say which by an entry channels beside the images, 'first' or 'last' (in an npz "
        "file: np.savez(..., channels='first'))."
    )


def _line_for(images: np.ndarray) -> str:
    """A line of code that converts images that are neither uint8 nor floats."""
    if images.dtype == np.bool_:
        return "give images.astype('uint8') * 255."
    if images.dtype.kind in "ui" and images.size:
        low, high = int(images.min()), int(images.max())
        if low >= 0 and high <= 255:
            return "they lie within 0 to 255: give images.astype('uint8')."
        return f"they run from {low} to {high}: give floats in [0, 1], such as images / {max(high, 1)}."
    return "give uint8 (0 to 255) or floats in [0, 1]."


def _labels(labels: np.ndarray, count: int, what: str) -> np.ndarray:
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,):
        hint = " One-hot rows become labels by labels.argmax(axis=1)." if labels.ndim == 2 else ""
        raise DataError(f"{what}: {count} images and labels of shape {labels.shape}; give one label per image.{hint}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{what}: labels of type {labels.dtype}; give integers from 0{_labels_line(labels)}.")
    return labels.astype(np.int64)


def _is_whole(value: object) -> bool:
    """Whether a label is a whole number, written as text or not."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return re.fullmatch(r"\s*[+-]?\d+\s*", text, re.ASCII) is not None


def _labels_line(labels: np.ndarray) -> str:
    if labels.dtype.kind == "b" or (labels.dtype.kind in "USO" and all(_is_whole(v) for v in labels.tolist())):
        return ": labels.astype('int64')"  # numpy.unique would number the text 10 before the text 2
    if labels.dtype.kind in "USO":
        return ": class_names, labels = numpy.unique(labels, return_inverse=True)"
    if labels.dtype.kind == "f" and np.array_equal(labels, np.round(labels)):
        return ": labels.astype('int64')"
    return ""


def build_dataset(
    source: str,
    parts: Mapping[str, tuple[Images, np.ndarray, np.ndarray | None]],
    content_hash: str,
    classes: int | None = None,
    skipped: Sequence[Skipped] = (),
    names: Names | None = None,
) -> Dataset:
    """A checked data set from splits given as (images (N, C, H, W), labels (N,), ids (N,) or None to number them).

    classes: None means the number of class names, or without names the largest label + 1; then every label must occur.

    Raises: `DataError` for an empty split, images of different shapes, labels out of range or with gaps, a single
    class, repeated ids, NaN or out-of-range pixels.
    """
    names = names or Names()
    if classes is None and names.classes:
        classes = len(names.classes)
    if names.classes and len(names.classes) != classes:
        raise DataError(f"Data set {source!r} has {len(names.classes)} class names for {classes} classes.")
    splits: dict[str, Split] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    first = 0
    for name, (images, labels, ids) in parts.items():
        what, paths = f"Data set {source!r}, split {name!r}", names.paths.get(name, ())
        splits[name] = _split(what, images, labels, ids, first, paths)
        shapes[name] = tuple(int(n) for n in images.shape[1:])
        first += len(splits[name])
    if not splits:
        raise DataError(f"Data set {source!r} is empty: it has no split. Give 'train', 'test' or both.")
    if len(set(shapes.values())) > 1:
        raise DataError(f"Data set {source!r} has images of different shapes: {shapes}. Make them the same.")
    _check_labels(source, splits, classes)
    everyone = np.concatenate([s.ids for s in splits.values()])
    if len(np.unique(everyone)) < len(everyone):
        raise DataError(f"Data set {source!r} repeats an id; ids must be unique over all splits.")
    for name, s in splits.items():
        if isinstance(s.images, np.ndarray) and s.images.dtype != np.uint8:
            for start in range(0, len(s), 4096):
                rows = slice(start, start + 4096)
                check_range(s.images[rows], s.ids[rows], f"Data set {source!r}, split {name!r}: example")
    if {"train", "test"} <= splits.keys():
        _tell_untrained(
            source, *(tuple(np.unique(splits[s].labels).tolist()) for s in ("train", "test")), names.classes
        )
    channels, height, width = next(iter(shapes.values()))
    largest = max(int(s.labels.max()) for s in splits.values())
    shape = (channels, height, width)
    return Dataset(source, splits, shape, classes or largest + 1, content_hash, tuple(skipped), names.classes)


@cache
def _tell_untrained(source: str, train: tuple[int, ...], test: tuple[int, ...], names: tuple[str, ...]) -> None:
    """Log, once per process, which classes of the split `test` have no example in `train`."""
    if absent := sorted(set(test) - set(train)):
        shown = ", ".join(f"{label} ({names[label]})" if names else str(label) for label in absent[:3])
        _LOG.warning(
            "Data set %r: the split 'test' has examples of classes of which 'train' has none, so that no model learns "
            "them there: %s%s. Do both splits have the same classes, by the same names and numbers?",
            source,
            printable(shown),
            f" and {len(absent) - 3} more" if len(absent) > 3 else "",
        )


def _split(
    what: str, images: Images, labels: np.ndarray, ids: np.ndarray | None, first: int, paths: tuple[str, ...]
) -> Split:
    """A checked split; without `ids` its examples are numbered from `first`. `what` opens the message of an error."""
    count = int(images.shape[0])
    if count == 0:
        raise DataError(f"{what} is empty. Give at least one image, or leave the split out.")
    if 0 in images.shape:
        raise DataError(f"{what}: images of shape {tuple(images.shape)} have no pixels.")
    numbers = np.arange(first, first + count) if ids is None else np.asarray(ids)
    if numbers.shape != (count,) or not np.issubdtype(numbers.dtype, np.integer):
        raise DataError(f"{what}: {count} images and ids of shape {numbers.shape}; give one integer per image.")
    stored = frozen(images) if isinstance(images, np.ndarray) else images
    if int(numbers.min()) < 0 or int(numbers.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{what}: ids from {numbers.min()} to {numbers.max()}; they run from 0 to 2^63 - 1.")
    kept_labels = frozen(_labels(np.asarray(labels), count, what))
    return Split(stored, kept_labels, frozen(numbers.astype(np.int64)), paths)


def _check_labels(source: str, splits: Mapping[str, Split], classes: int | None) -> None:
    present = np.unique(np.concatenate([s.labels for s in splits.values()]))
    for name, split in splits.items():
        bad = np.flatnonzero((split.labels < 0) | (split.labels >= (classes or np.iinfo(np.int64).max)))
        if bad.size:
            top = f"to {classes - 1}" if classes else "upwards"
            raise DataError(
                f"Data set {source!r}, split {name!r}: example {int(split.ids[bad[0]])} has the label "
                f"{int(split.labels[bad[0]])}; labels run from 0 {top}.{_way_to_0(present, classes)}"
            )
    if len(present) < 2:
        raise DataError(
            f"Data set {source!r} has one class only (label {int(present[0])}); a classifier needs two. "
            "Add images of another class."
        )
    if classes is None and len(present) <= int(present[-1]):
        gaps = np.setdiff1d(np.arange(min(int(present[-1]), 1000)), present)[:5].tolist()
        raise DataError(
            f"Data set {source!r} has {len(present)} different labels up to {int(present[-1])}, and none is "
            f"{' or '.join(map(str, gaps[:3]))}.{_way_to_0(present, classes)} "
            "If some classes have no example here, give their number as `classes`; "
            "if not, renumber: class_names, labels = numpy.unique(labels, return_inverse=True)."
        )


def _way_to_0(present: np.ndarray, classes: int | None) -> str:
    """A sentence, after a space, on labels that do not begin at 0 and would fit if they did; else ""."""
    low, high = int(present[0]), int(present[-1])
    if present.tolist() == [-1, 1]:
        return " Yours are -1 and 1: give (labels + 1) // 2."
    fits = high - low < classes if classes else len(present) == high - low + 1
    if low == 0 or not fits:
        return ""
    return f" Yours begin at {low}: {f'subtract {low}' if low > 0 else f'add {-low}'}."
