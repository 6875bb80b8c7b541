"""Decode photos: upright, in sRGB, over a background, with the full range of grey, in bounded memory.

Files are opened without waiting (`open_regular`) and only in the formats of `FORMATS`. The header and the end of a file
are checked before it is decoded; one that seems to be cut short is decoded to see whether it is.
"""

import io
import math
import os
import struct
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageColor, UnidentifiedImageError

from intriguing.data.cut import seems_cut
from intriguing.data.files import instead, is_unavailable, open_regular
from intriguing.errors import DataError, UnavailableError

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")
"""The accepted formats. Pillow knows more, but some start programs (EPS runs Ghostscript)."""
_MOST_PIXELS = 2**27
"""Pixels of a photo at most (of more than 8 bits: half of it); a JPEG, which can be decoded at a part of its size, may
have as many as Pillow takes."""
_LARGE = 2**26
"""A photo with more pixels is first reduced."""
_DIRECT = 2**24
"""If the resized photo has at most this many pixels, it is resized as a whole and then cropped."""
_DEPTHS = (1, 255, 4095, 65_535)
"""Possible values of white if the file does not declare one: floats, 8, 12 and 16 bits."""
_EXIF_ORIENTATION, _BITS_PER_SAMPLE, _LARGEST_SAMPLE = 0x112, 258, 281
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")
_COLOURS = {"RGB": "RGB", "RGBA": "RGB", "P": "RGB", "PA": "RGB", "CMYK": "CMYK", "L": "GRAY"}
"""The colour space that a profile must have, by the photo's mode."""
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


@dataclass(frozen=True)
class PhotoOptions:
    """How a photo becomes an image.

    Its shorter side is brought to `resize` pixels, then the central `size` x `size` is cut out, in `mode` (RGB or L).
    Transparent pixels show `background`: a colour's name, or #RRGGBB. classes: where the folders' names are the numbers
    of so many classes, as of a network that knows more of them; 0: folders are numbered by their sorted names.
    """

    size: int = 224
    resize: int = 256
    mode: str = "RGB"
    background: str = "white"
    classes: int = 0

    @property
    def salt(self) -> str:
        """The options as a part of a data set's hash; empty for those of the first version."""
        more = "" if self.background == "white" else f", background={self.background!r}"
        more += f", classes={self.classes}" if self.classes else ""
        return f"PhotoOptions(size={self.size!r}, resize={self.resize!r}, mode={self.mode!r}{more})"


@dataclass(frozen=True)
class Look:
    """The result of checking a photo's header and end: why it cannot be used (None: it can), and `anew`.

    anew: whether an earlier version of this module read other pixels; such photos change a data set's hash.
    stamp: size and time of the file, which tell whether it was changed later.
    """

    flaw: str | None = None
    anew: bool = False
    stamp: tuple[int, int] = (0, 0)


def look(path: Path, options: PhotoOptions) -> Look:
    """Check a photo without decoding it. Raises: `UnavailableError` if the system does not give it."""
    try:
        with opened(path) as (photo, file):
            stamp = stamp_of(os.fstat(file.fileno()))
            kind = photo.format or ""
            pixels, most = math.prod(photo.size), _most_pixels(photo)
            if pixels > most:
                return Look(f"it has {pixels:,} pixels; {most:,} are the most", True, stamp)
            large = pixels > _LARGE or not _whole_first(photo.size, _resized(photo.size, options)[:2])
            if kind not in _ENDS:
                if seems_cut(photo, file) and not _can_be_decoded(path, options):
                    return Look("cut short", True, stamp)
                return Look(None, large or _read_anew(photo, ()), stamp)
            at, tail = file.tell(), _tail(file)
            parts = _chunks(file) if kind == "PNG" else ()
            end = _ENDS[kind]
            whole = tail.rstrip(b"\0").endswith(end) or (b"IEND" in parts if kind == "PNG" else _reaches_end(file))
            file.seek(at)
            anew = large or (whole and _read_anew(photo, parts)) or whole != (end in tail or kind == "MPO")
            return Look(None if whole else "cut short", anew, stamp)
    except UnidentifiedImageError:
        with suppress(OSError), open_regular(path) as file:
            if what := instead(file.read(64)):
                return Look(f"not an image: it is {what}")
        return Look("not an image")
    except Exception as e:  # damaged files cause errors of many kinds
        _check_available(path, e)
        return Look(f"{type(e).__name__}: {e}")


def stamp_of(status: os.stat_result) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds."""
    return status.st_size, status.st_mtime_ns


def decode(path: Path, options: PhotoOptions) -> np.ndarray:
    """One photo as uint8 (C, size, size), resized with antialiased bilinear interpolation and cropped at its centre.

    Raises: `DataError` for a file that is not a photo or is damaged; `UnavailableError` if the system does not give it.
    """
    try:
        with opened(path) as (photo, _):
            return _as_array(_viewed(photo, options), options)
    except Exception as e:
        _check_available(path, e)
        raise DataError(f"The photo {path} cannot be decoded ({e}). Remove it, or save it again, and go on.") from e


def _can_be_decoded(path: Path, options: PhotoOptions) -> bool:
    try:
        decode(path, options)
    except DataError:
        return False
    return True


def _check_available(path: Path, error: Exception) -> None:
    if is_unavailable(error):
        why = getattr(error, "strerror", None) or "no memory"
        raise UnavailableError(
            f"The photo {path} cannot be read now: {why}. Make it readable, or remove it, and give the command again."
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """The photo, of which only the header is read, and its file."""
    with open_regular(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of unusual metadata, and of large photos
        with Image.open(file, formats=_formats()) as photo:
            yield photo, file


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _viewed(photo: Image.Image, options: PhotoOptions) -> Image.Image:
    """The first frame of the photo, upright, in `options.mode`."""
    white = _declared_white(photo)
    if math.prod(photo.size) > _LARGE and photo.format in ("JPEG", "MPO"):
        photo.draft(None, (2 * options.resize, 2 * options.resize))
        if math.prod(photo.size) > _MOST_PIXELS:
            raise ValueError(f"it has {math.prod(photo.size):,} pixels; {_MOST_PIXELS:,} are the most")
    photo.load()
    turned = _UPRIGHT.get(photo.getexif().get(_EXIF_ORIENTATION, 1))
    if math.prod(photo.size) > _LARGE and photo.mode not in ("P", "PA", "1"):
        photo = _reduced(photo, options)
    if turned is not None:
        photo = photo.transpose(turned)
    if photo.mode in _DEEP:
        photo = _grey_range(photo, white)
    photo = _in_srgb(photo)
    if _has_alpha(photo):
        clear = photo.convert("RGBA")
        below = Image.new("RGBA", clear.size, ImageColor.getrgb(options.background))
        photo = Image.alpha_composite(below, clear)
    return photo if photo.mode == options.mode else photo.convert(options.mode)


def _reduced(photo: Image.Image, options: PhotoOptions) -> Image.Image:
    """A large photo reduced by a whole factor, still at least twice as large as the result."""
    factor = min(photo.size) // (2 * options.resize)
    if factor < 2:
        return photo
    small = photo.reduce(factor)
    small.info.update(photo.info)
    return small


def _most_pixels(photo: Image.Image) -> int:
    """Largest number of pixels, for which a photo needs much less than a gigabyte."""
    if photo.format in ("JPEG", "MPO") and not photo.info.get("progressive"):
        return 2 * (Image.MAX_IMAGE_PIXELS or _MOST_PIXELS)
    return _MOST_PIXELS // 2 if photo.mode in _DEEP else _MOST_PIXELS


def _as_array(photo: Image.Image, options: PhotoOptions) -> np.ndarray:
    """The centre of the resized photo: uint8 (C, size, size)."""
    width, height, left, top = _resized(photo.size, options)
    if _whole_first(photo.size, (width, height)):
        resized = photo.resize((width, height), Image.Resampling.BILINEAR)
        cut = resized.crop((left, top, left + options.size, top + options.size))
    else:
        # A narrow strip would need gigabytes when resized, so only the crop is computed.
        across, down = photo.size[0] / width, photo.size[1] / height
        box = (left * across, top * down, (left + options.size) * across, (top + options.size) * down)
        cut = photo.resize((options.size, options.size), Image.Resampling.BILINEAR, box=box)
    values = np.asarray(cut)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _resized(size: tuple[int, int], options: PhotoOptions) -> tuple[int, int, int, int]:
    """Width and height with a shorter side of `resize`, and the corner of the crop."""
    scale = options.resize / min(size)
    width, height = (max(options.resize, round(n * scale)) for n in size)
    return width, height, (width - options.size) // 2, (height - options.size) // 2


def _whole_first(size: tuple[int, int], resized: tuple[int, int]) -> bool:
    return math.prod(resized) <= max(math.prod(size), _DIRECT)


def _grey_range(photo: Image.Image, declared: float | None) -> Image.Image:
    """A photo of more than 8 bits as 8-bit grey; 255 is the declared white, else the smallest of `_DEPTHS` that fits.

    A photo with negative values, or values above 16 bits, is scaled from its smallest to its largest value.
    """
    values = np.asarray(photo)
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("it has a pixel that is NaN or infinite")
    usual = _DEPTHS if photo.mode == "F" else _DEPTHS[1:]
    white = declared if declared and declared >= high else next((d for d in usual if high <= d), None)
    black = 0.0 if low >= 0 and white else low
    scale = 255 / (white - black if white and black == 0 else (high - low) or 1.0)
    grey = np.empty(values.shape, np.uint8)
    step = max(1, _DIRECT // values.shape[1])
    for row in range(0, len(values), step):
        part = values[row : row + step].astype(np.float64)
        grey[row : row + step] = np.rint((part - black) * scale)
    grey_photo = Image.fromarray(grey)
    if isinstance(clear := photo.info.get("transparency"), int):
        grey_photo.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    if photo.mode != "F" and (profile := photo.info.get("icc_profile")):
        grey_photo.info["icc_profile"] = profile
    return grey_photo


def _declared_white(photo: Image.Image) -> float | None:
    """The value of white that the file declares."""
    if photo.format == "PPM" and photo.mode != "F":
        return 65_535  # Pillow scales by the file's own largest value
    if photo.format == "TIFF":
        tags: Any = getattr(photo, "tag_v2", {})
        largest = tags.get(_LARGEST_SAMPLE)
        bits = tags.get(_BITS_PER_SAMPLE, (0,))
        largest = largest[0] if isinstance(largest, tuple) else largest
        bits = bits[0] if isinstance(bits, tuple) else bits
        if photo.mode != "F" and 8 < bits < 16:
            return 2**bits - 1
        return float(largest) if largest and photo.mode != "F" and largest < 65_535 else None
    return None


def _in_srgb(photo: Image.Image) -> Image.Image:
    """The photo converted from its profile to sRGB; unchanged if it has none or it cannot be read."""
    try:
        if photo.mode == "LAB":
            lab = ImageCms.createProfile("LAB")
            return ImageCms.profileToProfile(photo, lab, _srgb(), outputMode="RGB") or photo
        profile = _profile(photo)
        if profile is None:
            return photo
        if photo.mode in ("P", "PA"):
            photo = photo.convert("RGBA" if _has_alpha(photo) else "RGB")
        mode = "RGBA" if photo.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(photo, profile, _srgb(), outputMode=mode) or photo
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return photo


@cache
def _srgb() -> Any:
    return ImageCms.createProfile("sRGB")


def _profile(photo: Image.Image) -> Any:
    """The colour profile of a photo that is not in sRGB; None for sRGB, and for a profile that does not fit."""
    content = photo.info.get("icc_profile")
    if not content or not isinstance(content, bytes) or photo.mode not in _COLOURS:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        inside: Any = profile.profile
        fits = inside.xcolor_space.strip() == _COLOURS[photo.mode]
        return profile if fits and "srgb" not in ImageCms.getProfileDescription(profile).lower() else None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _has_alpha(photo: Image.Image) -> bool:
    return photo.mode in _ALPHA or ("transparency" in photo.info and photo.mode in ("1", "L", "RGB", "P"))


def _read_anew(photo: Image.Image, chunks: Collection[bytes]) -> bool:
    """Whether this photo gives other pixels than in the first version, from its header if possible.

    chunks: those of a PNG file; Pillow decodes such a file to find EXIF data behind the pixels.
    """
    if photo.mode in (*_DEEP, "LAB") or _profile(photo) is not None:
        return True
    if _has_alpha(photo) and photo.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        return True
    if photo.format == "TIFF" or (photo.format == "PNG" and b"eXIf" not in chunks):
        return False  # Pillow itself turns a TIFF upright
    return photo.getexif().get(_EXIF_ORIENTATION, 1) in _UPRIGHT


def _tail(file: BinaryIO) -> bytes:
    """The last 4,096 bytes, in which the first version searched for the end."""
    size = file.seek(0, 2)
    file.seek(-min(size, 4096), 2)
    return file.read()


def _chunks(file: BinaryIO) -> list[bytes]:
    """The kinds of the chunks of a PNG file, up to its end or to where it is cut; data may follow the end."""
    kinds: list[bytes] = []
    at, size = 8, file.seek(0, 2)
    while at + 12 <= size and kinds[-1:] != [b"IEND"]:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        at += 12 + length
        if at <= size:
            kinds.append(kind)
    return kinds


def _reaches_end(file: BinaryIO) -> bool:
    """Whether the segments of a JPEG file reach its end marker; data may follow.

    A marker inside a segment, such as that of an embedded thumbnail, does not count.
    """
    file.seek(0)
    content = file.read()
    at = 2
    while 0 <= at < len(content) - 1:
        marker = content[at + 1]
        if content[at] != 0xFF:
            at = content.find(b"\xff", at)  # the coded pixels, in which 0xFF is only before 0 and restart markers
        elif marker == 0xD9:
            return True
        elif marker == 0xFF:
            at += 1
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return False
