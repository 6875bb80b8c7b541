"""Folders of photos."""

import errno
import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from intriguing.activations import read_items
from intriguing.data import dataset_hash, load_dataset
from intriguing.errors import DataError, UnavailableError, UnknownNameError


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


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("1.bmp", "RGB", {}),
        ("1.bmp", "1", {}),
        ("1.bmp", "P", {}),
        ("1.gif", "P", {}),
        ("1.tif", "RGB", {}),
        ("1.tif", "RGB", {"compression": "tiff_lzw"}),
        ("1.tif", "L", {"compression": "packbits"}),
        ("1.ppm", "RGB", {}),
        ("1.pgm", "I;16", {}),
        ("1.pbm", "1", {}),
        ("1.webp", "RGB", {}),
        ("1.jp2", "RGB", {}),
        ("1.j2k", "RGB", {}),
        ("1.avif", "RGB", {}),
    ],
)
def test_photos_of_every_kind_that_are_cut_short_are_told_before_work(folder, name, mode, options):
    """Those without an end mark of their own were found when they were decoded, after work had begun."""
    numbers = np.random.default_rng(0).integers(0, 256, (40, 41, 3), dtype=np.uint8)
    photo = Image.fromarray(numbers[..., 0].astype(np.uint16)) if mode == "I;16" else Image.fromarray(numbers)
    path = folder / "train" / "cat" / name
    (photo if mode == "I;16" else photo.convert(mode)).save(path, **options)
    source = f"imagefolder:{folder}?size=8"
    assert load_dataset(source).skipped == ()
    path.write_bytes(path.read_bytes()[:-100])
    [skipped] = load_dataset(source).skipped
    assert skipped.path == f"train/cat/{name}"


def test_a_photo_whose_header_says_too_much_is_read_where_it_can_be(folder):
    path = folder / "train" / "cat" / "1.bmp"
    Image.new("RGB", (40, 40), "red").save(path)
    content = path.read_bytes()
    path.write_bytes(content[:2] + (10**6).to_bytes(4, "little") + content[6:])
    assert load_dataset(f"imagefolder:{folder}?size=8").skipped == ()


def test_photos_are_found_after_the_working_folder_was_changed(folder, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(folder.parent)
    split = load_dataset(f"imagefolder:{folder.name}?size=8&resize=8").split("test")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert split.pixels([0]).shape == (1, 3, 8, 8)


def test_a_photo_that_is_changed_or_removed_later_is_no_damaged_one(folder):
    """Its place in a stored table would say "damaged", under the hash of the folder in which it was whole."""
    split = load_dataset(f"imagefolder:{folder}?size=8").split("test")
    path = folder / "val" / "cat" / "0.png"
    for content in (b"no photo", (folder / "val" / "cat" / "1.png").read_bytes() + b"more"):
        path.write_bytes(content)
        with pytest.raises(UnavailableError, match=r"val/cat/0.png was changed after"):
            split.readable(np.arange(4))
        with pytest.raises(UnavailableError, match=r"val/cat/0.png was changed after"):
            list(read_items(OneByOne(split), range(4), skipped=[]))
    path.unlink()
    with pytest.raises(UnavailableError, match=r"val/cat/0.png cannot be read now: No such file"):
        split.readable(np.arange(4))


class OneByOne:
    """A data set of the photos of a split, one by one."""

    def __init__(self, split):
        self.split = split

    def __getitem__(self, at):
        return self.split.pixels([at])[0]


def test_a_photo_that_the_system_does_not_give_is_no_damaged_one(folder, monkeypatch):
    def given(path):
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    split = load_dataset(f"imagefolder:{folder}?size=8").split("test")
    monkeypatch.setattr("intriguing.data.decoding.open_regular", given)
    for call in (lambda: split.readable(np.arange(4)), lambda: load_dataset(f"imagefolder:{folder}?size=8")):
        with pytest.raises(UnavailableError, match="cannot be read now: Too many open files"):
            call()


def test_photos_of_kinds_that_are_not_read_are_counted_as_such(folder, caplog):
    photo(folder / "train" / "cat" / "9.avif", (1, 2, 3))
    photo(folder / "train" / "cat" / "9.JP2", (1, 2, 3))
    (folder / "train" / "cat" / "IMG_1.HEIC").write_bytes(b"x")
    data = load_dataset(f"imagefolder:{folder}?size=8")
    assert len(data.split("train")) == 6 + sum(map(features.check, ("avif", "jpg_2000")))
    assert (
        "1 photos of a kind that is not read (save them as JPEG or PNG) (such as train/cat/IMG_1.HEIC)" in caplog.text
    )
    only = folder / "only"
    for kind in "ab":
        (only / kind).mkdir(parents=True)
        (only / kind / "1.heic").write_bytes(b"x")
    with pytest.raises(DataError, match="There are no photos in .*2 photos of a kind that is not read"):
        load_dataset(f"imagefolder:{only}")


def test_a_folder_that_may_not_be_read_is_told(folder, monkeypatch):
    """It was a class without photos, so every class behind it had the wrong number."""
    closed, scandir = folder / "train" / "cat", os.scandir

    def opened(path):
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", opened)
    with pytest.raises(UnavailableError, match=r"train/cat cannot be read: Permission denied"):
        load_dataset(f"imagefolder:{folder}?size=8")


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


def test_the_hash_of_a_folder_is_what_it_was(tmp_path):
    """A run folder of an earlier version goes on: its photos have the pixels and the hash that they had."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.pgm").write_bytes(b"P5 2 2 255\n" + name.encode() * 4)
    assert dataset_hash(f"imagefolder:{tmp_path}?size=2") == HASH


HASH = "e3a9b03b6a896fc92a3031acda6f29bd39f42ee0f6a631ad9a7b0f26ec9324e0"


def test_photos_that_are_read_otherwise_than_before_change_the_hash(folder):
    """Their pixels are others, so what was computed from them is computed again."""
    source = f"imagefolder:{folder}?size=64"
    path = folder / "train" / "cat" / "0.png"
    content = path.read_bytes()
    for image in (Image.new("I;16", (9, 9)), Image.new("RGBA", (9, 9)), Image.new("RGB", (2, 60_000))):
        image.save(path)
        before = dataset_hash(source)
        assert before == load_dataset(source).content_hash
        assert "reader 2" in salt_of(folder)
    path.write_bytes(content)
    assert "reader 2" not in salt_of(folder)


def salt_of(folder):
    """What the hash of a folder is salted with."""
    salts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("intriguing.data.photos.hash_files", lambda files, salt, ends: salts.append(salt))
        dataset_hash(f"imagefolder:{folder}?size=64")
    return salts[0]


def test_what_is_hidden_or_left_behind_is_no_class_and_no_photo(folder, caplog):
    before = load_dataset(f"imagefolder:{folder}?size=8")
    for litter in (
        "train/.ipynb_checkpoints/0-checkpoint.png",
        "train/__MACOSX/cat/0.png",
        "train/.cat/0.png",
        "train/cat/.ipynb_checkpoints/0-checkpoint.png",
        "train/cat/@eaDir/0.png",
        "train/cat/._0.png",
        "val/cat/sub/.hidden/1.png",
    ):
        photo(folder / litter, (9, 9, 9))
    (folder / "train" / "cat" / "Thumbs.db").write_bytes(b"x")
    (folder / "train" / "cat" / "notes.txt").write_text("x")
    (folder / "train" / "loose.png").write_bytes(b"x")
    (folder / "train" / "a bird").mkdir()
    with caplog.at_level(logging.WARNING):
        data = load_dataset(f"imagefolder:{folder}?size=8")
    assert data.class_names == before.class_names == ("a dog", "cat")
    for name in ("train", "test"):
        assert data.split(name).paths == before.split(name).paths
        assert np.array_equal(data.split(name).labels, before.split(name).labels)
    assert data.skipped == ()
    assert len(caplog.records) == 1
    assert "2 of no known kind of photo, 1 beside the class folders, 1 class folders without photos" in caplog.text


def test_an_empty_class_does_not_shift_the_labels(folder):
    (folder / "train" / "a bird").mkdir()
    data = load_dataset(f"imagefolder:{folder}?size=8")
    assert (data.classes, set(data.split("train").labels.tolist())) == (2, {0, 1})


def test_names_of_classes_and_files_are_kept(folder):
    data = load_dataset(f"imagefolder:{folder}?size=8")
    assert data.class_names == ("a dog", "cat")
    assert data.split("test").paths == ("val/a dog/0.jpg", "val/a dog/1.jpg", "val/cat/0.png", "val/cat/1.png")


def test_file_names_that_are_no_utf8_are_spelled_out(folder):
    (folder / "val" / "cat" / "1.png").rename(folder / "val" / "cat" / os.fsdecode(b"caf\xe9.png"))
    data = load_dataset(f"imagefolder:{folder}?size=8")
    assert data.split("test").paths[-1] == "val/cat/caf\\xe9.png"
    assert len(dataset_hash(f"imagefolder:{folder}?size=8")) == 64


def waited(call, seconds=200):
    """What `call` gives; fails where it does not end."""
    given = []
    thread = threading.Thread(target=lambda: given.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits for ever"
    return given[0]


def test_what_is_no_file_is_left_out_and_listed_and_never_waited_for(folder):
    before = load_dataset(f"imagefolder:{folder}?size=8")
    cat = folder / "train" / "cat"
    os.mkfifo(cat / "z-fifo.png")
    (cat / "z-gone.png").symlink_to("nowhere.png")
    (cat / "z-loop.png").symlink_to("z-loop.png")
    (cat / "z-zero.png").symlink_to("/dev/zero")
    photo(cat / "z-folder.png" / "inside.png", (1, 2, 3))
    data = waited(lambda: load_dataset(f"imagefolder:{folder}?size=8"))
    assert {s.path.rpartition("/")[2]: s.reason for s in data.skipped} == {
        "z-fifo.png": "it is a FIFO, not a file",
        "z-gone.png": "it is a link to nothing, not a file",
        "z-loop.png": "it is a link in a circle, not a file",
        "z-zero.png": "it is a device, not a file",
        "z-folder.png": "it is a folder, not a file",
    }
    assert set(data.split("train").paths) - set(before.split("train").paths) == {"train/cat/z-folder.png/inside.png"}
    assert waited(lambda: dataset_hash(f"imagefolder:{folder}?size=8")) == data.content_hash


def test_links_in_a_circle_are_not_followed_and_links_to_photos_are(folder, tmp_path, caplog):
    (folder / "train" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "train" / "cat" / "up").symlink_to("..", target_is_directory=True)
    (folder / "train" / "self").symlink_to("self", target_is_directory=True)
    (folder / "train" / "cat" / "9.png").symlink_to(folder / "val" / "cat" / "0.png")
    data = load_dataset(f"imagefolder:{folder}?size=8")
    assert data.class_names == ("a dog", "cat")
    assert len(data.split("train")) == 7
    assert "2 links to folders" in caplog.text


def test_a_damaged_photo_that_only_decoding_shows_is_told_and_the_others_are_read(folder):
    path = folder / "train" / "cat" / "1.a.tif"
    Image.effect_noise((60, 60), 90).save(path, compression="tiff_lzw")
    content = path.read_bytes()
    path.write_bytes(content[:20] + b"\xff" * 60 + content[80:])
    split = load_dataset(f"imagefolder:{folder}?size=8").split("train")
    images, at, bad = split.readable(np.arange(len(split)))
    assert images.shape == (6, 3, 8, 8)
    assert [(s.path, s.id) for s in bad] == [("train/cat/1.a.tif", 4)]
    assert at.tolist() == [0, 1, 2, 3, 5, 6]
    assert torch.equal(images, split.pixels(at))


@pytest.mark.parametrize(
    "options", ["size=0", "size=ten", "size=8&resize=4", "mode=CMYK", "background=nocolour", "size=" + "9" * 5000]
)
def test_options_out_of_range_are_refused(folder, options):
    with pytest.raises(DataError, match="imagefolder options"):
        load_dataset(f"imagefolder:{folder}?{options}")


def test_folders_may_be_named_by_the_numbers_of_a_networks_classes(tmp_path):
    """Numbered by their sorted names, photos of an ImageNet network had the labels 0, 1, 2 and fitted no network."""
    for kind in ("207", "9", "812"):
        photo(tmp_path / "val" / kind / "1.png", "red")
    plain, numbered = (load_dataset(f"imagefolder:{tmp_path}?size=8{more}") for more in ("", "&classes=1000"))
    assert (plain.classes, plain.split("test").labels.tolist()) == (3, [0, 1, 2])
    assert (numbered.classes, numbered.split("test").labels.tolist()) == (1000, [207, 812, 9])
    assert numbered.content_hash == dataset_hash(f"imagefolder:{tmp_path}?size=8&classes=1000") != plain.content_hash
    for more, told in (
        ("812", "named by their classes' numbers, 0 to 811; 1 are not, such as '812'"),
        ("1", "at least 2"),
    ):
        with pytest.raises(DataError, match=told):
            load_dataset(f"imagefolder:{tmp_path}?size=8&classes={more}")


def test_an_unknown_option_gets_the_nearest(folder):
    with pytest.raises(UnknownNameError, match="Did you mean 'size'"):
        load_dataset(f"imagefolder:{folder}?sise=8")


def test_photos_that_are_enlarged_are_told_unless_resize_is_given(tmp_path, caplog):
    """40 x 40 became 224 x 224 without a word, and a model that was right on 89 % was right on 55 %."""
    for kind, n in (("a", 1), ("a", 2), ("b", 1)):
        photo(tmp_path / kind / f"{n}.png", "red", (40, 40))
    photo(tmp_path / "b" / "large.png", "red", (400, 300))
    load_dataset(f"imagefolder:{tmp_path}")
    assert "mostly 40 x 40 and are enlarged to a shorter side of 256, and cut to 224 x 224" in caplog.text
    assert "write ?size=40&resize=40" in caplog.text
    caplog.clear()
    load_dataset(f"imagefolder:{tmp_path}?size=40&resize=40")
    load_dataset(f"imagefolder:{tmp_path}?size=224&resize=224")
    assert "enlarged" not in caplog.text


def test_photos_that_are_larger_than_asked_are_not_called_enlarged(tmp_path, caplog):
    for kind in ("a", "b"):
        photo(tmp_path / kind / "1.png", "red", (400, 300))
    photo(tmp_path / "a" / "2.png", "red", (40, 40))
    load_dataset(f"imagefolder:{tmp_path}")
    assert "enlarged" not in caplog.text


def test_names_of_photos_that_are_left_out_command_no_terminal(folder, caplog):
    (folder / "train" / "cat" / "a\n\x1b[2Jb.jpg").write_bytes(b"")
    load_dataset(f"imagefolder:{folder}?size=8&resize=8")
    assert r"a\n\x1b[2Jb.jpg (not an image" in caplog.text
