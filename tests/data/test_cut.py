"""Photos whose file ends before its pixels do, told by the file's own account, without decoding it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from intriguing.data.cut import _end_of_boxes, seems_cut


def written(kind, mode="RGB", **options):
    """A photo of 9 x 7 in this format."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def is_cut(content):
    file = io.BytesIO(content)
    with Image.open(file) as photo:
        at = file.tell()
        said = seems_cut(photo, file)
        assert file.tell() == at
        return said


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("BMP", "RGB", {}),
        ("PPM", "RGB", {}),
        ("PPM", "1", {}),
        ("PPM", "L", {}),
        ("TIFF", "RGB", {}),
        ("GIF", "L", {}),
        ("JPEG2000", "RGB", {}),
        ("JPEG2000", "RGB", {"no_jp2": True}),
    ],
)
def test_a_whole_file_is_not_cut_and_one_without_its_last_pixels_is(kind, mode, options):
    whole = written(kind, mode, **options)
    assert not is_cut(whole)
    assert is_cut(whole[:-1])


def test_boxes_may_have_a_length_of_64_bits_or_reach_to_the_end_of_the_file():
    ordinary, long = struct.pack(">I4s4x", 12, b"ftyp"), struct.pack(">I4sQ8x", 1, b"mdat", 24)
    for content, end in (
        (ordinary + long, 36),
        (long + ordinary, 36),
        (ordinary + struct.pack(">I4s", 0, b"mdat"), 20),
    ):
        assert _end_of_boxes(io.BytesIO(content), len(content)) == end
        assert _end_of_boxes(io.BytesIO(content), len(content) - 1) == (end if end == 36 else 12)
