"""Disjoint parts of a training split."""

import numpy as np
import pytest

from intriguing.data.dataset import Split, build_dataset
from intriguing.data.part_names import parse_part
from intriguing.data.parts import part_positions, split_in_two
from intriguing.errors import DataError, InputError


def labelled(labels, first=0):
    labels = np.asarray(labels)
    images = np.arange(len(labels) * 4, dtype=np.uint32).astype(np.uint8).reshape(len(labels), 1, 2, 2)
    return Split(images, labels, np.arange(first, first + len(labels)))


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_parts_are_disjoint_cover_the_split_and_divide_every_class_evenly(parts):
    rng = np.random.default_rng(0)
    split = labelled(np.concatenate([rng.integers(0, 5, 501), np.full(parts, 5)]))
    drawn = [part_positions(split, f"{k + 1} of {parts}", seed=3) for k in range(parts)]
    assert np.array_equal(np.sort(np.concatenate(drawn)), np.arange(len(split)))
    counts = np.array([np.bincount(split.labels[at], minlength=6) for at in drawn])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert (counts[:, 5] == 1).all()
    assert np.ptp([len(at) for at in drawn]) <= 1


def test_the_draw_depends_on_the_seed_and_the_ids_and_not_on_the_order_of_the_images():
    split = labelled(np.arange(200) % 10)
    at = part_positions(split, "1 of 2", seed=0)
    assert not np.array_equal(at, part_positions(split, "1 of 2", seed=1))
    turned = Split(split.images[::-1], split.labels[::-1], split.ids[::-1])
    assert set(turned.ids[part_positions(turned, "1 of 2", seed=0)]) == set(split.ids[at])


def test_a_data_set_is_split_in_two_without_a_copy():
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 3, 3), dtype=np.uint8)
    labels = np.arange(40) % 4
    data = build_dataset("mine", {"train": (images, labels, None), "test": (images, labels, None)}, "0")
    half, rest = split_in_two(data, "2 of 2", seed=0)
    train = half.split("train")
    assert len(train) == len(rest) == 20
    assert set(train.ids) | set(rest.ids) == set(range(40))
    assert half.split("test") is data.split("test")
    assert len(data.split("train")) == 40
    assert np.array_equal(train.pixels(np.arange(20)).numpy(), images[train.ids] / np.float32(255))
    assert np.array_equal(rest.pixels(slice(3, 5)).numpy(), images[rest.ids[3:5]] / np.float32(255))


def test_a_class_with_fewer_images_than_parts_is_refused():
    split = labelled([0] * 10 + [1] * 3)
    assert len(part_positions(split, "1 of 3", 0)) + len(part_positions(split, "2 of 3", 0)) in (8, 9)
    with pytest.raises(DataError, match="class of only 3 images, so not each of 4 parts .* at most 3 parts"):
        part_positions(split, "1 of 4", 0)


@pytest.mark.parametrize("text", ["P1", "1/2", "0 of 2", "3 of 2", "1 of 1", "1 of", " 1 of 2", "-1 of 2", "1 of 2e1"])
def test_what_is_no_part_is_refused_with_the_form(text):
    with pytest.raises(InputError, match="write it as '1 of 2'"):
        parse_part(text)
