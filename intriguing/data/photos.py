"""Photos in one folder per class, decoded when a batch asks for them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
from PIL import Image, UnidentifiedImageError

from intriguing.data.dataset import Dataset, Skipped, build_dataset
from intriguing.data.files import hash_files
from intriguing.errors import DataError, unknown_name

_LOG = logging.getLogger(__name__)
_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"))
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
# Above this, a folder is hashed by names, sizes and both ends of every file: reading ImageNet takes minutes.
_HASH_WHOLE = 512 * 1024**2
_HASH_ENDS = 16 * 1024


@dataclass(frozen=True)
class PhotoOptions:
    """How a photo becomes an image: shorter side to `resize` pixels, then the central `size` x `size`, in `mode`."""

    size: int = 224
    resize: int = 256
    mode: str = "RGB"


def parse(text: str) -> tuple[str, PhotoOptions]:
    """The folder and the options in `PATH?size=64&resize=64&mode=L`.

    `resize` alone follows `size` in ImageNet's proportion (256 / 224). Raises `UnknownNameError` for another option,
    `DataError` for a value out of range.
    """
    folder, mark, query = text.rpartition("?")
    if not mark:
        return text, PhotoOptions()
    given = dict(parse_qsl(query, keep_blank_values=True))
    for name in given:
        if name not in ("size", "resize", "mode"):
            raise unknown_name("option of imagefolder", name, ("size", "resize", "mode"))
    try:
        size = int(given.get("size", 224))
        resize = int(given.get("resize", round(size * 256 / 224)))
    except ValueError:
        raise DataError(f"imagefolder options {query!r}: size and resize are whole numbers of pixels.") from None
    mode = given.get("mode", "RGB").upper()
    if not 1 <= size <= resize <= 16_384 or mode not in ("RGB", "L"):
        raise DataError(f"imagefolder options {query!r}: 1 <= size <= resize <= 16384, and mode is RGB or L.")
    return folder, PhotoOptions(size, resize, mode)


class Photos:
    """Images (N, C, size, size) uint8 that are read from their files when they are asked for."""

    def __init__(self, paths: list[Path], options: PhotoOptions) -> None:
        self.paths = paths
        self.options = options
        self.shape = (len(paths), 3 if options.mode == "RGB" else 1, options.size, options.size)
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The photos at these rows: (n, C, size, size) uint8. Raises `DataError` for one that cannot be decoded."""
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for image, row in zip(images, rows, strict=True):
            image[...] = decode(self.paths[row], self.options)
        return images


def decode(path: Path, options: PhotoOptions) -> np.ndarray:
    """One photo as uint8 (C, size, size), resized with antialiased bilinear interpolation and cropped at its centre."""
    try:
        with Image.open(path) as photo:
            photo = photo.convert(options.mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        raise DataError(f"The photo {path} cannot be decoded ({e}). Remove it, or save it again, and go on.") from e
    width, height = photo.size
    scale = options.resize / min(width, height)
    width, height = (max(options.resize, round(n * scale)) for n in (width, height))
    left, top = (width - options.size) // 2, (height - options.size) // 2
    resized = photo.resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(resized.crop((left, top, left + options.size, top + options.size)))
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _flaw(path: Path) -> str | None:
    """Why a photo cannot be used, seen from its header and its end, without decoding it; None where all is well."""
    try:
        with Image.open(path) as photo:
            kind = photo.format or ""
            if kind not in _ENDS:
                photo.verify()
        if end := _ENDS.get(kind):
            with path.open("rb") as file:
                file.seek(-min(path.stat().st_size, 4096), 2)
                if end not in file.read():
                    return "cut short"
    except UnidentifiedImageError:
        return "not an image"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        return f"{type(e).__name__}: {e}"
    return None


def _splits(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Put one folder of photos per class there, or correct the path.")
    found = {"train": folder / "train"} if (folder / "train").is_dir() else {}
    for name in ("test", "val"):
        if (folder / name).is_dir():
            return found | {"test": folder / name}
    return found or {"test": folder}


def _photos(folder: Path) -> Iterator[tuple[str, Path]]:
    """(class, path) of every photo, in torchvision's order: classes sorted, then paths sorted."""
    for kind in sorted(p.name for p in folder.iterdir() if p.is_dir()):
        yield from ((kind, p) for p in sorted((folder / kind).rglob("*")) if p.suffix.lower() in _SUFFIXES)


def content_hash(folder: Path, options: PhotoOptions) -> str:
    """SHA-256 over options, names and contents; above 512 MB in all, of each file its size, first and last 16 KiB."""
    files = [(str(p.relative_to(folder)), p) for f in _splits(folder).values() for _, p in _photos(f)]
    whole = sum(p.stat().st_size for _, p in files) <= _HASH_WHOLE
    return hash_files(files, salt=repr(options), ends=None if whole else _HASH_ENDS)


def load(source: str, folder: Path, options: PhotoOptions) -> Dataset:
    """The photos under `folder`, classes numbered as torchvision's ImageFolder does (sorted names, over all splits).

    Subfolders train/ and test/ (or val/) are splits; without them the folder is the split "test". A file that is no
    photo, or one cut short, is left out, logged, and listed in `Dataset.skipped`; ids count it all the same, so others
    keep theirs when it is repaired. Raises `DataError` when nothing is left.
    """
    found = {split: list(_photos(place)) for split, place in _splits(folder).items()}
    names = sorted({p.name for place in _splits(folder).values() for p in place.iterdir() if p.is_dir()})
    if not any(found.values()):
        raise DataError(
            f"There are no photos in {folder}. Put them in one folder per class, as {folder}/test/CLASS/PHOTO.jpg."
        )
    number = {name: n for n, name in enumerate(names)}
    skipped: list[Skipped] = []
    parts, first = {}, 0
    for split, entries in found.items():
        flaws = [_flaw(path) for _, path in entries]
        skipped += [Skipped(str(p), f) for (_, p), f in zip(entries, flaws, strict=True) if f is not None]
        good = [n for n, flaw in enumerate(flaws) if flaw is None]
        labels = np.array([number[entries[n][0]] for n in good], np.int64)
        parts[split] = (Photos([entries[n][1] for n in good], options), labels, first + np.array(good, np.int64))
        first += len(entries)
    for bad in skipped:
        _LOG.warning("photo left out: %s (%s)", bad.path, bad.reason)
    return build_dataset(source, parts, content_hash(folder, options), max(2, len(names)), skipped)
