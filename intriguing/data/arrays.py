"""Arrays under agreed names, as an npz file or a user's factory gives them, sorted into splits."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from intriguing.data.dataset import as_nchw
from intriguing.errors import DataError

Parts = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]

KEYS = """\
train_images, train_labels, test_images, test_labels (either split may be missing), or images and labels (taken as the
split "test"), or x_train, y_train, x_test, y_test; with {train,test}_ids or ids where examples have numbers of their
own, and classes (an integer) where the labels do not show how many there are. Images: uint8 (0 to 255) or floats in
[0, 1], as (N, H, W), (N, H, W, C) or (N, C, H, W). Labels: integers from 0."""

_SPLITS = ("train", "test")
_ALIASES = {
    "images": "test_images",
    "labels": "test_labels",
    "ids": "test_ids",
    "x_train": "train_images",
    "y_train": "train_labels",
    "x_test": "test_images",
    "y_test": "test_labels",
}


def parts_of(given: Any, what: str) -> tuple[Parts, int | None]:
    """Splits as (images (N, C, H, W), labels, ids or None), and the number of classes where it was given.

    `given` is a mapping with the names of `KEYS`; or a mapping from split to (images, labels) or (images, labels, ids);
    or a tuple (images, labels), or ((images, labels), (images, labels)) for train and test. Raises `DataError`, `what`
    being the subject of its message, for anything else.
    """
    if isinstance(given, tuple | list) and len(given) == 2:
        given = dict(zip(_SPLITS, given, strict=True)) if _is_pair(given[0]) else {"test": tuple(given)}
    if not isinstance(given, Mapping):
        raise DataError(f"{what} is a {type(given).__name__}; give a mapping with the keys {KEYS}")
    flat: dict[str, Any] = {}
    for name, value in given.items():
        if name in _SPLITS and isinstance(value, tuple | list):
            flat |= {f"{name}_{k}": v for k, v in zip(("images", "labels", "ids"), value, strict=False)}
        else:
            flat[_ALIASES.get(name, name)] = value
    classes = flat.pop("classes", None)
    splits = [s for s in _SPLITS if f"{s}_images" in flat]
    unknown = sorted(set(flat) - {f"{s}_{k}" for s in _SPLITS for k in ("images", "labels", "ids")})
    if unknown or not splits:
        raise DataError(f"{what} has the keys {sorted(map(str, given))}; the keys are {KEYS}")
    parts: Parts = {}
    for split in splits:
        if f"{split}_labels" not in flat:
            raise DataError(f"{what} has {split}_images and no {split}_labels.")
        ids = flat.get(f"{split}_ids")
        images = as_nchw(_array(flat[f"{split}_images"]), f"{what}, split {split!r}")
        parts[split] = (images, _array(flat[f"{split}_labels"]), None if ids is None else _array(ids))
    return parts, None if classes is None else int(classes)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) in (2, 3) and not np.isscalar(value[0])


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a tensor, of any device, that may ask for gradients
        value = value.detach().cpu().numpy()
    return np.asarray(value)
