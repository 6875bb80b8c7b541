"""Disjoint parts of a training split: the paper's halves P1 and P2, and any other number of equal parts."""

import re
from dataclasses import replace

import numpy as np

from intriguing.data.dataset import Dataset, Images, Split
from intriguing.errors import DataError, InputError
from intriguing.randomness import hash_ids

_PURPOSE = "training part"
_FORM = re.compile(r"([1-9]\d{0,5}) of ([1-9]\d{0,5})")


def parse_part(text: str) -> tuple[int, int]:
    """The numbers in "1 of 2": which part, and of how many.

    Raises: `InputError` for another form, fewer than two parts, or a part beyond the last.
    """
    match = _FORM.fullmatch(text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts or parts < 2:
        raise InputError(f"{text!r} is no part of a training split: write it as '1 of 2', '2 of 2' or '3 of 10'.")
    return part, parts


def part_positions(split: Split, text: str, seed: int) -> np.ndarray:
    """Positions (n,) int64, ascending, of the part of `split` that `text` ("1 of 2") names.

    The images are ordered by class, and within a class by hashes keyed with `seed`; part k takes every k-th of them. So
    parts are disjoint and cover the split, their sizes differ by one image at most, and so do a class's numbers of
    images in them. Raises: `DataError` where a class has fewer images than there are parts, for a model trained on one
    of these would never see it.
    """
    part, parts = parse_part(text)
    check_part("The training split", text, int(np.unique(split.labels, return_counts=True)[1].min()))
    order = np.lexsort((hash_ids(seed, _PURPOSE, split.ids), split.labels))
    return np.sort(order[part - 1 :: parts])


def check_part(what: str, text: str, rarest: int) -> None:
    """Raise `DataError` where the smallest class, of `rarest` images, is too small to be in every part."""
    _, parts = parse_part(text)
    if rarest < parts:
        raise DataError(
            f"{what} has a class of only {rarest} image{'' if rarest == 1 else 's'}, so not each of {parts} parts can "
            f"hold one of it: cut the split into at most {rarest} parts, or leave that class out."
        )


def split_in_two(dataset: Dataset, text: str, seed: int) -> tuple[Dataset, Split]:
    """`dataset` with the part that `text` names as its split "train", and the rest of that split. No image is copied.

    Raises: `DataError` as `part_positions` does, `UnknownNameError` without a training split.
    """
    whole = dataset.split("train")
    inside = np.zeros(len(whole), dtype=bool)
    inside[part_positions(whole, text, seed)] = True
    part, rest = (_at(whole, np.flatnonzero(chosen)) for chosen in (inside, ~inside))
    return replace(dataset, splits=dataset.splits | {"train": part}), rest


class _Chosen:
    """Some rows of a split's images, read where they are."""

    def __init__(self, images: Images, positions: np.ndarray) -> None:
        self._images, self._positions = images, positions
        self.shape = (len(positions), *images.shape[1:])
        self.dtype = images.dtype

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        return self._images[self._positions[rows]]


def _at(split: Split, positions: np.ndarray) -> Split:
    paths = tuple(split.paths[i] for i in positions) if split.paths else ()
    return Split(_Chosen(split.images, positions), split.labels[positions], split.ids[positions], paths)
