"""What the page's scripts read: columns of numbers packed small, and sheets of thumbnails.

In the one-file form they stand in the page as base64, decoded when they are looked at; in the folder form each is a
file of its own beside it.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_TYPES = ("u1", "u2", "i2", "i4", "f4")


@dataclass(frozen=True)
class Attachment:
    """A piece of data by name (letters, digits, hyphens). is_picture: WebP bytes; else what `packed` gave."""

    name: str
    content: bytes
    is_picture: bool = False

    def as_base64(self) -> str:
        """The content as text."""
        return base64.b64encode(self.content).decode()


def packed(columns: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name, deflated: the length of a JSON header (uint32), the header, and the numbers, little-endian.

    The header lists [name, type, shape, offset] of each array; offsets count from the header's end, and are multiples
    of four, as are the header's length and the length of every array. Types: uint8, uint16, int16, int32, float32.
    """
    header, parts, offset = [], [], 0
    for name, array in columns.items():
        kind = array.dtype.str[1:]
        if kind not in _TYPES:
            raise TypeError(f"{name} is {array.dtype}: the page's scripts read {', '.join(_TYPES)}.")
        content = _padded(np.ascontiguousarray(array.astype(f"<{kind}")).tobytes(), b"\0")
        header.append([name, kind, list(array.shape), offset])
        parts.append(content)
        offset += len(content)
    head = _padded(json.dumps(header).encode(), b" ")
    return zlib.compress(b"".join([len(head).to_bytes(4, "little"), head, *parts]), 6)


def unpacked(content: bytes) -> dict[str, np.ndarray]:
    """What `packed` packed."""
    plain = zlib.decompress(content)
    start = 4 + int.from_bytes(plain[:4], "little")
    arrays = {}
    for name, kind, shape, offset in json.loads(plain[4:start]):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(plain, f"<{kind}", count, start + offset).reshape(shape)
    return arrays


def as_json(about: Any) -> str:
    """JSON that may stand in an HTML element."""
    text = json.dumps(about, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@dataclass(frozen=True)
class Scaled:
    """Numbers as uint16 between two ends: 65535 stands for none. A step is 1/65534 of the range."""

    codes: np.ndarray
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray, logarithmic: bool = False) -> "Scaled":
        """`values` of any shape; NaN and infinity are none. logarithmic: of their logarithms, for values above 0."""
        numbers = np.asarray(values, np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            numbers = np.log(numbers) if logarithmic else numbers
        known = np.isfinite(numbers)
        low, high = (float(numbers[known].min()), float(numbers[known].max())) if known.any() else (0.0, 0.0)
        codes = np.full(numbers.shape, 65_535, np.uint16)
        codes[known] = np.rint((numbers[known] - low) / ((high - low) or 1.0) * 65_534).astype(np.uint16)
        return cls(codes, low, high)

    @property
    def ends(self) -> list[float]:
        """What the codes 0 and 65534 stand for."""
        return [self.low, self.high]


def _padded(content: bytes, by: bytes) -> bytes:
    return content + by * (-len(content) % 4)
