"""Disjoint parts of a training split: the paper's halves P1 and P2, and any other number of equal parts."""

from dataclasses import replace

import numpy as np

from intriguing.data.dataset import Dataset, Images, Split
from intriguing.data.part_names import check_part, parse_part
from intriguing.randomness import hash_ids

_PURPOSE = "training part"


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
