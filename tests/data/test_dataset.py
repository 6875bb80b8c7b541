"""Checks that every data set passes when it is built, and what a split gives back."""

import numpy as np
import pytest
import torch

from intriguing.data.dataset import Names, as_nchw, build_dataset
from intriguing.errors import DataError, UnknownNameError


def grey(count, value=0.5, dtype=np.float32):
    return np.full((count, 1, 4, 4), value, dtype)


def two_classes(count):
    return np.arange(count) % 2


def test_pixels_of_uint8_images_are_float32_from_0_to_1():
    images = np.array([0, 51, 255, 255], np.uint8).reshape(2, 1, 1, 2)
    split = build_dataset("x", {"test": (images, np.array([0, 1]), None)}, "h").split("test")
    pixels = split.pixels([1, 0])
    assert pixels.dtype == torch.float32
    assert pixels.tolist() == [[[[1.0, 1.0]]], [[[0.0, torch.tensor(51 / 255).item()]]]]


def test_pixels_of_one_channel_have_plain_strides():
    # With the strides of channels-last files a convolution would give such, and a model's `view` would fail.
    values = np.zeros((4, 6, 5, 1), np.uint8).transpose(0, 3, 1, 2)
    data = build_dataset("grey", {"test": (values, np.arange(4) % 2, None)}, "h")
    assert data.split("test").pixels(slice(0, 3)).stride() == (30, 30, 5, 1)


def test_pixels_may_be_changed_without_changing_the_data_set():
    data = build_dataset("x", {"test": (grey(4), two_classes(4), None)}, "h")
    data.split("test").pixels([0]).zero_()
    assert data.split("test").pixels([0]).max() == 0.5


def test_pixels_take_slices_arrays_and_tensors():
    images = np.linspace(0, 1, 6, dtype=np.float32).reshape(6, 1, 1, 1)
    split = build_dataset("x", {"test": (images, two_classes(6), None)}, "h").split("test")
    for indices in (slice(2, 4), [2, 3], np.array([2, 3]), torch.tensor([2, 3])):
        assert torch.equal(split.pixels(indices), split.pixels(slice(None))[2:4])


def test_rounding_just_outside_the_range_is_clipped():
    images = grey(2, -3e-8)
    data = build_dataset("x", {"test": (images, two_classes(2), None)}, "h")
    assert data.split("test").pixels([0]).min() == 0.0


@pytest.mark.parametrize(
    ("value", "told"), [(np.nan, "NaN"), (np.inf, "NaN or infinite"), (-0.5, "-0.5"), (255.0, "255")]
)
def test_a_bad_pixel_is_refused_and_its_example_named(value, told):
    images = grey(4)
    images[2, 0, 1, 1] = value
    with pytest.raises(DataError, match=f"example 12 .*{told}"):
        build_dataset("x", {"test": (images, two_classes(4), np.arange(10, 14))}, "h")


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="'train' is empty"):
        build_dataset("x", {"train": (grey(0), two_classes(0), None)}, "h")


def test_a_data_set_without_splits_is_refused():
    with pytest.raises(DataError, match="no split"):
        build_dataset("x", {}, "h")


def test_one_class_is_refused():
    with pytest.raises(DataError, match=r"one class only \(label 3\)"):
        build_dataset("x", {"test": (grey(4), np.full(4, 3), None)}, "h")


@pytest.mark.parametrize(("bad", "told"), [(-1, "label -1"), (10, "label 10; labels run from 0 to 9")])
def test_labels_out_of_range_are_refused(bad, told):
    labels = two_classes(4)
    labels[1] = bad
    with pytest.raises(DataError, match=f"example 1 has the {told}"):
        build_dataset("x", {"test": (grey(4), labels, None)}, "h", classes=10)


@pytest.mark.parametrize(
    ("labels", "classes", "told"),
    [
        ([1, 2, 3, 1], 3, "label 3; labels run from 0 to 2. Yours begin at 1: subtract 1[.]"),
        ([1, 2, 3, 1], None, "none is 0. Yours begin at 1: subtract 1[.]"),
        ([-1, 0, 1, -1], 3, "label -1; labels run from 0 to 2. Yours begin at -1: add 1[.]"),
        ([-1, 1, 1, -1], 2, r"Yours are -1 and 1: give \(labels \+ 1\) // 2"),
        ([1, 2, 9, 1], 3, "label 9; labels run from 0 to 2[.]$"),
        ([0, 1, 3, 1], 3, "label 3; labels run from 0 to 2[.]$"),
    ],
)
def test_labels_that_begin_elsewhere_than_at_0_are_told_how_to_begin_there(labels, classes, told):
    with pytest.raises(DataError, match=told):
        build_dataset("x", {"test": (grey(4), np.array(labels), None)}, "h", classes=classes)


def test_labels_from_1_are_seen_with_class_names_too():
    parts = {"train": (grey(3), np.array([1, 2, 3]), None), "test": (grey(2), np.array([2, 3]), None)}
    with pytest.raises(DataError, match="Yours begin at 1: subtract 1"):
        build_dataset("x", parts, "h", names=Names(classes=("a", "b", "c")))


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0, 255, "divide by 255"),
        (0, 4095, "Divide by the largest value"),
        (-1, 1, r"\(images \+ 1\) / 2"),
        (-2.1, 2.6, "Undo the normalisation .* or give uint8"),
        (0, 1.5, "Undo the normalisation"),
    ],
)
def test_pixels_out_of_range_are_told_what_to_do(low, high, told):
    images = np.linspace(low, high, 4 * 4, dtype=np.float32).reshape(4, 1, 2, 2)
    with pytest.raises(DataError, match=told):
        build_dataset("x", {"test": (images, two_classes(4), None)}, "h")


def test_labels_that_are_no_integers_are_refused():
    with pytest.raises(DataError, match="labels of type float64"):
        build_dataset("x", {"test": (grey(4), two_classes(4) + 0.5, None)}, "h")


def test_as_many_labels_as_images_are_needed():
    with pytest.raises(DataError, match=r"4 images and labels of shape \(3,\)"):
        build_dataset("x", {"test": (grey(4), two_classes(3), None)}, "h")


def test_ids_number_the_examples_over_all_splits():
    data = build_dataset("x", {"train": (grey(3), two_classes(3), None), "test": (grey(2), two_classes(2), None)}, "h")
    assert data.split("train").ids.tolist() == [0, 1, 2]
    assert data.split("test").ids.tolist() == [3, 4]


def test_an_id_used_twice_is_refused():
    with pytest.raises(DataError, match="repeats an id"):
        build_dataset(
            "x",
            {"train": (grey(2), two_classes(2), np.array([1, 2])), "test": (grey(2), two_classes(2), np.array([2, 3]))},
            "h",
        )


def test_splits_of_different_shapes_are_refused():
    other = np.zeros((2, 1, 5, 5), np.uint8)
    with pytest.raises(DataError, match="different shapes"):
        build_dataset("x", {"train": (grey(2), two_classes(2), None), "test": (other, two_classes(2), None)}, "h")


def test_positions_find_examples_by_id():
    ids = np.array([7, 3, 9, 1])
    split = build_dataset("x", {"test": (grey(4), two_classes(4), ids)}, "h").split("test")
    assert split.positions([9, 7, 1]).tolist() == [2, 0, 3]
    with pytest.raises(DataError, match="no example 8"):
        split.positions([3, 8])


def test_an_unknown_split_lists_those_there_are():
    data = build_dataset("x", {"test": (grey(2), two_classes(2), None)}, "h")
    with pytest.raises(UnknownNameError, match="'train'.*Valid names: test"):
        data.split("train")


def test_arrays_of_a_data_set_are_read_only():
    split = build_dataset("x", {"test": (grey(2), two_classes(2), None)}, "h").split("test")
    with pytest.raises(ValueError, match="read-only"):
        split.labels[0] = 1


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((5, 8, 8), (5, 1, 8, 8)),
        ((5, 8, 8, 3), (5, 3, 8, 8)),
        ((5, 3, 8, 8), (5, 3, 8, 8)),
        ((5, 2, 8, 8), (5, 2, 8, 8)),
    ],
)
def test_channels_come_first_whatever_the_layout(given, wanted):
    assert as_nchw(np.zeros(given, np.uint8), "it").shape == wanted


@pytest.mark.parametrize("images", [np.zeros((2, 8), np.uint8), np.zeros((2, 8, 8), np.int32)])
def test_images_of_another_rank_or_type_are_refused(images):
    with pytest.raises(DataError, match="it: images of"):
        as_nchw(images, "it")


def test_classes_of_the_test_split_that_training_lacks_are_told_once(caplog):
    labels = np.array([0, 1, 0, 1])
    parts = {"train": (grey(4), labels, None), "test": (grey(4), np.array([0, 1, 2, 3]), None)}
    for _ in range(2):
        build_dataset("told once", parts, "h", names=Names(("a", "b", "c", "d\n\x1b[2J")))
    [line] = caplog.messages
    assert "classes of which 'train' has none" in line and "2 (c), 3 (d\\n\\x1b[2J)." in line
    caplog.clear()
    build_dataset("alike", parts | {"test": (grey(2), labels[:2], None)}, "h")
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.array([str(n) for n in range(12)]), r"give integers from 0: labels.astype\('int64'\)\.$"),
        (np.array([f" {n} " for n in range(12)]).astype("S"), r"give integers from 0: labels.astype\('int64'\)\.$"),
        (np.arange(12) % 2 == 0, r"give integers from 0: labels.astype\('int64'\)\.$"),
        (np.array([f"class {n}" for n in range(12)]), r"numpy.unique\(labels, return_inverse=True\)\.$"),
    ],
)
def test_labels_as_text_are_told_the_line_that_keeps_their_numbers(labels, told):
    with pytest.raises(DataError, match=told):
        build_dataset("mine", {"test": (np.zeros((12, 4, 4), np.uint8), labels, None)}, "0")
    if "astype" in told and labels.dtype.kind != "b":
        assert labels.astype("int64").tolist() == list(range(12))
