"""Folders of photos."""

import numpy as np
import pytest
from PIL import Image

from intriguing.data import dataset_hash, load_dataset
from intriguing.errors import DataError, UnknownNameError


def photo(path, colour, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes, train and val, names with a space."""
    root = tmp_path / "my photos"
    for split, count in (("train", 3), ("val", 2)):
        for n in range(count):
            photo(root / split / "cat" / f"{n}.png", (255, 0, 0))
            photo(root / split / "a dog" / f"{n}.jpg", (0, 0, 255))
    return root


def test_classes_are_sorted_folders_and_val_is_the_test_split(folder):
    data = load_dataset(f"imagefolder:{folder}?size=8")
    assert (data.shape, data.classes) == ((3, 8, 8), 2)
    assert data.split("train").labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.split("test").ids.tolist() == [6, 7, 8, 9]


def test_photos_are_resized_and_keep_their_colour(folder):
    pixels = load_dataset(f"imagefolder:{folder}?size=8").split("test").pixels([3])
    assert pixels.shape == (1, 3, 8, 8)
    assert pixels.amin(dim=(0, 2, 3)).tolist() == [1.0, 0.0, 0.0]


def test_the_shorter_side_is_resized_and_the_centre_cut_out(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        Image.fromarray(wide).save(tmp_path / kind / "1.png")
    pixels = load_dataset(f"imagefolder:{tmp_path}?size=10&resize=10").split("test").pixels([0])
    assert pixels.min() == 1.0


def test_grey_photos_can_be_asked_for(folder):
    assert load_dataset(f"imagefolder:{folder}?size=8&mode=L").shape == (1, 8, 8)


def test_a_folder_of_classes_is_the_split_test(folder):
    assert list(load_dataset(f"imagefolder:{folder / 'train'}?size=8").splits) == ["test"]


def test_a_photo_that_is_none_or_cut_short_is_left_out_and_recorded(folder):
    whole = load_dataset(f"imagefolder:{folder}?size=8")
    (folder / "train" / "cat" / "0.png").write_bytes(b"no photo")
    cut = folder / "train" / "a dog" / "1.jpg"
    cut.write_bytes(cut.read_bytes()[:-30])
    data = load_dataset(f"imagefolder:{folder}?size=8")
    assert [(s.path.rpartition("/")[2], s.reason) for s in data.skipped] == [
        ("1.jpg", "cut short"),
        ("0.png", "not an image"),
    ]
    assert data.split("train").ids.tolist() == [0, 2, 4, 5]
    assert np.array_equal(data.split("test").ids, whole.split("test").ids)
    assert data.split("train").pixels(slice(None)).shape == (4, 3, 8, 8)


def test_a_photo_that_breaks_later_is_named(folder):
    data = load_dataset(f"imagefolder:{folder}?size=8")
    (folder / "val" / "cat" / "0.png").write_bytes(b"gone")
    with pytest.raises(DataError, match=r"val/cat/0.png cannot be decoded"):
        data.split("test").pixels([2])


def test_the_hash_follows_content_names_and_options_but_not_the_place(folder):
    before = dataset_hash(f"imagefolder:{folder}?size=8")
    assert before == load_dataset(f"imagefolder:{folder}?size=8").content_hash
    assert dataset_hash(f"imagefolder:{folder}?size=9") != before
    moved = folder.rename(folder.parent / "elsewhere")
    assert dataset_hash(f"imagefolder:{moved}?size=8") == before
    photo(moved / "train" / "cat" / "0.png", (254, 0, 0))
    assert dataset_hash(f"imagefolder:{moved}?size=8") != before


def test_a_missing_or_empty_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        load_dataset(f"imagefolder:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="no photos in"):
        load_dataset(f"imagefolder:{tmp_path}")


def test_one_folder_alone_is_one_class(tmp_path):
    photo(tmp_path / "cat" / "1.png", (1, 2, 3))
    with pytest.raises(DataError, match="one class only"):
        load_dataset(f"imagefolder:{tmp_path}?size=8")


@pytest.mark.parametrize("options", ["size=0", "size=ten", "size=8&resize=4", "mode=CMYK"])
def test_options_out_of_range_are_refused(folder, options):
    with pytest.raises(DataError, match="imagefolder options"):
        load_dataset(f"imagefolder:{folder}?{options}")


def test_an_unknown_option_gets_the_nearest(folder):
    with pytest.raises(UnknownNameError, match="Did you mean 'size'"):
        load_dataset(f"imagefolder:{folder}?sise=8")
