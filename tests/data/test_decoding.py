"""Photos as a good viewer shows them: the pixels that come out are the ones that were drawn."""

import io
import struct
import tempfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from intriguing.data.decoding import PhotoOptions, decode, look
from intriguing.errors import DataError
from tests.data.peak import peak_megabytes

SMALL = PhotoOptions(size=8, resize=8)
GREY = PhotoOptions(size=8, resize=8, mode="L")


def one_value(path, options=SMALL):
    """The only colour of a photo, by channel."""
    pixels = decode(path, options)
    assert (pixels == pixels[:, :1, :1]).all()
    return pixels[:, 0, 0].tolist()


@contextmanager
def written(content):
    """The path of a file of its own with that content, in memory where that can be: each example writes one."""
    folder = Path("/dev/shm")
    with tempfile.NamedTemporaryFile(prefix="intriguing-", dir=folder if folder.is_dir() else None) as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def halves(top, bottom, mode="RGB"):
    """A square photo of two colours."""
    image = Image.new(mode, (16, 16), top)
    image.paste(bottom, (0, 8, 16, 16))
    return image


@pytest.mark.parametrize(
    ("dtype", "value", "seen"),
    [
        (np.uint16, 65_535, 255),
        (np.uint16, 32_768, 128),
        (np.uint16, 4_095, 255),
        (np.uint16, 2_048, 128),
        (np.uint16, 200, 200),
        (np.int32, 40_000, 156),
        (np.float32, 1.0, 255),
        (np.float32, 0.5, 128),
        (np.float32, 128.0, 128),
        (np.float32, 1_000.0, 62),
    ],
)
def test_deep_grey_is_shown_by_its_range_and_not_clipped(tmp_path, dtype, value, seen):
    Image.fromarray(np.full((16, 16), value, dtype)).save(tmp_path / "deep.tif")
    assert one_value(tmp_path / "deep.tif") == [seen] * 3
    assert one_value(tmp_path / "deep.tif", GREY) == [seen]


def test_a_16_bit_png_is_shown_by_its_range(tmp_path):
    Image.fromarray(np.full((16, 16), 32_768, np.uint16)).save(tmp_path / "deep.png")
    assert one_value(tmp_path / "deep.png") == [128] * 3


@settings(max_examples=25, deadline=None)
@given(st.sampled_from((255, 4095, 65_535)), st.data())
def test_deep_grey_keeps_its_order_and_its_proportions(white, data):
    values = [*data.draw(st.lists(st.integers(0, white), min_size=3, max_size=3)), white]
    image = Image.fromarray(np.repeat(np.array(values, np.uint16)[None], 4, axis=0))
    file = io.BytesIO()
    image.save(file, "TIFF")
    with written(file.getvalue()) as path:
        seen = decode(path, PhotoOptions(size=4, resize=4, mode="L"))[0, 0]
    assert np.array_equal(seen, np.rint(np.array(values) * 255 / white))


def test_a_12_bit_tiff_has_its_white_where_it_says(tmp_path):
    packed = np.full((16, 16), 2_048, np.uint16).flatten()
    body = bytearray()
    for a, b in packed.reshape(-1, 2).tolist():
        body += bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255))
    tags = [(256, 16), (257, 16), (258, 12), (259, 1), (262, 1), (273, 0), (277, 1), (278, 16), (279, len(body))]
    offset = 8 + 2 + 12 * len(tags) + 4
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    for tag, value in tags:
        head += struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, offset if tag == 273 else value)
    (tmp_path / "twelve.tif").write_bytes(head + b"\0\0\0\0" + body)
    assert one_value(tmp_path / "twelve.tif", GREY) == [128]


@pytest.mark.parametrize("largest", [255, 1_000, 65_535])
def test_a_pgm_has_its_white_where_it_says(tmp_path, largest):
    value = largest * 3 // 5
    pixels = np.full(256, value, ">u2" if largest > 255 else "u1").tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5 16 16 %d\n" % largest + pixels)
    assert one_value(tmp_path / "a.pgm", GREY) == [153]


def test_negative_values_go_from_the_smallest_to_the_largest(tmp_path):
    values = np.tile(np.array([-2.0, 2.0], np.float32), (8, 4))
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert set(np.unique(decode(tmp_path / "a.tif", PhotoOptions(size=8, resize=8, mode="L")))) == {0, 255}


def test_a_nan_in_a_photo_is_damage(tmp_path):
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="NaN"):
        decode(tmp_path / "a.tif", SMALL)


TURNED = {
    1: "tl tr bl br",
    2: "tr tl br bl",
    3: "br bl tr tl",
    4: "bl br tl tr",
    5: "tl bl tr br",
    6: "bl tl br tr",
    7: "br tr bl tl",
    8: "tr br tl bl",
}


@pytest.mark.parametrize("form", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", TURNED)
def test_photos_are_turned_upright(tmp_path, orientation, form):
    quarters = {"tl": 0, "tr": 80, "bl": 160, "br": 240}
    stored = np.kron(np.array(list(quarters.values()), np.uint8).reshape(2, 2), np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"a.{form}"
    Image.fromarray(stored).convert("RGB").save(path, exif=exif, **({"quality": 100} if form != "tif" else {}))
    seen = decode(path, PhotoOptions(size=32, resize=32, mode="L"))[0][8::16, 8::16].flatten()
    assert np.abs(seen - np.array([quarters[name] for name in TURNED[orientation].split()])).max() <= 3
    assert look(path, SMALL).anew == (orientation != 1 and form != "tif")


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("RGBA", (10, 20, 30, 0), [255, 255, 255]),
        ("RGBA", (0, 0, 0, 51), [204, 204, 204]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("LA", (0, 0), [255, 255, 255]),
        ("LA", (7, 255), [7, 7, 7]),
    ],
)
def test_what_is_transparent_shows_white(tmp_path, mode, colour, seen):
    Image.new(mode, (16, 16), colour).save(tmp_path / "a.png")
    assert one_value(tmp_path / "a.png") == seen
    assert look(tmp_path / "a.png", SMALL).anew == (colour[-1] != 255)


def test_another_background_can_be_asked_for(tmp_path):
    Image.new("RGBA", (16, 16), (9, 9, 9, 0)).save(tmp_path / "a.png")
    assert one_value(tmp_path / "a.png", PhotoOptions(8, 8, background="#102030")) == [16, 32, 48]


def test_a_clear_colour_of_a_palette_or_of_rgb_shows_white(tmp_path):
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "p.png", transparency=1)
    Image.new("RGB", (16, 16), (1, 2, 3)).save(tmp_path / "rgb.png", transparency=(1, 2, 3))
    palette.save(tmp_path / "whole.png")
    assert one_value(tmp_path / "p.png") == one_value(tmp_path / "rgb.png") == [255] * 3
    assert one_value(tmp_path / "whole.png") == [200, 100, 50]


def test_a_clear_grey_of_16_bits_shows_white(tmp_path):
    deep = np.full((16, 16), 40_000, np.uint16)
    deep[8:] = 1_000
    Image.fromarray(deep).save(tmp_path / "deep.png", transparency=1_000)
    pixels = decode(tmp_path / "deep.png", SMALL)
    assert (pixels[:, 0] == 156).all()
    assert (pixels[:, 7] == 255).all()


def test_the_first_frame_of_an_animation_is_the_photo(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for form in ("gif", "png", "webp"):
        frames[0].save(tmp_path / f"a.{form}", save_all=True, append_images=frames[1:], lossless=True)
        assert one_value(tmp_path / f"a.{form}") == [255, 0, 0]


def test_cmyk_is_read_as_colours(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = one_value(tmp_path / "a.jpg")
    assert red > 250
    assert max(green, blue) < 5


def test_colours_of_another_profile_are_brought_into_srgb(tmp_path):
    """White stays white whatever the profile; one with its primaries swapped shows that the profile is honoured."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = bytearray(
        profile.replace(b"sRGB", b"mine").replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    )
    count = int.from_bytes(swapped[128:132], "big")
    for entry in range(132, 132 + 12 * count, 12):  # the red and the green primary change places
        name = bytes(swapped[entry : entry + 4])
        swapped[entry : entry + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(name, name)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png", icc_profile=swapped)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "srgb.png", icc_profile=profile)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "broken.png", icc_profile=b"no profile")
    seen = {path.stem: np.array(one_value(path)) for path in tmp_path.iterdir()}
    assert np.abs(seen["a"] - [0, 255, 0]).max() <= 2
    assert seen["srgb"].tolist() == seen["broken"].tolist() == [255, 0, 0]
    assert [look(tmp_path / f"{name}.png", SMALL).anew for name in ("a", "srgb", "broken")] == [True, False, False]


def jpeg(image=None, **options):
    file = io.BytesIO()
    (image or Image.effect_noise((200, 200), 80)).convert("RGB").save(file, "JPEG", **options)
    return file.getvalue()


def png(image=None):
    file = io.BytesIO()
    (image or Image.effect_noise((200, 200), 80)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("form", ["jpg", "png"])
@pytest.mark.parametrize("more", [b"\0" * 100, b"x" * 10_000, b"\xff\xd8" + b"y" * 5_000])
def test_data_after_the_end_is_no_damage(tmp_path, form, more):
    path = tmp_path / f"a.{form}"
    path.write_bytes((jpeg(progressive=True) if form == "jpg" else png()) + more)
    assert look(path, SMALL).flaw is None
    assert decode(path, SMALL).shape == (3, 8, 8)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_photo_cut_short_anywhere_is_found(data):
    whole = data.draw(st.sampled_from((JPEG, PROGRESSIVE, PNG, THUMBNAILED)))
    keep = data.draw(st.integers(0, len(whole) - 3))
    with written(whole[:keep]) as path:
        assert look(path, SMALL).flaw is not None


def thumbnailed():
    """A JPEG that holds another, whole one in a segment before its pixels."""
    whole, small = jpeg(), jpeg(Image.new("RGB", (8, 8)))
    segment = b"\xff\xe2" + (len(small) + 2).to_bytes(2, "big") + small
    return whole[:2] + segment + whole[2:]


JPEG, PROGRESSIVE, PNG, THUMBNAILED = jpeg(), jpeg(progressive=True, restart_marker_blocks=3), png(), thumbnailed()


def test_a_file_that_starts_a_program_when_shown_is_no_photo(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    assert look(tmp_path / "a.jpg", SMALL).flaw == "not an image"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\n", "it is a pointer of Git LFS: `git lfs"),
        (b"<html><body>404</body></html>", "it is a web page"),
        (b"", "it is empty"),
    ],
)
def test_a_file_that_often_lies_in_the_place_of_a_photo_is_told_by_what_it_is(tmp_path, content, what):
    (tmp_path / "a.jpg").write_bytes(content)
    assert look(tmp_path / "a.jpg", SMALL).flaw.startswith(f"not an image: {what}")
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(tmp_path / "a.jpg", SMALL)


def bomb(width, height, rows):
    """A PNG file that declares width x height colours and holds `rows` rows of zeros, a thousand times smaller."""
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(rows)) + packer.flush()

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


DECODE = """
import sys
from pathlib import Path
from intriguing.data.decoding import PhotoOptions, decode, look
seen = look(Path(sys.argv[1]), PhotoOptions())
print(seen.flaw or decode(Path(sys.argv[1]), PhotoOptions()).shape)
"""


@pytest.mark.parametrize(("width", "height"), [(1, 60_000), (60_000, 2), (60_000, 1)])
def test_a_strip_costs_no_gigabytes(tmp_path, width, height):
    Image.new("RGB", (width, height), (10, 20, 30)).save(tmp_path / "a.png")
    peak, told = peak_megabytes(DECODE, str(tmp_path / "a.png"))
    assert peak < 200
    assert told == "(3, 224, 224)"
    assert one_value(tmp_path / "a.png", PhotoOptions()) == [10, 20, 30]


@pytest.mark.parametrize(("side", "told"), [(30_000, "DecompressionBombError"), (12_000, "134,217,728 are the most")])
def test_a_bomb_is_left_out_by_its_header(tmp_path, side, told):
    (tmp_path / "a.png").write_bytes(bomb(side, side, 1))
    peak, said = peak_megabytes(DECODE, str(tmp_path / "a.png"))
    assert peak < 150
    assert told in said


def test_a_large_photo_takes_little_more_than_its_pixels(tmp_path):
    (tmp_path / "a.png").write_bytes(bomb(8_200, 8_200, 8_200))
    assert (tmp_path / "a.png").stat().st_size < 2_000_000
    peak, told = peak_megabytes(DECODE, str(tmp_path / "a.png"))
    assert peak < 450
    assert told == "(3, 224, 224)"


def test_a_large_jpeg_is_decoded_at_a_part_of_its_size(tmp_path):
    Image.new("L", (11_000, 8_000), 77).save(tmp_path / "a.jpg")
    peak, told = peak_megabytes(DECODE, str(tmp_path / "a.jpg"))
    assert peak < 250
    assert told == "(3, 224, 224)"


def test_the_centre_of_a_strip_is_what_is_seen(tmp_path):
    strip = np.zeros((2, 60_000), np.uint8)
    strip[:, 29_900:30_100] = 200
    Image.fromarray(strip).save(tmp_path / "a.png")
    assert one_value(tmp_path / "a.png", PhotoOptions(224, 256, "L")) == [200]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_of_any_kind_is_told_or_shown_and_nothing_else_happens(data):
    """Flipped bytes and cut ends, in every format: an image of the right shape, or a `DataError`."""
    damaged = bytearray(data.draw(st.sampled_from(ONE_OF_EACH)))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with written(damaged[: data.draw(st.integers(1, len(damaged)))]) as path:
        look(path, SMALL)
        with suppress(DataError):
            assert decode(path, SMALL).shape == (3, 8, 8)


def one_of_each():
    noise = Image.effect_noise((24, 24), 80)
    exif = Image.Exif()
    exif[0x112] = 6
    made = []
    for mode, form, options in (
        ("RGB", "JPEG", {"exif": exif}),
        ("CMYK", "JPEG", {}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {"transparency": 3}),
        ("I;16", "PNG", {}),
        ("P", "GIF", {}),
        ("F", "TIFF", {"compression": "tiff_deflate"}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("RGB", "WEBP", {}),
        ("RGB", "BMP", {}),
        ("L", "PPM", {}),
    ):
        file = io.BytesIO()
        noise.convert(mode).save(file, form, **options)
        made.append(file.getvalue())
    return made


ONE_OF_EACH = one_of_each()
