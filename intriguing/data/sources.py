"""Named data sets: their folders, hashes and readers. Torch is imported only for CIFAR-10."""

import io
import logging
import lzma
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from intriguing.data import factories, photos
from intriguing.data.arrays import Arrays, Parts, sorted_arrays
from intriguing.data.dataset import Dataset, Names, build_dataset
from intriguing.data.files import hash_arrays, hash_files, read_idx
from intriguing.data.npz import read_npz
from intriguing.data.vision import torchvision
from intriguing.errors import DataError, unknown_name

log = logging.getLogger(__name__)

_PATIENCE = 60.0

EMBEDDED = Path(__file__).with_name("mnist_sample.npz.xz")


@dataclass(frozen=True)
class NamedSource:
    """A named data set: a sentence, its sizes, and its files below the root folder."""

    name: str
    sentence: str
    shape: tuple[int, int, int]
    classes: int
    sizes: dict[str, int]
    folder: str = ""
    files: tuple[str, ...] = ()
    torchvision_class: str = ""
    class_names: tuple[str, ...] = ()


_IDX = tuple(f"{p}-{k}-ubyte" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1"))
_CIFAR = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_GREY, _FULL = (1, 28, 28), {"train": 60_000, "test": 10_000}

KNOWN: dict[str, NamedSource] = {
    k.name: k
    for k in (
        NamedSource(
            "mnist-sample",
            "10,000 real MNIST digits, embedded in the package",
            _GREY,
            10,
            {"train": 8_000, "test": 2_000},
        ),
        NamedSource("mnist", "all 70,000 MNIST digits", _GREY, 10, _FULL, "MNIST/raw", _IDX, "MNIST"),
        NamedSource(
            "fashion-mnist",
            "70,000 photos of clothes",
            _GREY,
            10,
            _FULL,
            "FashionMNIST/raw",
            _IDX,
            "FashionMNIST",
            _CLOTHES,
        ),
        NamedSource(
            "cifar10",
            "60,000 small colour photos",
            (3, 32, 32),
            10,
            {"train": 50_000, "test": 10_000},
            "cifar-10-batches-py",
            _CIFAR,
            "CIFAR10",
            _THINGS,
        ),
    )
}

# Sources with a path or a name after the colon, for help texts.
FORMS: dict[str, str] = {
    "npz:PATH": "arrays train_images, train_labels, test_images, test_labels (or images, labels) in an npz file",
    "imagefolder:PATH": "photos in one folder per class, under train/ and test/ (or val/), or directly; ?size=224",
    "module:factory": "a Python function without arguments that returns a Dataset, a mapping or a tuple of arrays",
}


def data_root(root: str | Path | None = None) -> Path:
    """The folder of named data sets: `root`, else $INTRIGUING_DATA, else ~/.cache/intriguing."""
    return Path(root or os.environ.get("INTRIGUING_DATA") or "~/.cache/intriguing").expanduser()


def load_dataset(source: str, root: str | Path | None = None, download: bool = False) -> Dataset:
    """Read and check the data set of a `source`.

    `source` is a known name (`KNOWN`), `npz:PATH`, `imagefolder:PATH?size=224`, or `module:factory`. Named data sets
    are in `data_root(root)`, in torchvision's layout; `download` fetches missing ones. Relative paths are searched in
    the working folder, then in that root.

    Raises: `UnknownNameError` for an unknown name; `DataError` for missing files (it names their path) and for unusable
    contents (see `build_dataset`).
    """
    kind, _, rest = source.partition(":")
    if kind == "npz" and rest:
        path = _path(rest, root)
        return _built(source, sorted_arrays(read_npz(path), f"Data set {source!r}"), dataset_hash(source, root))
    if kind == "imagefolder" and rest:
        folder, options = photos.parse(rest)
        return photos.load(source, _path(folder, root), options)
    if rest:
        returned = factories.call(source)
        if isinstance(returned, Dataset):
            return returned
        contents = sorted_arrays(returned, f"What {source} returned")
        content = hash_arrays(
            (f"{split}/{name}", array)
            for split, arrays in contents.parts.items()
            for name, array in zip(("images", "labels", "ids"), arrays, strict=True)
            if array is not None
        )
        return _built(source, contents, f"{factories.source_hash(source)[:32]}{content[:32]}")
    entry = _known(source)
    if not entry.folder:
        return _embedded()
    folder = _folder(entry, data_root(root), download)
    reader = _read_cifar if entry.torchvision_class == "CIFAR10" else _read_mnist
    names = Names(entry.class_names)
    return build_dataset(source, reader(entry, folder), _hash_known(entry, folder), entry.classes, names=names)


def dataset_hash(source: str, root: str | Path | None = None) -> str:
    """The SHA-256 of a data set's files, without torch and without decoding images.

    For `module:factory` it covers only the factory's source; `Dataset.content_hash` also covers the returned arrays.
    For all other sources both are equal. Raises: as `load_dataset`.
    """
    kind, _, rest = source.partition(":")
    if kind == "npz" and rest:
        path = _path(rest, root)
        if not path.is_file():
            raise DataError(f"There is no file {path}. Put the npz file there, or correct the path.")
        return hash_files([("npz", path)])
    if kind == "imagefolder" and rest:
        folder, options = photos.parse(rest)
        return photos.content_hash(_path(folder, root), options)
    if rest:
        return factories.source_hash(source)
    entry = _known(source)
    if not entry.folder:
        return hash_files([(EMBEDDED.name, EMBEDDED)])
    return _hash_known(entry, _folder(entry, data_root(root), download=False))


def describe(source: str, root: str | Path | None = None) -> dict[str, object]:
    """The row of a source in `intriguing datasets`: name, sentence, shape, classes, sizes, path, `present`.

    `path` is its folder or file, None if it needs none. A source that is not a named one is loaded.
    """
    if source not in KNOWN:
        data = load_dataset(source, root)
        sizes = {name: len(split) for name, split in data.splits.items()}
        return {
            "name": source,
            "sentence": "",
            "shape": data.shape,
            "classes": data.classes,
            "sizes": sizes,
            "path": None,
            "present": True,
        }
    entry = KNOWN[source]
    folder = data_root(root) / entry.folder if entry.folder else None
    present = folder is None or all((folder / f).is_file() for f in entry.files)
    return {
        "name": entry.name,
        "sentence": entry.sentence,
        "shape": entry.shape,
        "classes": entry.classes,
        "sizes": dict(entry.sizes),
        "path": None if folder is None else str(folder),
        "present": present,
    }


def known_datasets(root: str | Path | None = None) -> list[dict[str, object]]:
    """`describe` of every named data set, in the order of `KNOWN`."""
    return [describe(name, root) for name in KNOWN]


def _known(source: str) -> NamedSource:
    if source not in KNOWN:
        raise unknown_name("data set", source, [*KNOWN, *FORMS])
    return KNOWN[source]


def _path(text: str, root: str | Path | None) -> Path:
    path = Path(text).expanduser()
    if path.is_absolute() or path.exists():
        return path
    inside = data_root(root) / path
    return inside if inside.exists() else path


def _built(source: str, contents: Arrays, content_hash: str) -> Dataset:
    names = Names(contents.class_names, contents.paths)
    return build_dataset(source, contents.parts, content_hash, contents.classes, names=names)


@cache
def _embedded() -> Dataset:
    with lzma.open(EMBEDDED) as packed, np.load(io.BytesIO(packed.read()), allow_pickle=False) as arrays:
        contents = sorted_arrays(dict(arrays), "The embedded sample")
    return build_dataset("mnist-sample", contents.parts, dataset_hash("mnist-sample"), 10)


def _folder(entry: NamedSource, root: Path, download: bool) -> Path:
    folder = root / entry.folder
    missing = [f for f in entry.files if not (folder / f).is_file()]
    if missing and download:
        log.info("downloading %s to %s; a server that says nothing for %g s ends it", entry.name, root, _PATIENCE)
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_PATIENCE)
        try:
            getattr(torchvision().datasets, entry.torchvision_class)(str(root), download=True)
        except (OSError, RuntimeError) as e:
            raise DataError(f"Could not download {entry.name} to {root}: {e}. Fill {folder} by hand.") from e
        finally:
            socket.setdefaulttimeout(before)
        missing = [f for f in entry.files if not (folder / f).is_file()]
    if missing:
        raise DataError(
            f"Data set {entry.name!r} is not in {folder}: {', '.join(missing)} missing. Allow the download, put them "
            "there, or point INTRIGUING_DATA (or the root) at the folder that holds "
            f"{entry.folder.partition('/')[0]}/."
        )
    return folder


def _hash_known(entry: NamedSource, folder: Path) -> str:
    return hash_files((f, folder / f) for f in entry.files)


_Reader = Callable[[NamedSource, Path], Parts]


def _read_mnist(entry: NamedSource, folder: Path) -> Parts:
    return {
        split: (read_idx(folder / f"{p}-images-idx3-ubyte")[:, None], read_idx(folder / f"{p}-labels-idx1-ubyte"), None)
        for split, p in (("train", "train"), ("test", "t10k"))
    }


def _read_cifar(entry: NamedSource, folder: Path) -> Parts:
    # The files are pickles; torchvision checks their MD5 sums before opening them.
    try:
        sets = {s: torchvision().datasets.CIFAR10(str(folder.parent), train=s == "train") for s in ("train", "test")}
    except RuntimeError:
        raise DataError(f"The files in {folder} are not CIFAR-10's (wrong checksum). Download them again.") from None
    return {s: (d.data.transpose(0, 3, 1, 2), np.asarray(d.targets), None) for s, d in sets.items()}
