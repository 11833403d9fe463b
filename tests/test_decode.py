"""Golden pixels of every conversion, and files that must be refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, PngImagePlugin

from condgen.data.decode import DecodeError, decode, list_images, strict

COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 100, 50], [255, 255, 255]]], np.uint8)
LUMA = [[76, 150, 29], [18, 124, 255]]  # round of 0.299 R + 0.587 G + 0.114 B
NOISE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


def encoded(picture: Image.Image, form: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **settings)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG made by hand: `rows` begin with a filter byte each; further chunks stand before the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def grey(content: bytes, **settings: Any) -> list[list[int]]:
    pixels = decode(content, channels=1, **settings)
    assert pixels.dtype == torch.uint8
    assert pixels.ndim == 3
    return pixels[0].tolist()


def rgb(content: bytes, **settings: Any) -> list[list[list[int]]]:
    pixels = decode(content, channels=3, **settings)
    assert pixels.dtype == torch.uint8
    assert pixels.is_contiguous()
    return pixels.permute(1, 2, 0).tolist()


def refused(content: bytes, **settings: Any) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(content, channels=3, name="a.png", **settings)
    message = str(caught.value)
    assert message.startswith("a.png: ")
    assert "\n" not in message
    return message.removeprefix("a.png: ")


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF"])
def test_colours_are_kept_and_grey_is_their_luma(form: str) -> None:
    lossless = {"lossless": True} if form == "WEBP" else {}
    content = encoded(Image.fromarray(COLOURS), form, **lossless)
    assert rgb(content) == COLOURS.tolist()
    assert grey(content) == LUMA


def test_a_jpeg_is_what_pillow_makes_of_it() -> None:
    content = encoded(Image.fromarray(NOISE), "JPEG")
    with Image.open(io.BytesIO(content)) as picture:
        assert rgb(content) == np.asarray(picture).tolist()
    flat = encoded(Image.new("RGB", (32, 16), (200, 100, 50)), "JPEG", quality=95, progressive=True)
    assert np.abs(np.array(rgb(flat)) - [200, 100, 50]).max() <= 2


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_grey_and_one_bit_levels(form: str) -> None:
    levels = np.array([[0, 1, 127], [128, 254, 255]], np.uint8)
    content = encoded(Image.fromarray(levels), form)
    assert grey(content) == levels.tolist()
    assert rgb(content) == np.repeat(levels[..., None], 3, 2).tolist()
    assert grey(encoded(Image.fromarray(levels > 127), form)) == [[0, 0, 0], [255, 255, 255]]


def test_low_bit_grey_is_spread_over_the_range() -> None:
    assert grey(png(4, 1, 2, 0, b"\0\x1b")) == [[0, 85, 170, 255]]


LEVELS = [0, 128, 129, 257, 385, 386, 32896, 65406, 65407, 65535]
ROUNDED = [0, 0, 1, 1, 1, 2, 128, 254, 255, 255]  # of the levels over 257


def sixteen_bit_files() -> dict[str, bytes]:
    little, big = np.array([LEVELS], "<u2"), np.array([LEVELS], ">u2")
    return {
        "png": png(len(LEVELS), 1, 16, 0, b"\0" + big.tobytes()),
        "pgm": b"P5 %d 1 65535\n" % len(LEVELS) + big.tobytes(),
        "tiff, I;16": encoded(Image.fromarray(little), "TIFF"),
        "tiff, I;16B": encoded(Image.frombytes("I;16B", (len(LEVELS), 1), big.tobytes()), "TIFF"),
        "tiff, I": encoded(Image.fromarray(little.astype(np.int32)), "TIFF"),
        "tiff, lzw": encoded(Image.fromarray(little), "TIFF", compression="tiff_lzw"),
    }


@pytest.mark.parametrize("kind", sixteen_bit_files())
def test_sixteen_bit_grey_is_scaled_and_rounded(kind: str) -> None:
    content = sixteen_bit_files()[kind]
    assert grey(content) == [ROUNDED]
    assert rgb(content) == [[[level] * 3 for level in ROUNDED]]


def test_sixteen_bit_grey_may_have_a_transparent_level() -> None:
    content = png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 300, 301), chunk(b"tRNS", struct.pack(">H", 300)))
    assert rgb(content, background=(9, 8, 7)) == [[[9, 8, 7], [1, 1, 1]]]


def test_sixteen_bit_colours_keep_their_high_byte() -> None:
    assert rgb(png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 0, 0x80FF, 65535))) == [[[0, 128, 255]]]
    assert rgb(png(1, 1, 16, 6, b"\0" + struct.pack(">HHHH", 0, 0x80FF, 65535, 65535))) == [[[0, 128, 255]]]
    assert rgb(b"P6 1 1 65535\n" + struct.pack(">HHH", 0, 0x8080, 65535)) == [[[0, 128, 255]]]


def test_levels_without_a_range_are_refused() -> None:
    wide = Image.fromarray(np.array([[0, 70000]], np.int32))
    assert refused(encoded(wide, "TIFF")) == "32-bit grey levels must be in [0, 65535], got [0, 70000]"
    assert refused(encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")).startswith("mode F has no defined")
    inverted = {262: 0, 258: 16}
    content = encoded(Image.fromarray(np.zeros((2, 2), np.uint16)), "TIFF", tiffinfo=inverted)
    assert refused(content) == "16-bit grey levels, white is zero, are not supported"


def test_alpha_lies_over_the_background() -> None:
    content = encoded(Image.new("RGBA", (1, 1), (255, 0, 0, 128)), "PNG")
    assert rgb(content) == [[[255, 127, 127]]]
    assert rgb(content, background=(0, 0, 0)) == [[[128, 0, 0]]]
    assert rgb(encoded(Image.new("LA", (1, 1), (100, 0)), "PNG"), background=(1, 2, 3)) == [[[1, 2, 3]]]
    assert grey(encoded(Image.new("LA", (1, 1), (100, 51)), "PNG")) == [[224]]  # 0.2 * 100 + 0.8 * 255
    assert rgb(encoded(Image.new("RGBA", (1, 1), (0, 0, 255, 0)), "WEBP", lossless=True)) == [[[255, 255, 255]]]


def palette_picture() -> Image.Image:
    picture = Image.new("P", (3, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2])
    return picture


def test_palettes_and_their_transparency() -> None:
    assert rgb(encoded(palette_picture(), "PNG")) == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    assert grey(encoded(palette_picture(), "PNG")) == [LUMA[0]]
    one = encoded(palette_picture(), "PNG", transparency=1)
    assert rgb(one, background=(7, 7, 7)) == [[[255, 0, 0], [7, 7, 7], [0, 0, 255]]]
    several = encoded(palette_picture(), "PNG", transparency=bytes([128, 255, 0]))
    assert rgb(several) == [[[255, 127, 127], [0, 255, 0], [255, 255, 255]]]
    assert rgb(encoded(palette_picture(), "GIF", transparency=2)) == [[[255, 0, 0], [0, 255, 0], [255, 255, 255]]]
    keyed = encoded(Image.fromarray(COLOURS), "PNG", transparency=(10, 20, 30))
    assert rgb(keyed, background=(0, 0, 0))[1] == [[0, 0, 0], [200, 100, 50], [255, 255, 255]]


def test_cmyk_is_ink_on_white() -> None:
    picture = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert rgb(encoded(picture, "TIFF"))[0][0] == [255, 0, 0]
    assert rgb(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 51)), "TIFF"))[0][0] == [204, 204, 204]
    red = np.array(rgb(encoded(picture, "JPEG", quality=100)))  # stored inverted, as Adobe's programs do
    assert np.abs(red - [255, 0, 0]).max() <= 3


TURNED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, 1),
    9: lambda x: x,  # no such orientation
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_exif_turns_the_picture(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(COLOURS), form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    assert rgb(content) == TURNED[orientation](COLOURS).tolist()


def test_exif_turns_a_jpeg() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright, turned = (rgb(encoded(Image.fromarray(NOISE), "JPEG", **more)) for more in ({}, {"exif": exif}))
    assert turned == np.rot90(upright, -1).tolist()


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_first_frame_of_an_animation_counts(form: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    settings = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "MPO" else {}
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:], **settings)
    assert np.abs(np.array(rgb(content)) - [255, 0, 0]).max() <= 3


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(NOISE), "JPEG"))
    assert decode(tmp_path / "a.png", channels=1).shape == (1, 40, 48)
    with pytest.raises(ValueError, match=r"channels must be 1 \(grey\) or 3 \(RGB\), got 4"):
        decode(tmp_path / "a.png", channels=4)


def test_what_is_no_image_is_refused() -> None:
    assert refused(b"") == "empty file"
    unknown = "not an image file of a known format (JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM)"
    assert refused(b"file,label\n1.png,3\n") == unknown
    assert refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == unknown  # would start another program
    assert refused(encoded(Image.fromarray(NOISE), "ICO")) == unknown
    assert refused(b"\x89PNG\r\n\x1a\n") == unknown


def test_files_that_cannot_be_read_are_refused_by_path(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"^\S+/none\.png: cannot be read: No such file"):
        decode(tmp_path / "none.png", channels=3)
    with pytest.raises(DecodeError, match="cannot be read: Is a directory"):
        decode(tmp_path, channels=3)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF", "JPEG"])
def test_truncated_files_are_refused_whatever_pillow_is_set_to(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.fromarray(NOISE), form)
    for setting in (True, False):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", setting)
        for length in [*range(1, len(content) - 5, len(content) // 20), len(content) - 5]:
            refused(content[:length])
        assert ImageFile.LOAD_TRUNCATED_IMAGES is setting


def test_any_changed_bit_of_a_png_is_seen() -> None:
    content = encoded(Image.fromarray(NOISE[:8, :8]), "PNG")
    for place in range(len(content) - 12):  # what follows marks the end
        broken = bytearray(content)
        broken[place] ^= 1 << place % 8
        refused(bytes(broken))


def test_pixels_are_counted_before_they_are_decoded() -> None:
    limit = "30000x30000 pixels, more than the limit of 64,000,000"
    assert refused(png(30000, 30000, 8, 2, b"")) == limit
    assert refused(b"P6 30000 30000 255\n") == limit
    content = encoded(Image.fromarray(NOISE), "PNG")
    assert refused(content, pixel_limit=48 * 40 - 1) == "48x40 pixels, more than the limit of 1,919"
    assert len(rgb(content, pixel_limit=48 * 40)) == 40
    wide = png(20000, 10000, 1, 0, (b"\0" + b"\0" * 2500) * 10000)  # above the limit of Pillow
    assert decode(wide, channels=1, pixel_limit=200_000_000).shape == (1, 10000, 20000)


def test_text_that_unpacks_to_a_flood_is_refused() -> None:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 50_000_000))
    assert refused(png(1, 1, 8, 0, b"\0\0", text)).startswith("damaged: Decompressed data too large")


def test_settings_are_put_back_when_the_last_thread_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = encoded(Image.fromarray(NOISE), "PNG")
    before = Image.MAX_IMAGE_PIXELS
    with strict(), ThreadPoolExecutor(4) as pool:
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False
        assert (
            len({bytes(x.numpy().tobytes()) for x in pool.map(lambda _: decode(content, channels=3), range(50))}) == 1
        )
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert before == Image.MAX_IMAGE_PIXELS
    assert PngImagePlugin.MAX_TEXT_CHUNK == 1 << 20


def test_images_are_listed_by_suffix_and_in_order(tmp_path: Path) -> None:
    names = [
        "b/2.JPG",
        "b/10.png",
        "a.webp",
        "b/.hidden.png",
        ".git/x.png",
        "notes.txt",
        "b/c/d/e.tiff",
        "folder.png/x.gif",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a.webp", "b/10.png", "b/2.JPG", "b/c/d/e.tiff", "folder.png/x.gif"]
