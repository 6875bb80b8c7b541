"""Sheets of thumbnails: many small pictures in one, for a page that shows any of them when it is asked to."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from intriguing.report.attachments import Attachment

_PER_SHEET = 256
_AT_ONCE = 256
_LOSSLESS = 40
"""Pictures of at most so many pixels a side are kept exactly."""
_SIDES = (96, 64, 48, 32, 24)


@dataclass(frozen=True)
class Sheets:
    """Thumbnails of one size, row by row, 256 to a sheet.

    about: what the script must know: the sheets' names, the thumbnails' width and height, and how many there are.
    """

    attachments: tuple[Attachment, ...]
    about: dict[str, Any]

    @property
    def count(self) -> int:
        """How many thumbnails there are."""
        return int(self.about["count"])


def sheets(name: str, pictures: Iterable[np.ndarray], count: int, most_bytes: float) -> Sheets:
    """Sheets called `name`-0, ... of `count` pictures, each (C, H, W) float in [0, 1] with 1 or 3 channels.

    They are made as small as `most_bytes` asks for, down to 24 pixels; where that is not enough, the last are left out.
    """
    side = next((s for s in _SIDES if count * s * s * 0.25 < most_bytes), _SIDES[-1])
    small = [_thumbnail(picture, side) for picture in pictures]
    while True:
        made = _encoded(name, small)
        total = sum(len(sheet.content) for sheet in made)
        if total <= most_bytes or not small:
            break
        smaller = [s for s in _SIDES if s < max(small[0].size)]
        if smaller:
            small = [_resized(image, smaller[0]) for image in small]
        else:
            small = small[: int(len(small) * most_bytes / total * 0.95)]
    width, height = small[0].size if small else (0, 0)
    about = {"names": [sheet.name for sheet in made], "width": width, "height": height, "count": len(small)}
    return Sheets(tuple(made), about | {"columns": 16, "per": _PER_SHEET})


def in_parts(read: Callable[[Sequence[int]], dict[int, np.ndarray]], ids: Sequence[int]) -> Iterator[np.ndarray]:
    """The pictures of `ids`, in their order, read a few hundred at a time: a run's images need not fit in memory."""
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        read_pictures = read(part)
        yield from (read_pictures[i] for i in part)


def _thumbnail(picture: np.ndarray, side: int) -> Image.Image:
    pixels = np.rint(picture.transpose(1, 2, 0) * 255).astype(np.uint8)
    return _resized(Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels), side)


def _resized(image: Image.Image, side: int) -> Image.Image:
    if max(image.size) <= side:
        return image
    scale = side / max(image.size)
    return image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS
    )


def _encoded(name: str, images: Sequence[Image.Image]) -> list[Attachment]:
    made = []
    for number, start in enumerate(range(0, len(images), _PER_SHEET)):
        part = images[start : start + _PER_SHEET]
        width, height = part[0].size
        sheet = Image.new(part[0].mode, (16 * width, -(-len(part) // 16) * height))
        for place, image in enumerate(part):
            sheet.paste(image, (place % 16 * width, place // 16 * height))
        buffer = io.BytesIO()
        exact = max(width, height) <= _LOSSLESS and images[0].mode == "L"
        sheet.save(buffer, "WEBP", **({"lossless": True, "quality": 60, "method": 3} if exact else {"quality": 80}))
        made.append(Attachment(f"{name}-{number}", buffer.getvalue(), is_picture=True))
    return made
