"""Data sets by name and from factories, sources that are none, and hashes."""

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
        ("gone:~nobody.of.this.name", r"'gone:' is no form .* there is no '~nobody"),
        ("csv:gone.csv", r"'csv:' is no form of data set, and there is no 'gone.csv'. Images with their labels .*npz"),
        (":gone", r"':' is no form of data set, and there is no 'gone'"),
        ("..:gone", r"'..:' is no form of data set"),
        ("csv:gone", r"'csv:' is no form of data set, and there is no 'gone'. Images with their labels"),
        ("C:/data/gone.npz", r"'C:' is no form of data set, and there is no '/data/gone.npz'"),
        ("mine:load-it", r"'mine:load-it' does not name a factory"),
        ("mine.py:load", r"names a file; write the module, without .py: mine:load"),
    ],
)
@pytest.mark.parametrize("read", [load_dataset, dataset_hash])
def test_a_path_without_its_form_is_told_what_to_write(source, told, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("d.csv", "d.npz", "code.py", "mine.py"):
        (tmp_path / name).write_text("0,1")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "code.py").touch()
    with pytest.raises((DataError, UnknownNameError), match=told):
        read(source)


def test_what_lies_in_the_place_of_a_data_file_is_told(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\n")
    with pytest.raises(DataError, match=r"cannot be read as an npz file \(it is a pointer of Git LFS: `git lfs pull`"):
        load_dataset(f"npz:{tmp_path / 'a.npz'}")
    (tmp_path / "b").write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(DataError, match=r"is not an IDX file: it is a web page"):
        read_idx(tmp_path / "b")


def test_the_sample_has_no_names_and_known_sets_have_theirs():
    assert (load_dataset("mnist-sample").class_names, load_dataset("mnist-sample").names_hash) == ((), "")
    assert KNOWN["cifar10"].class_names[5] == "dog"
    assert KNOWN["fashion-mnist"].class_names[9] == "Ankle boot"
    assert all(len(known.class_names) in (0, known.classes) for known in KNOWN.values())


def test_a_data_set_is_shown_in_a_line(npz):
    data = load_dataset(npz(images=np.zeros((30, 4, 4)), labels=np.arange(30) % 2))
    assert "<float32 (30, 1, 4, 4)>" in repr(data.split("test"))
    assert len(repr(data)) < 500


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
        ("not a module:build", "'not a module:' is no form of data set"),
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
    files["intriguing.made"] = str(tmp_path / "intriguing" / "made.py")  # of a checkout, which is not installed
    for name, file in files.items():
        module = ModuleType(name)
        module.__file__ = file
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.chdir(tmp_path)
    factories._note("users_own", {"users_made", "numpy", "intriguing.made"})
    assert {"users_own": str(tmp_path / "users_own.py")} == factories.IMPORTED
