"""Photos in one folder per class, decoded when a batch needs them."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
from PIL import ImageColor

from intriguing.basics.folders.presence import is_folder
from intriguing.basics.text.printable import printable
from intriguing.data.dataset import Dataset, Names, Skipped, build_dataset
from intriguing.data.decoding import Look, PhotoOptions, decode, look, opened, stamp_of
from intriguing.data.files import hash_files, irregular, missing
from intriguing.errors import DataError, UnavailableError, check_names

_LOG = logging.getLogger(__name__)
_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
    )
) | {".jp2", ".j2k", ".avif"}
_OTHER_PHOTOS = frozenset((".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd", ".svg", ".tga"))
"""Photos of kinds that Pillow cannot read, or not without starting programs."""
_NO_CLASSES = frozenset(
    ("__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
)
"""Folders that systems and tools create; names that begin with a dot are ignored, too."""
_LITTER = "hidden, or left behind by a system"
_CANNOT_READ = "photos of a kind that is not read (save them as JPEG or PNG)"
_OPTIONS = ("size", "resize", "mode", "background", "classes")
# A larger folder is hashed by names, sizes and both ends of every file, because reading ImageNet takes minutes.
_HASH_WHOLE = 512 * 1024**2
_HASH_ENDS = 16 * 1024
_MEASURED = 64


def parse(text: str) -> tuple[str, PhotoOptions]:
    """The folder and the options in `PATH?size=64&resize=64&mode=L&background=black&classes=1000`.

    Without `resize` it is `size` times 256 / 224, as for ImageNet. Raises: `UnknownNameError` for another option;
    `DataError` for a value out of range.
    """
    folder, mark, query = text.rpartition("?")
    if not mark:
        return text, PhotoOptions()
    values = dict(parse_qsl(query, keep_blank_values=True))
    check_names("option of imagefolder", values, _OPTIONS)
    try:
        size = int(values.get("size", 224))
        resize = int(values.get("resize", round(size * 256 / 224)))
        classes = int(values.get("classes", 0))
    except ValueError:
        raise DataError(f"imagefolder options {query!r}: size, resize and classes are whole numbers.") from None
    mode = values.get("mode", "RGB").upper()
    if not 1 <= size <= resize <= 16_384 or mode not in ("RGB", "L"):
        raise DataError(f"imagefolder options {query!r}: 1 <= size <= resize <= 16384, and mode is RGB or L.")
    background = values.get("background", "white")
    try:
        ImageColor.getrgb(background)
    except ValueError:
        raise DataError(f"imagefolder options {query!r}: background is a colour's name, or #RRGGBB.") from None
    if "classes" in values and not 2 <= classes <= 10_000_000:
        raise DataError(f"imagefolder options {query!r}: classes is at least 2.")
    return folder, PhotoOptions(size, resize, mode, background, classes)


def enlarged(photos: "Photos") -> str:
    """A sentence where most photos are smaller than the size they are brought to; "" where they are not.

    Looks at the headers of at most 64 photos, spread over all.
    """
    options, paths = photos.options, photos.paths
    chosen = paths[:: -(-len(paths) // _MEASURED) or 1]
    sizes = Counter(size for path in chosen if (size := _size(path)))
    sides = sorted(min(size) for size in sizes.elements())
    if not sides or sum(side < options.resize for side in sides) <= len(sides) / 2:
        return ""
    (width, height), same = sizes.most_common(1)[0]
    side = min(width, height) if same > len(sides) / 2 else sides[len(sides) // 2]
    are = f"{width} x {height}" if same == len(sides) else f"mostly {width} x {height}"
    are = are if same > len(sides) / 2 else f"in the middle {side} pixels wide or high"
    to = f"a shorter side of {options.resize}, and cut to {options.size} x {options.size}"
    to = f"{options.size} x {options.size}" if options.size == options.resize else to
    return (
        f"Your photos are {are} and are enlarged to {to}: write ?size={side}&resize={side} behind the folder if the "
        "model takes them as they are."
    )


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of a photo; None where its header cannot be read."""
    try:
        with opened(path) as (photo, _):
            return photo.size
    except Exception:  # damaged files cause errors of many kinds; `look` tells them
        return None


class Photos:
    """Images (N, C, size, size) uint8 that are read from their files on demand."""

    def __init__(self, paths: list[Path], options: PhotoOptions, stamps: np.ndarray) -> None:
        self.paths = [path.absolute() for path in paths]
        """They are opened later, after the working folder may have changed."""
        self.stamps = stamps
        """Size and time of each file when the folder was read: (N, 2) int64."""
        self.options = options
        self.shape = (len(paths), 3 if options.mode == "RGB" else 1, options.size, options.size)
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The photos at these rows: (n, C, size, size) uint8.

        Raises: `DataError` for one that cannot be decoded; `UnavailableError` for one that the system does not give,
        and for one that was changed after the folder was read.
        """
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for image, row in zip(images, rows, strict=True):
            try:
                image[...] = decode(self.paths[row], self.options)
            finally:
                self._check_unchanged(row)
        return images

    def _check_unchanged(self, row: int) -> None:
        path = self.paths[row]
        try:
            stamp = stamp_of(path.stat())
        except OSError:
            return  # `decode` says so
        if stamp != tuple(self.stamps[row]):
            raise UnavailableError(
                f"The photo {path} was changed after the folder had been read. Give the same command again."
            )


@dataclass
class _Folder:
    """The contents of a folder: by split the photos as (class, path), and everything else."""

    splits: dict[str, list[tuple[str, Path]]] = field(default_factory=dict)
    left_out: list[tuple[str, Path]] = field(default_factory=list)
    """Entries that are neither a class nor a photo, with reasons."""
    folders: set[str] = field(default_factory=set)
    """Names of all folders that could be classes."""
    empty: set[str] = field(default_factory=set)
    """Class folders without a photo in any split."""
    links: list[Path] = field(default_factory=list)
    """Links to folders that are not followed."""

    @property
    def classes(self) -> list[str]:
        """The classes' names, sorted."""
        return sorted({kind for entries in self.splits.values() for kind, _ in entries})


def _contents_of(folder: Path) -> _Folder:
    """The contents of `folder` in torchvision's order: sorted classes, then sorted paths. No file is opened.

    Raises: `UnavailableError` for a folder that may not be read: left out, it would shift the numbers of the classes.
    """
    try:
        return _listed(folder)
    except OSError as error:
        why = f"{error.filename} cannot be read: {error.strerror}"
        raise UnavailableError(f"{why}. Make it readable, or move it away, and give the command again.") from error


def _listed(folder: Path) -> _Folder:
    contents = _Folder()
    for split, place in _splits(folder).items():
        entries = contents.splits.setdefault(split, [])
        for kind in sorted(place.iterdir(), key=lambda p: p.name):
            if kind.is_dir():
                contents.folders.add(kind.name)
            if _is_litter(kind.name):
                contents.left_out.append((_LITTER, kind))
            elif not kind.is_dir():
                contents.left_out.append(("beside the class folders", kind))
            elif kind.is_symlink() and folder.resolve().is_relative_to(kind.resolve()):
                contents.links.append(kind)
            else:
                before = len(entries)
                entries.extend((kind.name, path) for path in _photos(kind, contents))
                if len(entries) == before:
                    contents.empty.add(kind.name)
    contents.empty -= set(contents.classes)
    return contents


def _photos(kind: Path, contents: _Folder) -> Iterator[Path]:
    """The possible photos of a class, sorted; other entries are added to `contents`."""
    paths = []
    for base, folders, files in os.walk(kind, onerror=_raise):
        for name in [n for n in folders if _is_litter(n)]:
            contents.left_out.append((_LITTER, Path(base, name)))
            folders.remove(name)
        contents.links += [Path(base, n) for n in folders if Path(base, n).is_symlink()]
        for name in (*folders, *files):
            if Path(name).suffix.lower() in _SUFFIXES and not _is_litter(name):
                paths.append(Path(base, name))
            elif name in files:
                contents.left_out.append((_why_left_out(name), Path(base, name)))
    return iter(sorted(paths))


def _why_left_out(name: str) -> str:
    """What a file in a class's folder is, that is not read."""
    if _is_litter(name):
        return _LITTER
    return _CANNOT_READ if Path(name).suffix.lower() in _OTHER_PHOTOS else "of no known kind of photo"


def _raise(error: OSError) -> None:
    raise error


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in _NO_CLASSES


def _splits(folder: Path) -> dict[str, Path]:
    if not is_folder(folder):
        raise missing(folder, "folder", " Put one folder of photos per class there, or correct the path.")
    splits = {"train": folder / "train"} if is_folder(folder / "train") else {}
    for name in ("test", "val"):
        if is_folder(folder / name):
            return splits | {"test": folder / name}
    return splits or {"test": folder}


def content_hash(folder: Path, options: PhotoOptions) -> str:
    """SHA-256 over options, names and contents; above 512 MB in all, of each file its size, first and last 16 KiB."""
    contents = _contents_of(folder)
    return _hash(folder, options, contents, _looks(contents, options))


def _looks(contents: _Folder, options: PhotoOptions) -> dict[str, list[Look]]:
    """By split, the check of each photo (see `Look`)."""
    return {split: [_look(path, options) for _, path in entries] for split, entries in contents.splits.items()}


def _look(path: Path, options: PhotoOptions) -> Look:
    what = irregular(path)
    return look(path, options) if what is None else Look(f"it is {what}, not a file", anew=True)


def _hash(folder: Path, options: PhotoOptions, contents: _Folder, looks: dict[str, list[Look]]) -> str:
    # The hash of a folder changes only if something in it is now read differently.
    paths = [path for entries in contents.splits.values() for _, path in entries]
    anew = [path for path, check in zip(paths, (s for each in looks.values() for s in each), strict=True) if check.anew]
    regular = [path for path in paths if irregular(path) is None]
    names = {path: _name(path, folder) for path in paths}
    salt = options.salt
    if anew or contents.folders != set(contents.classes):
        changed = [names[path] for path in anew], contents.classes
        salt = f"{salt}\0reader 2\0{changed!r}"
    whole = sum(path.stat().st_size for path in regular) <= _HASH_WHOLE
    files = [(str(path.relative_to(folder)), path) for path in regular]
    return hash_files(files, salt=salt, ends=None if whole else _HASH_ENDS)


def _name(path: Path, folder: Path) -> str:
    """A path below `folder` as text; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")


def load(source: str, folder: Path, options: PhotoOptions) -> Dataset:
    """The photos under `folder`, classes numbered as torchvision's ImageFolder does (sorted names, over all splits).

    Subfolders train/ and test/ (or val/) are splits; without them the folder is the split "test". A damaged photo is
    left out, logged, and listed in `Dataset.skipped`; it still has an id, so that other ids do not change when it is
    repaired. Hidden files and folders, files of systems and tools, folders without photos and files of other kinds are
    ignored; one log line names them.

    Raises: `DataError` if no photo of a split remains.
    """
    contents = _contents_of(folder)
    if not any(contents.splits.values()):
        others = f" (but {_counted(contents)})" if contents.left_out else ""
        raise DataError(
            f"There are no photos in {folder}{others}. Put them in one folder per class, as "
            f"{folder}/test/CLASS/PHOTO.jpg."
        )
    looks = _looks(contents, options)
    names = contents.classes
    number = _numbers(names, options.classes)
    skipped: list[Skipped] = []
    parts, paths, first = {}, {}, 0
    for split, entries in contents.splits.items():
        flaws = [check.flaw for check in looks[split]]
        skipped += [
            Skipped(_name(path, folder), flaw, first + n)
            for n, ((_, path), flaw) in enumerate(zip(entries, flaws, strict=True))
            if flaw is not None
        ]
        good = [n for n, flaw in enumerate(flaws) if flaw is None]
        if entries and not good:
            raise DataError(
                f"None of the {len(entries):,} photos of {source!r}, split {split!r}, can be read, such as "
                f"{_name(entries[0][1], folder)} ({flaws[0]})."
            )
        labels = np.array([number[entries[n][0]] for n in good], np.int64)
        stamps = np.array([looks[split][n].stamp for n in good], np.int64).reshape(-1, 2)
        images = Photos([entries[n][1] for n in good], options, stamps)
        parts[split] = (images, labels, first + np.array(good, np.int64))
        paths[split] = tuple(_name(entries[n][1], folder) for n in good)
        first += len(entries)
    _log_left_out(folder, contents, skipped)
    if "resize=" not in source:
        _log_enlarged(folder, [images for images, *_ in parts.values()])
    labels_and_paths = Names(tuple(os.fsencode(name).decode("utf-8", "backslashreplace") for name in names), paths)
    if len(names) == 1 or options.classes:
        labels_and_paths = Names((), paths)  # of a single class `build_dataset` says what is wrong
    content = _hash(folder, options, contents, looks)
    return build_dataset(source, parts, content, options.classes or max(2, len(names)), skipped, labels_and_paths)


def _numbers(names: list[str], classes: int) -> dict[str, int]:
    """The label of each class; classes: see `PhotoOptions`."""
    if not classes:
        return {name: n for n, name in enumerate(names)}
    odd = [name for name in names if not (name.isascii() and name.isdecimal() and int(name) < classes)]
    if odd:
        raise DataError(
            f"With classes={classes} the folders of photos are named by their classes' numbers, 0 to {classes - 1}; "
            f"{len(odd)} are not, such as {odd[0]!r}. Rename them, or leave classes= out."
        )
    return {name: int(name) for name in names}


def _log_left_out(folder: Path, contents: _Folder, skipped: list[Skipped]) -> None:
    """Log what was left out, once per process: photos one by one, the rest in a line."""
    for bad in skipped[:20]:
        _once(f"photo left out: {_shown(folder / bad.path)} ({bad.reason})")
    if len(skipped) > 20:
        _once(f"{_shown(folder)}: {len(skipped) - 20} more photos left out; the data set's `skipped` lists all")
    remarks = [_counted(contents)] if contents.left_out else []
    remarks += [f"{len(contents.links)} links to folders, which are not followed"] if contents.links else []
    remarks += [f"{len(contents.empty)} class folders without photos"] if contents.empty else []
    if remarks:
        first = dict(reversed(contents.left_out))  # of each reason
        examples = [*first.values(), *contents.links[:1]]
        shown_names = [_name(path, folder) for path in examples] + sorted(contents.empty)[:1]
        _once(f"{_shown(folder)}: neither classes nor photos: {', '.join(remarks)} (such as {', '.join(shown_names)})")


def _counted(contents: _Folder) -> str:
    return ", ".join(f"{count} {why}" for why, count in Counter(why for why, _ in contents.left_out).items())


def _log_enlarged(folder: Path, splits: list[Photos]) -> None:
    """Log that photos are enlarged; whoever writes `resize` knows it."""
    for said in dict.fromkeys(filter(None, map(enlarged, splits))):
        _once(f"{_shown(folder)}: {said}")


@cache
def _once(message: str) -> None:
    _LOG.warning("%s", printable(message))


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
