"""Data sets from npz files: keys, shapes, channels, labels, names, and files that are refused."""

from pathlib import Path

import numpy as np
import pytest

from intriguing.data import load_dataset
from intriguing.errors import DataError


def test_npz_splits_and_their_ids(npz):
    images, labels = np.zeros((4, 6, 6, 3), np.uint8), np.array([0, 1, 2, 1])
    data = load_dataset(npz(train_images=images, train_labels=labels, test_images=images[:2], test_labels=labels[:2]))
    assert data.shape == (3, 6, 6)
    assert (data.classes, data.split("test").ids.tolist()) == (3, [4, 5])


def test_npz_with_one_split_and_classes_that_do_not_all_occur(npz):
    data = load_dataset(npz(images=np.zeros((2, 6, 6)), labels=np.array([0, 1]), classes=7, ids=np.array([30, 40])))
    assert list(data.splits) == ["test"]
    assert (data.classes, data.split("test").ids.tolist()) == (7, [30, 40])


def test_one_array_under_two_names_is_refused(npz):
    """The later one took the other's place."""
    images, labels = np.zeros((2, 6, 6), np.uint8), np.array([0, 1])
    with pytest.raises(DataError, match="test_images twice"):
        load_dataset(npz(images=images, labels=labels, test_images=images + 1, test_labels=labels))


@pytest.mark.parametrize("ids", [np.array([-1, 0]), np.array([2**63, 0], np.uint64)])
def test_ids_begin_at_zero(npz, ids):
    with pytest.raises(DataError, match="they run from 0"):
        load_dataset(npz(images=np.zeros((2, 6, 6), np.uint8), labels=np.array([0, 1]), ids=ids))


def test_npz_under_the_names_of_keras(npz):
    images, labels = np.zeros((2, 6, 6), np.uint8), np.array([0, 1])
    assert set(load_dataset(npz(x_train=images, y_train=labels, x_test=images, y_test=labels)).splits) == {
        "train",
        "test",
    }


def test_npz_with_other_keys_is_refused_with_the_right_ones(npz):
    with pytest.raises(DataError, match=r"keys \['pictures'\]; the keys are train_images"):
        load_dataset(npz(pictures=np.zeros((2, 6, 6))))


def test_npz_with_a_key_more_is_told_the_nearest(npz):
    images, labels = np.zeros((2, 6, 6), np.uint8), np.array([0, 1])
    with pytest.raises(DataError, match="has 'class_name', which is no key: leave it out. Did you mean 'class_names'"):
        load_dataset(npz(images=images, labels=labels, class_name=np.array(["a", "b"])))


def test_the_image_with_a_nan_is_told_by_data_set_split_and_number(npz):
    images, labels = np.zeros((4, 6, 6), np.float32), np.array([0, 1, 0, 1])
    bad = images.copy()
    bad[2, 3, 3] = np.nan
    source = npz(train_images=images, train_labels=labels, test_images=bad, test_labels=labels)
    with pytest.raises(DataError, match=r"^Data set 'npz:.*', split 'test': example 6 has a pixel that is NaN"):
        load_dataset(source)


def test_npz_without_labels_is_refused(npz):
    with pytest.raises(DataError, match="test_images and no test_labels"):
        load_dataset(npz(images=np.zeros((2, 6, 6))))


def test_a_truncated_npz_is_refused(npz):
    source = npz(images=np.zeros((20, 6, 6)), labels=np.arange(20))
    path = Path(source.removeprefix("npz:"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"some set.npz cannot be read as an npz file"):
        load_dataset(source)


def test_a_missing_npz_is_named():
    with pytest.raises(DataError, match="There is no file nowhere.npz"):
        load_dataset("npz:nowhere.npz")


def test_npz_of_python_objects_is_refused(tmp_path):
    np.savez(tmp_path / "evil.npz", images=np.array([{"a": 1}], dtype=object), labels=np.array([0]))
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset(f"npz:{tmp_path / 'evil.npz'}")


@pytest.mark.parametrize(
    ("shape", "channels", "seen"),
    [
        ((4, 2, 8, 8), None, (2, 8, 8)),
        ((4, 8, 8, 2), None, (2, 8, 8)),
        ((4, 12, 8, 8), None, (12, 8, 8)),
        ((4, 8, 8, 12), None, (12, 8, 8)),
        ((4, 12, 8, 10), "first", (12, 8, 10)),
        ((4, 8, 10, 12), "last", (12, 8, 10)),
        ((4, 4, 4, 3), None, (3, 4, 4)),
        ((4, 1, 4, 4), None, (1, 4, 4)),
        ((4, 3, 5, 3), "last", (3, 3, 5)),
    ],
)
def test_npz_channels_are_found_or_said(npz, shape, channels, seen):
    images = np.random.default_rng(0).random(shape).astype(np.float32)
    said = {} if channels is None else {"channels": channels}
    data = load_dataset(npz(images=images, labels=np.array([0, 1, 0, 1]), **said))
    assert data.shape == seen
    wanted = images if shape[1:] == seen else images.transpose(0, 3, 1, 2)
    assert np.array_equal(data.split("test").images, wanted)


def test_npz_images_of_one_number_are_the_same_both_ways(npz):
    images = np.array([0, 1, 2, 3], np.uint8).reshape(4, 1, 1, 1)
    data = load_dataset(npz(images=images, labels=np.array([0, 1, 0, 1])))
    assert np.array_equal(data.split("test").images, images)


@pytest.mark.parametrize("shape", [(4, 12, 8, 10), (4, 8, 8, 8), (4, 3, 5, 3), (4, 3, 3, 3)])
def test_npz_channels_that_could_be_either_are_asked_for(npz, shape):
    source = npz(images=np.zeros(shape, np.uint8), labels=np.array([0, 1, 0, 1]))
    with pytest.raises(DataError, match="say which by an entry channels beside the images, 'first' or"):
        load_dataset(source)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"images": np.array([0, 1] * 8, np.uint8).reshape(4, 2, 2)}, r"hold 0 and 1 alone.*images \* 255"),
        ({"images": np.ones((4, 2, 2), bool)}, r"type bool; give images.astype\('uint8'\) \* 255"),
        ({"images": np.full((4, 2, 2), 200, np.int64)}, r"within 0 to 255: give images.astype\('uint8'\)"),
        ({"images": np.full((4, 2, 2), 4095, np.uint16)}, "from 4095 to 4095: give floats in .0, 1., such as images"),
        ({"images": np.full((4, 2, 2), 255.0)}, "pixels from 255 to 255"),
        ({"images": np.zeros((4, 4))}, r"images.reshape\(N, H, W\)"),
        ({"labels": np.array([0, 2, 5, 0])}, "none is 1 or 3 or 4.*give their number as `classes`"),
        ({"labels": np.array([1, 2, 1, 2])}, "none is 0"),
        ({"labels": np.array(["a", "b", "a", "b"])}, r"numpy.unique\(labels, return_inverse=True\)"),
        ({"labels": np.array([0.0, 1.0, 0.0, 1.0])}, r"float64; give integers from 0: labels.astype\('int64'\)"),
        ({"labels": np.array([0.5, 1.0, 0.0, 1.0])}, "float64; give integers from 0[.]"),
        ({"labels": np.eye(4, dtype=np.int64)}, r"One-hot rows become labels by labels.argmax\(axis=1\)"),
        ({"labels": np.array([{}, 1, 0, 1], object)}, "'labels' cannot be read: it holds Python objects"),
        ({"names": np.array(["a", "b"])}, "call it class_names .one per class. or paths"),
        ({"class_names": np.array(["a", "b", "c"]), "classes": 2}, "3 class names for 2 classes"),
        ({"class_names": np.array([1, 2])}, "class_names is of shape .2,. and type int64; give one piece of text"),
        ({"paths": np.array(["a", "b"])}, "2 names for 4 images"),
        ({"classes": np.array(["cat", "dog"])}, "it must be one whole number. Names go into class_names"),
        ({"channels": "middle"}, "it must be 'first'"),
    ],
)
def test_npz_that_could_be_read_in_two_ways_is_refused_with_the_line_to_write(npz, arrays, told):
    good = {"images": np.zeros((4, 2, 2)), "labels": np.array([0, 1, 0, 1])}
    with pytest.raises(DataError, match=told):
        load_dataset(npz(**(good | arrays)))


@pytest.mark.parametrize("train", [np.full((2, 2, 2), 255, np.uint8), np.full((2, 2, 2), 0.5)])
def test_each_split_of_an_npz_is_looked_at_for_bytes_of_0_and_1(npz, train):
    test = np.array([0, 1] * 4, np.uint8).reshape(2, 2, 2)
    labels = np.array([0, 1])
    with pytest.raises(DataError, match=r"split 'test'.*hold 0 and 1 alone.*images \* 255"):
        load_dataset(npz(train_images=train, train_labels=labels, test_images=test, test_labels=labels))


def test_npz_images_without_pixels_are_refused(npz):
    with pytest.raises(DataError, match=r"of shape \(2, 1, 0, 8\) have no pixels"):
        load_dataset(npz(images=np.zeros((2, 0, 8)), labels=np.array([0, 1])))


def test_npz_labels_in_a_column_are_labels(npz):
    data = load_dataset(npz(images=np.zeros((2, 4, 4)), labels=np.array([[0], [1]], np.uint8)))
    assert data.split("test").labels.tolist() == [0, 1]


def test_npz_names_of_classes_and_examples(npz):
    data = load_dataset(
        npz(
            images=np.zeros((3, 4, 4)),
            labels=np.array([0, 2, 0]),
            class_names=np.array(["cat", "dog", "bird"]),
            paths=np.array(["a.png", "b.png", "c.png"]),
        )
    )
    assert (data.classes, data.class_names) == (3, ("cat", "dog", "bird"))
    assert data.split("test").paths == ("a.png", "b.png", "c.png")
    assert data.names_hash


def test_floats_that_were_divided_twice_are_warned_of(npz, caplog):
    load_dataset(npz(images=np.full((2, 4, 4), 0.003), labels=np.array([0, 1])))
    assert "divided by 255 twice?" in caplog.text


def test_a_missing_npz_file_is_told_with_the_nearest_there(tmp_path):
    (tmp_path / "digits.npz").write_text("")
    with pytest.raises(DataError, match="no file .*digit.npz. Did you mean 'digits.npz'"):
        load_dataset(f"npz:{tmp_path}/digit.npz")
    with pytest.raises(DataError, match=f"no file .* There is no folder {tmp_path}/data[.]"):
        load_dataset(f"npz:{tmp_path}/data/digit.npz")
