"""Sort the arrays of an npz file or a user's factory into splits, by their names."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from intriguing.basics.masked import check_unmasked
from intriguing.basics.text.brief import brief
from intriguing.data.dataset import as_nchw
from intriguing.errors import DataError, InputError, did_you_mean

_LOG = logging.getLogger(__name__)

Parts = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]

KEYS = """\
train_images, train_labels, test_images, test_labels (either split may be missing), or images and labels (taken as the
split "test"), or x_train, y_train, x_test, y_test; with {train,test}_ids or ids where examples have numbers of their
own, {train,test}_paths or paths (text) where they have names, class_names (text, one per class), classes (an integer)
where the labels do not show how many there are, and channels ("first" or "last") where the shape does not show where
they are. Images: uint8 (0 to 255) or floats in [0, 1], as (N, H, W), (N, H, W, C) or (N, C, H, W). Labels: integers
from 0."""

_SPLITS = ("train", "test")
_PER_EXAMPLE = ("images", "labels", "ids", "paths")
_ALIASES = {
    "images": "test_images",
    "labels": "test_labels",
    "ids": "test_ids",
    "paths": "test_paths",
    "x_train": "train_images",
    "y_train": "train_labels",
    "x_test": "test_images",
    "y_test": "test_labels",
}


@dataclass(frozen=True)
class Arrays:
    """A data set as arrays: its splits, classes and names."""

    __repr__ = brief

    parts: Parts
    """By split: images (N, C, H, W), labels, ids or None."""
    classes: int | None = None
    """The number of classes."""
    class_names: tuple[str, ...] = ()
    """The classes' names, in the order of the labels."""
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By split: the examples' names."""


def sorted_arrays(data: Any, what: str) -> Arrays:
    """The splits and names in `data`.

    data: a mapping with the names of `KEYS`; or a mapping from split to (images, labels) or (images, labels, ids); or a
    tuple (images, labels), or ((images, labels), (images, labels)) for train and test. what: the subject of messages.

    Raises: `DataError` for anything else.
    """
    if isinstance(data, tuple | list) and len(data) == 2:
        data = dict(zip(_SPLITS, data, strict=True)) if _is_pair(data[0]) else {"test": tuple(data)}
    if not isinstance(data, Mapping):
        raise DataError(f"{what} is a {type(data).__name__}; give a mapping with the keys {KEYS}")
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if name in _SPLITS and isinstance(value, tuple | list):
            given = {f"{name}_{k}": v for k, v in zip(("images", "labels", "ids"), value, strict=False)}
        else:
            given = {_ALIASES.get(name, name): value}
        if twice := [key for key in given if key in flat]:
            raise DataError(
                f"{what} has {twice[0]} twice, by two names, one of which is {name!r} ('images' and x_test are "
                "test_images): leave one out, or give it its own name."
            )
        flat |= given
    classes, names, channels = (flat.pop(key, None) for key in ("classes", "class_names", "channels"))
    splits = [s for s in _SPLITS if f"{s}_images" in flat]
    if "names" in flat:
        raise DataError(
            f"{what} has an array 'names', of classes or of examples: call it class_names (one per class) or paths "
            "(one per example)."
        )
    unknown = sorted(set(map(str, flat)) - {f"{s}_{k}" for s in _SPLITS for k in _PER_EXAMPLE})
    if not splits:
        raise DataError(f"{what} has the keys {sorted(map(str, data))}; the keys are {KEYS}")
    if unknown:
        names_here = [f"{s}_{k}" for s in _SPLITS for k in _PER_EXAMPLE]
        hint = did_you_mean(str(unknown[0]), [*_ALIASES, *names_here, "classes", "class_names", "channels"])
        raise DataError(f"{what} has {unknown[0]!r}, which is no key: leave it out.{hint} The keys are {KEYS}")
    parts: Parts = {}
    paths: dict[str, tuple[str, ...]] = {}
    order = _channels(channels, what)
    for split in splits:
        if f"{split}_labels" not in flat:
            raise DataError(f"{what} has {split}_images and no {split}_labels.")
        ids = flat.get(f"{split}_ids")
        images = as_nchw(_array(flat[f"{split}_images"]), f"{what}, split {split!r}", order)
        parts[split] = (images, _array(flat[f"{split}_labels"]), None if ids is None else _array(ids))
        if f"{split}_paths" in flat:
            paths[split] = _texts(flat[f"{split}_paths"], f"{what}: {split}_paths", len(images))
    for split, (images, _, _) in parts.items():
        _check_scale(images, what if len(parts) == 1 else f"{what}, split {split!r}")
    return Arrays(
        parts, _whole(classes, what), () if names is None else _texts(names, f"{what}: class_names", None), paths
    )


def _check_scale(images: np.ndarray, what: str) -> None:
    """Raise `DataError` for bytes that are only 0 and 1, which would all be black; warn of floats that small."""
    largest = float(images.max()) if images.size else 0.0
    if images.dtype == np.uint8 and largest == 1:
        raise DataError(
            f"{what}: images of uint8 that hold 0 and 1 alone; of 0 to 255 these are black (1 is 1/255). "
            "If 1 is white, give images * 255, or images.astype('float32')."
        )
    if images.dtype != np.uint8 and 0 < largest <= 1 / 255:
        _LOG.warning("%s: no pixel is above %.3g; white is 1. Were the images divided by 255 twice?", what, largest)


def _channels(data: Any, what: str) -> Literal["first", "last"] | None:
    value = None if data is None else str(_array(data))
    if value not in (None, "first", "last"):
        raise DataError(f"{what}: channels is {value!r}; it must be 'first' (N, C, H, W) or 'last' (N, H, W, C).")
    return value  # type: ignore[return-value]


def _whole(classes: Any, what: str) -> int | None:
    if classes is None:
        return None
    value = _array(classes)
    if value.size != 1 or not np.issubdtype(value.dtype, np.integer) or int(value.item()) < 1:
        text = np.array2string(value, threshold=5)
        raise DataError(f"{what}: classes is {text}; it must be one whole number. Names go into class_names.")
    return int(value.item())


def _texts(data: Any, what: str, count: int | None) -> tuple[str, ...]:
    """Names as text: a sequence of str, or an array of text."""
    value = _array(data)
    if value.dtype.kind not in "UO" or value.ndim != 1 or not all(isinstance(name, str) for name in value.tolist()):
        raise DataError(f"{what} is of shape {value.shape} and type {value.dtype}; give one piece of text for each.")
    if count is not None and len(value) != count:
        raise DataError(f"{what} holds {len(value)} names for {count} images; give one for each.")
    return tuple(value.tolist())


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) in (2, 3) and not np.isscalar(value[0])


def _array(value: Any) -> np.ndarray:
    try:
        if hasattr(value, "detach"):  # a tensor of any device, perhaps with a gradient, perhaps of bfloat16
            value = value.detach().cpu()
            value = (value.float() if value.is_floating_point() and value.element_size() < 4 else value).numpy()
        check_unmasked(value, "it")
    except (InputError, TypeError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"Data that cannot be read as an array: {error}") from error
    return np.asarray(value)
