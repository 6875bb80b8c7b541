"""Photos whose file seems to be cut short, told by what the file says of its own length, without decoding it.

A file of which this is said may be whole all the same (some programs write wrong lengths), so whoever asks decodes it.
JPEG and PNG have marked ends, which `intriguing.data.decoding` looks for.
"""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image

_OFFSETS = {273: 279, 324: 325}
"""Tags of a TIFF: where its strips or tiles begin, and how many bytes each has."""
_BITS = {"1": 1, "RGB": 24, "RGBA": 32, "CMYK": 32, "I;16": 16, "I;16B": 16}
"""Bits of a pixel in the file, by the form of its numbers or the photo's mode; of others 8."""
_BOXES = ("JPEG2000", "AVIF")


def seems_cut(photo: Image.Image, file: BinaryIO) -> bool:
    """Whether the `file` of a `photo`, which was opened and not decoded, ends before its pixels do.

    The file's position is where it was.
    """
    at, size = file.tell(), file.seek(0, 2)
    try:
        return size < max(_ends(photo, file, size), default=0)
    finally:
        file.seek(at)


def _ends(photo: Image.Image, file: BinaryIO, size: int) -> Iterator[int]:
    """Where the file's parts end by its own account."""
    kind = photo.format
    if kind in ("BMP", "WEBP"):  # the length of the whole file stands in its header
        file.seek(2 if kind == "BMP" else 4)
        yield struct.unpack("<I", file.read(4))[0] + (0 if kind == "BMP" else 8)
    elif kind == "TIFF":
        tags: Any = getattr(photo, "tag_v2", {})
        for begins, counts in _OFFSETS.items():
            yield from map(sum, zip(tags.get(begins, ()), tags.get(counts, ()), strict=False))
    elif kind == "GIF":
        file.seek(max(0, size - 64))
        yield size if file.read().rstrip(b"\0").endswith(b";") else size + 1
    elif kind in _BOXES:
        yield _end_of_boxes(file, size)
    for tile in getattr(photo, "tile", ()):
        codec, box, offset, arguments = tile
        form, stride, *_ = (*(arguments if isinstance(arguments, tuple) else (arguments,)), 0, 0)
        if codec == "raw" and box is not None and isinstance(stride, int):
            width, rows = box[2] - box[0], box[3] - box[1]
            row = -(-width * _BITS.get(str(form), _BITS.get(photo.mode, 8)) // 8)
            yield offset + (stride or row) * (rows - 1) + min(row, stride or row)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Where the last box of a JPEG 2000 or AVIF file ends; beyond `size` too where a bare codestream has no end."""
    file.seek(0)
    if file.read(4) == b"\xff\x4f\xff\x51":
        file.seek(max(0, size - 64))
        return size if file.read().rstrip(b"\0").endswith(b"\xff\xd9") else size + 1
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length = int.from_bytes(file.read(4), "big")
        if length == 1:  # a length of 64 bits follows the kind
            file.seek(at + 8)
            length = int.from_bytes(file.read(8), "big")
        if length < 8:  # 0: up to the end of the file
            return size
        at += length
    return at
