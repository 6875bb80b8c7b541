"""Data sets by name, from npz files and from factories, and their hashes."""

import pickle
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from intriguing.data import KNOWN, dataset_hash, describe, factories, known_datasets, load_dataset
from intriguing.data.files import read_idx
from intriguing.engine.paths import allow_working_folder
from intriguing.errors import DataError, UnknownNameError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()
    )


@pytest.fixture
def small_mnist(tmp_path):
    """A root folder in torchvision's layout, with a space and a quote in its path."""
    root = tmp_path / "my 'data'"
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 6), ("t10k", 4)):
        write_idx(root / f"MNIST/raw/{prefix}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28), np.uint8))
        write_idx(root / f"MNIST/raw/{prefix}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))
    return root


@pytest.fixture
def module_path(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "some set.npz"
        np.savez(path, **arrays)
        return f"npz:{path}"

    return write


def test_the_embedded_sample_is_8000_and_2000_digits_of_ten_classes():
    data = load_dataset("mnist-sample")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 8000, "test": 2000}
    assert (data.shape, data.classes) == ((1, 28, 28), 10)
    assert data.split("train").pixels(slice(0, 9)).max() == 1.0


def test_the_embedded_sample_is_small():
    assert (Path(load_dataset.__code__.co_filename).parent / "mnist_sample.npz.xz").stat().st_size < 3_000_000


@pytest.mark.shared
def test_the_embedded_sample_is_a_part_of_mnist_in_its_proportions():
    sample, whole = load_dataset("mnist-sample"), load_dataset("mnist", SHARED)
    for name, part in sample.splits.items():
        full = whole.split(name)
        rows = full.positions(part.ids)
        assert np.array_equal(np.asarray(full.images)[rows], part.images)
        assert np.array_equal(full.labels[rows], part.labels)
        expected = np.bincount(full.labels) * len(part) / len(full)
        assert np.abs(np.bincount(part.labels) - expected).max() < 1


@pytest.mark.shared
def test_real_fashion_mnist_and_cifar10_load():
    splits = load_dataset("fashion-mnist", SHARED).splits
    assert KNOWN["fashion-mnist"].sizes == {name: len(split) for name, split in splits.items()}
    assert load_dataset(f"npz:{SHARED / 'cifar10.npz'}").shape == (3, 32, 32)


def test_mnist_is_read_from_torchvisions_layout(small_mnist):
    data = load_dataset("mnist", small_mnist)
    assert data.split("test").labels.tolist() == [0, 1, 2, 3]
    assert data.split("test").ids.tolist() == [6, 7, 8, 9]
    raw = read_idx(small_mnist / "MNIST/raw/t10k-images-idx3-ubyte")
    assert np.array_equal(data.split("test").images[np.array([3])][0, 0], raw[3])


def test_the_root_is_taken_from_the_environment(small_mnist, monkeypatch):
    monkeypatch.setenv("INTRIGUING_DATA", str(small_mnist))
    assert len(load_dataset("mnist").split("train")) == 6


def test_missing_files_are_named_with_the_folder_to_fill(small_mnist):
    (small_mnist / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError) as told:
        load_dataset("mnist", small_mnist)
    assert str(small_mnist / "MNIST/raw") in str(told.value)
    assert "t10k-labels-idx1-ubyte missing" in str(told.value)
    assert "train-images" not in str(told.value)


def test_cifar10_of_another_content_is_refused(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": 1}))
    with pytest.raises(DataError, match="not CIFAR-10's"):
        load_dataset("cifar10", tmp_path)


@pytest.mark.parametrize("keep", [2, 10, 500])
def test_a_truncated_idx_file_is_refused(small_mnist, keep):
    path = small_mnist / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        load_dataset("mnist", small_mnist)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="'mnist-sampel'. Did you mean 'mnist-sample'"):
        load_dataset("mnist-sampel")


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


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("d.csv", r"'d.csv' is a file of a kind that is not read. Images with their labels .*numpy.savez"),
        ("csv:d.csv", r"'csv:' is no form of data set, and 'd.csv' is there. Images with their labels"),
        (
            "folder:photos?size=8",
            r"'folder:' is no form of data set, and 'photos' is there. Write 'imagefolder:photos\?si",
        ),
        ("npy:d.npz", r"'npy:' is no form of data set, and 'd.npz' is there. Write 'npz:d.npz'."),
        ("code.py", r"'code.py' is a file of Python: write code:FUNCTION, the"),
        ("photos/code.py", r"'photos/code.py' is a file of Python: write photos.code:FUNCTION, the"),
        ("gone:load", r"There is no module 'gone'"),
        (
            "gone:photos",
            r"'gone:' is no form .* Write 'imagefolder:photos'. For a function of yours: There is no module",
        ),
        ("~nobody.of.this.name", r"There is no data set named"),
        ("npz:~nobody.of.this.name/d.npz", r"There is no file ~nobody"),
        ("gone:~nobody.of.this.name", r"does not name a factory"),
    ],
)
@pytest.mark.parametrize("read", [load_dataset, dataset_hash])
def test_a_path_without_its_form_is_told_what_to_write(source, told, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("d.csv", "d.npz", "code.py"):
        (tmp_path / name).write_text("0,1")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "code.py").touch()
    with pytest.raises((DataError, UnknownNameError), match=told):
        read(source)


def test_npz_without_labels_is_refused(npz):
    with pytest.raises(DataError, match="test_images and no test_labels"):
        load_dataset(npz(images=np.zeros((2, 6, 6))))


def test_a_truncated_npz_is_refused(npz):
    source = npz(images=np.zeros((20, 6, 6)), labels=np.arange(20))
    path = Path(source.removeprefix("npz:"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"some set.npz cannot be read as an npz file"):
        load_dataset(source)


def test_what_lies_in_the_place_of_a_data_file_is_told(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\n")
    with pytest.raises(DataError, match=r"cannot be read as an npz file \(it is a pointer of Git LFS: `git lfs pull`"):
        load_dataset(f"npz:{tmp_path / 'a.npz'}")
    (tmp_path / "b").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(DataError, match=r"is not an IDX file: it is a web page"):
        read_idx(tmp_path / "b")


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


def test_the_sample_has_no_names_and_known_sets_have_theirs():
    assert (load_dataset("mnist-sample").class_names, load_dataset("mnist-sample").names_hash) == ((), "")
    assert KNOWN["cifar10"].class_names[5] == "dog"
    assert KNOWN["fashion-mnist"].class_names[9] == "Ankle boot"
    assert all(len(known.class_names) in (0, known.classes) for known in KNOWN.values())


def test_a_data_set_is_shown_in_a_line(npz):
    data = load_dataset(npz(images=np.zeros((30, 4, 4)), labels=np.arange(30) % 2))
    assert "<float32 (30, 1, 4, 4)>" in repr(data.split("test"))
    assert len(repr(data)) < 500


def test_floats_that_were_divided_twice_are_warned_of(npz, caplog):
    load_dataset(npz(images=np.full((2, 4, 4), 0.003), labels=np.array([0, 1])))
    assert "divided by 255 twice?" in caplog.text


def test_the_hash_on_disk_is_the_hash_of_the_loaded_data_set(npz, small_mnist):
    source = npz(images=np.zeros((2, 6, 6)), labels=np.array([0, 1]))
    assert dataset_hash(source) == load_dataset(source).content_hash
    assert dataset_hash("mnist", small_mnist) == load_dataset("mnist", small_mnist).content_hash
    assert dataset_hash("mnist-sample") == load_dataset("mnist-sample").content_hash


def test_the_hash_follows_the_content(small_mnist):
    before = dataset_hash("mnist", small_mnist)
    path = small_mnist / "MNIST/raw/train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))
    assert dataset_hash("mnist", small_mnist) != before


FACTORIES = {
    "mapping": "{'images': images, 'labels': labels}",
    "pair": "(images, labels)",
    "two_pairs": "((images, labels), (images, labels))",
    "splits": "{'train': (images, labels), 'test': (images, labels)}",
    "tensors": "(torch.from_numpy(images), torch.from_numpy(labels))",
}


@pytest.mark.parametrize("form", FACTORIES)
def test_a_factory_may_return_arrays_in_any_of_the_forms(module_path, form):
    (module_path / f"made_{form}.py").write_text(
        "import numpy as np, torch\n"
        "def build():\n"
        "    images, labels = np.full((4, 3, 3), 0.5, np.float32), np.array([0, 1, 2, 1])\n"
        f"    return {FACTORIES[form]}\n"
    )
    data = load_dataset(f"made_{form}:build")
    assert (data.classes, data.shape, len(data.split("test"))) == (3, (1, 3, 3), 4)


def test_a_missing_module_is_told_with_the_nearest_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mycode.py").write_text("")
    with pytest.raises(DataError, match="no module 'mycod' .*Did you mean 'mycode'"):
        load_dataset("mycod:build")


def test_a_missing_npz_file_is_told_with_the_nearest_there(tmp_path):
    (tmp_path / "digits.npz").write_text("")
    with pytest.raises(DataError, match="no file .*digit.npz. Did you mean 'digits.npz'"):
        load_dataset(f"npz:{tmp_path}/digit.npz")
    with pytest.raises(DataError, match=f"no file .* There is no folder {tmp_path}/data[.]"):
        load_dataset(f"npz:{tmp_path}/data/digit.npz")


def test_a_factorys_hash_follows_its_source_without_importing_it(module_path):
    path = module_path / "explosive.py"
    path.write_text("raise SystemExit('imported')\n")
    before = dataset_hash("explosive:build")
    path.write_text("raise SystemExit('imported')  # changed\n")
    assert dataset_hash("explosive:build") != before


def test_a_factorys_content_hash_follows_what_it_returns(module_path, monkeypatch):
    (module_path / "from_env.py").write_text(
        "import os, numpy as np\n"
        "def build():\n    return np.full((2, 3, 3), float(os.environ['GREY'])), np.array([0, 1])\n"
    )
    monkeypatch.setenv("GREY", "0.25")
    before = load_dataset("from_env:build").content_hash
    assert load_dataset("from_env:build").content_hash == before
    monkeypatch.setenv("GREY", "0.5")
    assert load_dataset("from_env:build").content_hash != before


def test_a_module_in_a_package_is_hashed_with_the_package(module_path):
    package = module_path / "pack"
    package.mkdir()
    for name in ("__init__", "data", "helper"):
        (package / f"{name}.py").write_text("raise SystemExit('imported')\n")
    before = dataset_hash("pack.data:build")
    (package / "helper.py").write_text("changed = 1\n")
    assert dataset_hash("pack.data:build") != before


def test_a_factory_in_the_working_folder_is_found_only_where_the_path_has_that_folder(tmp_path, monkeypatch):
    (tmp_path / "beside_me.py").write_text(
        "import numpy as np\ndef build():\n    return np.zeros((2, 3, 3)), np.array([0, 1])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    with pytest.raises(DataError, match="no module 'beside_me'"):
        load_dataset("beside_me:build")
    allow_working_folder()
    assert sys.path[-1] == str(tmp_path)
    assert len(load_dataset("beside_me:build").split("test")) == 2


def test_a_module_in_packages_without_init_is_found(tmp_path, monkeypatch):
    (tmp_path / "outer_space" / "inner").mkdir(parents=True)
    (tmp_path / "outer_space" / "inner" / "deep.py").write_text(
        "import numpy as np\ndef build():\n    return np.zeros((2, 3, 3)), np.array([0, 1])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert len(load_dataset("outer_space.inner.deep:build").split("test")) == 2


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("no_such_module:build", "There is no module 'no_such_module'"),
        ("broken_set:nothing", "no function 'nothing'.*It has: build, text[.]"),
        ("broken_set:build", "failed: ZeroDivisionError"),
        ("broken_set:text", "What broken_set:text returned is a str"),
        ("not a module:build", "write module:factory"),
    ],
)
def test_a_factory_that_does_not_work_is_told(module_path, source, told):
    (module_path / "broken_set.py").write_text("def build():\n    return 1 / 0\ndef text():\n    return 'x'\n")
    with pytest.raises(DataError, match=told):
        load_dataset(source)


def test_known_data_sets_say_where_they_lie_and_whether_they_are_there(small_mnist):
    known = {d["name"]: d for d in known_datasets(small_mnist)}
    assert [known[n]["present"] for n in ("mnist-sample", "mnist", "cifar10")] == [True, True, False]
    assert known["cifar10"]["path"] == str(small_mnist / "cifar-10-batches-py")
    assert describe("mnist-sample")["sizes"] == {"train": 8000, "test": 2000}


def test_loading_and_hashing_the_sample_imports_no_torch():
    code = (
        "import sys\nfrom intriguing.data import load_dataset, dataset_hash\nload_dataset('mnist-sample')\n"
        "dataset_hash('mnist-sample')\nassert not {'torch', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=250)


def test_what_a_module_imports_is_told_but_for_what_is_installed_or_made_by_torch(monkeypatch, tmp_path):
    monkeypatch.setattr(factories, "IMPORTED", {})
    files = {"users_own": str(tmp_path / "users_own.py"), "users_made": "_made.py", "numpy": np.__file__}
    for name, file in files.items():
        module = ModuleType(name)
        module.__file__ = file
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.chdir(tmp_path)
    factories._note("users_own", {"users_made", "numpy"})
    assert {"users_own": str(tmp_path / "users_own.py")} == factories.IMPORTED
