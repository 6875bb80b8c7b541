"""Data sets by name: where they lie, what they hash to, how to read them. Torch is imported for CIFAR-10 alone."""

import io
import logging
import lzma
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from intriguing.basics.folders.files import expanded
from intriguing.basics.folders.presence import is_file, is_folder, is_there, refusal
from intriguing.data import factories, photos
from intriguing.data.arrays import Arrays, Parts, sorted_arrays
from intriguing.data.dataset import Dataset, Names, build_dataset
from intriguing.data.files import hash_arrays, hash_files, missing, near_files, read_idx
from intriguing.data.npz import read_npz
from intriguing.data.vision import torchvision
from intriguing.errors import DataError, MissingDataError, unknown_name

log = logging.getLogger(__name__)

_PATIENCE = 60.0

Root = str | Path | None

EMBEDDED = Path(__file__).with_name("mnist_sample.npz.xz")


def _read_mnist(folder: Path) -> Parts:
    return {
        split: (read_idx(folder / f"{p}-images-idx3-ubyte")[:, None], read_idx(folder / f"{p}-labels-idx1-ubyte"), None)
        for split, p in (("train", "train"), ("test", "t10k"))
    }


def _read_cifar(folder: Path) -> Parts:
    # The files are pickles: torchvision opens them only after checking their MD5 sums.
    try:
        sets = {s: torchvision().datasets.CIFAR10(str(folder.parent), train=s == "train") for s in ("train", "test")}
    except RuntimeError:
        raise DataError(f"The files in {folder} are not CIFAR-10's (wrong checksum). Download them again.") from None
    return {s: (d.data.transpose(0, 3, 1, 2), np.asarray(d.targets), None) for s, d in sets.items()}


@dataclass(frozen=True)
class NamedSource:
    """A data set that has a name of its own: a sentence, its sizes, and its files under the root folder."""

    name: str
    sentence: str
    shape: tuple[int, int, int]
    classes: int
    sizes: dict[str, int]
    folder: str = ""
    files: tuple[str, ...] = ()
    torchvision_class: str = ""
    class_names: tuple[str, ...] = ()
    read: Callable[[Path], Parts] | None = None
    """Reads the files in the folder; None for the embedded sample."""


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
        NamedSource("mnist", "all 70,000 MNIST digits", _GREY, 10, _FULL, "MNIST/raw", _IDX, "MNIST", (), _read_mnist),
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
            _read_mnist,
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
            _read_cifar,
        ),
    )
}


@dataclass(frozen=True)
class Form:
    """A form of source that takes a path after the colon: how help texts show it, and how it is read and hashed.

    load(source, rest, root): the data set. content_hash(source, rest, root): its hash, without decoding an image.
    """

    usage: str
    sentence: str
    load: Callable[[str, str, Root], Dataset]
    content_hash: Callable[[str, str, Root], str]


def _load_npz(source: str, rest: str, root: Root) -> Dataset:
    arrays = sorted_arrays(read_npz(_path(rest, root)), f"Data set {source!r}")
    return _built(source, arrays, _hash_npz(source, rest, root))


def _hash_npz(source: str, rest: str, root: Root) -> str:
    path = _path(rest, root)
    if not is_file(path):
        raise missing(path, "file", f"{near_files(path, ['.npz'])} Put the npz file there, or correct the path.")
    return hash_files([("npz", path)])


def _load_photos(source: str, rest: str, root: Root) -> Dataset:
    folder, options = photos.parse(rest)
    return photos.load(source, _path(folder, root), options)


def _hash_photos(source: str, rest: str, root: Root) -> str:
    folder, options = photos.parse(rest)
    return photos.content_hash(_path(folder, root), options)


FORMS: dict[str, Form] = {
    form.usage.partition(":")[0]: form
    for form in (
        Form(
            "npz:PATH",
            "arrays train_images, train_labels, test_images, test_labels (or images, labels) in an npz file",
            _load_npz,
            _hash_npz,
        ),
        Form(
            "imagefolder:PATH",
            "photos in one folder per class, under train/ and test/ (or val/), or directly; ?size=40&resize=40 (by "
            "default 224 and 256), mode=L; classes=1000: folders are named by the numbers of a network's classes",
            _load_photos,
            _hash_photos,
        ),
    )
}
"""The forms by the word before the colon. Another word is a module: `module:factory` is a function of the user's."""


def is_users_code(source: str) -> bool:
    """Whether a `source` is a function of the user's, `module:factory`; not a name, nor one of `FORMS`."""
    kind, _, rest = source.partition(":")
    return bool(rest) and kind not in FORMS


def source_names() -> list[str]:
    """What a source may be: the names, and the forms as help texts show them."""
    return [*KNOWN, *(form.usage for form in FORMS.values()), "module:factory"]


def data_root(root: str | Path | None = None) -> Path:
    """The folder that named data sets lie in: `root`, else $INTRIGUING_DATA, else ~/.cache/intriguing."""
    return expanded(root or os.environ.get("INTRIGUING_DATA") or "~/.cache/intriguing")


def load_dataset(source: str, root: str | Path | None = None, download: bool = False) -> Dataset:
    """The data set that `source` names, read and checked.

    `source` is a known name (`KNOWN`), `npz:PATH`, `imagefolder:PATH?size=224`, or `module:factory`. Named data sets
    lie in `data_root(root)` in torchvision's layout, and are fetched there with `download`; relative paths are looked
    for in the working folder, then in that root. Raises `UnknownNameError` for a name that nothing answers to, and
    `DataError` for missing files (with the path to fill) and for contents that cannot be used (see `build_dataset`).
    """
    kind, _, rest = source.partition(":")
    if kind in FORMS and rest:
        return FORMS[kind].load(source, rest, root)
    if rest:
        _check_kind(source, root)
        made = factories.call(source)
        if isinstance(made, Dataset):
            return made
        given = sorted_arrays(made, f"What {source} returned")
        content = hash_arrays(
            (f"{split}/{name}", array)
            for split, arrays in given.parts.items()
            for name, array in zip(("images", "labels", "ids"), arrays, strict=True)
            if array is not None
        )
        return _built(source, given, f"{factories.source_hash(source)[:32]}{content[:32]}")
    entry = _known(source)
    if not entry.folder:
        return _embedded()
    folder = _folder(entry, data_root(root), download)
    assert entry.read is not None
    names = Names(entry.class_names)
    return build_dataset(source, entry.read(folder), _hash_known(entry, folder), entry.classes, names=names)


def dataset_hash(source: str, root: str | Path | None = None) -> str:
    """The SHA-256 of a data set's content as it lies on disk, without torch and without decoding an image.

    For `module:factory` it covers the factory's source alone: what the function returns enters `Dataset.content_hash`
    when it is loaded. For every other source the two are equal. Raises as `load_dataset` does.
    """
    kind, _, rest = source.partition(":")
    if kind in FORMS and rest:
        return FORMS[kind].content_hash(source, rest, root)
    if rest:
        _check_kind(source, root)
        return factories.source_hash(source)
    entry = _known(source)
    if not entry.folder:
        return hash_files([(EMBEDDED.name, EMBEDDED)])
    return _hash_known(entry, _folder(entry, data_root(root), download=False))


def describe(source: str, root: str | Path | None = None) -> dict[str, object]:
    """What `intriguing datasets` shows of a source: name, sentence, shape, classes, sizes, path, `present`.

    `path` is the folder or file that holds it, None where it needs none. A source without a name of its own is loaded.
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
    present = folder is None or all(is_file(folder / f) for f in entry.files)
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
    """`describe` of every data set that has a name, in the order of the registry."""
    return [describe(name, root) for name in KNOWN]


_HOW = (
    "Images with their labels are read from an npz file (numpy.savez('data.npz', images=images, labels=labels), then "
    "npz:data.npz), from photos in one folder per class (imagefolder:FOLDER), or from a function of yours that reads "
    "the file (module:function)."
)


def _known(source: str) -> NamedSource:
    path = expanded(source)
    if source not in KNOWN and (is_folder(path) or source.endswith(".npz")):
        kind = "npz" if source.endswith(".npz") else "imagefolder"
        raise DataError(f"{source!r} is the name of a file or folder: write '{kind}:{source}'.")
    if source not in KNOWN and path.suffix == ".py" and is_file(path):
        written = factories.written(source, "FUNCTION")
        raise DataError(f"{source!r} is a file of Python: write {written}, the function that gives data.")
    if source not in KNOWN and is_file(path):
        raise DataError(f"{source!r} is a file of a kind that is not read. {_HOW}")
    if source not in KNOWN and len(path.parts) > 1 and (why := refusal(path)):
        raise DataError(f"{source} cannot be looked at: {why}. Make it readable, or correct the path.")
    if source not in KNOWN:
        raise unknown_name("data set", source, source_names())
    return KNOWN[source]


def _check_kind(source: str, root: Root) -> None:
    """Raise `DataError` where a `source` such as csv:data.csv or folder:photos names a path by a form that is none, or
    neither a function nor a path that is there.
    """
    kind, _, rest = source.partition(":")
    path = _path(rest.partition("?")[0], root)
    none = f"{kind + ':'!r} is no form of data set, and"
    if not is_there(path):
        if _is_no_module(kind, source):
            raise DataError(f"{none} there is no {str(path)!r}. {_HOW}")
        return
    try:
        factories.source_files(source)
    except DataError as error:
        forms = ["imagefolder"] * is_folder(path) + ["npz"] * (path.suffix == ".npz")
        said = f" Write '{forms[0]}:{rest}'." if forms else f" {_HOW}"
        mine = f" For a function of yours: {error}" if factories.is_factory(source) else ""
        raise DataError(f"{none} {str(path)!r} is there.{said}{mine}") from None


def _is_no_module(kind: str, source: str) -> bool:
    """Whether `kind:` of a `source` is meant as a form: a module of Python's own (csv, json, pickle), or a word before
    what is no function's name, unless the working folder has a module `kind`.
    """
    if kind.endswith(".py") or is_file(f"{kind.replace('.', '/')}.py"):
        return False
    return kind in sys.stdlib_module_names or not factories.is_factory(source)


def _path(text: str, root: str | Path | None) -> Path:
    path = expanded(text)
    if path.is_absolute() or is_there(path):
        return path
    inside = data_root(root) / path
    return inside if is_there(inside) else path


def _built(source: str, given: Arrays, content_hash: str) -> Dataset:
    return build_dataset(source, given.parts, content_hash, given.classes, names=Names(given.class_names, given.paths))


@cache
def _embedded() -> Dataset:
    with lzma.open(EMBEDDED) as packed, np.load(io.BytesIO(packed.read()), allow_pickle=False) as arrays:
        given = sorted_arrays(dict(arrays), "The embedded sample")
    return build_dataset("mnist-sample", given.parts, dataset_hash("mnist-sample"), 10)


def _folder(entry: NamedSource, root: Path, download: bool) -> Path:
    folder = root / entry.folder
    absent = [f for f in entry.files if not is_file(folder / f)]
    if absent and (why := refusal(folder / absent[0])):
        raise DataError(
            f"Data set {entry.name!r}: {folder / absent[0]} cannot be looked at: {why}. Make it readable, or point "
            "INTRIGUING_DATA (or the root) at another folder."
        )
    if absent and download:
        log.info("downloading %s to %s; a server that says nothing for %g s ends it", entry.name, root, _PATIENCE)
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_PATIENCE)
        try:
            getattr(torchvision().datasets, entry.torchvision_class)(str(root), download=True)
        except (OSError, RuntimeError) as e:
            raise MissingDataError(f"Could not download {entry.name} to {root}: {e}. Fill {folder} by hand.") from e
        finally:
            socket.setdefaulttimeout(before)
        absent = [f for f in entry.files if not is_file(folder / f)]
    if absent:
        raise MissingDataError(
            f"Data set {entry.name!r} is not in {folder}: {', '.join(absent)} missing. Allow the download, put them "
            "there, or point INTRIGUING_DATA (or the root) at the folder that holds "
            f"{entry.folder.partition('/')[0]}/."
        )
    return folder


def _hash_known(entry: NamedSource, folder: Path) -> str:
    return hash_files((f, folder / f) for f in entry.files)
