"""The one way from an image file to pixels: every kind of file has a defined conversion, or is refused by name."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

Transpose = Image.Transpose
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
PIXEL_LIMIT = 64_000_000
WHITE = (255, 255, 255)
VERSION = f"1, Pillow {Image.__version__}"  # type: ignore[attr-defined]
"""Changes when the same file may give other pixels."""

LARGE = 4_000_000
"""Pictures of more pixels are decoded by one thread at a time: each takes 4 bytes a pixel, or more."""
STRIP = 1024
JPEG_PIXELS = 512
"""A byte of a JPEG cannot say more: 1 bit for each block of 8x8."""

ORIENTATION = 0x0112
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
LEVELS_16_TO_8: np.ndarray = np.round(np.arange(65536) / 257).astype(np.uint8)


class DecodeError(ValueError):
    """A file that cannot be turned into pixels; the message begins with its name."""


def decode(
    source: Path | bytes,
    *,
    channels: int,
    background: tuple[int, int, int] = WHITE,
    pixel_limit: int = PIXEL_LIMIT,
    name: str | None = None,
    fit: Callable[[Image.Image], Image.Image] | None = None,
) -> torch.Tensor:
    """Decode an image file to uint8 (channels, H, W).

    Of an animation the first frame counts, and EXIF's rotation is applied. 16-bit grey levels are divided by 257 and
    rounded, 16-bit colours keep their high byte; grey from colour is ITU-R 601-2 luma; CMYK has no profile applied.

    Args:
        source: A file, or its content.
        channels: 1 (grey) or 3 (RGB).
        background: Colour that shows through transparent pixels.
        pixel_limit: Largest width times height, checked before anything is decoded.
        name: What errors call the file; its path by default.
        fit: Changes the upright picture in mode L or RGB, such as its size.

    Raises:
        DecodeError: If the file is not a whole image of a known format, or too large.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
    mode = "L" if channels == 1 else "RGB"
    return _decode(source, name, pixel_limit, lambda picture: _convert(picture, mode, background), fit)


def decode_indices(
    source: Path | bytes,
    *,
    name: str | None = None,
    fit: Callable[[Image.Image], Image.Image] | None = None,
) -> torch.Tensor:
    """Decode a mask to uint8 (1, H, W): the places of a palette's colours, or the levels of an 8-bit grey file.

    Args:
        source: A file, or its content.
        name: What errors call the file; its path by default.
        fit: Changes the upright picture in mode P or L, such as its size, without mixing pixels.

    Raises:
        DecodeError: If the file is not a whole image of such a kind.
    """
    return _decode(source, name, PIXEL_LIMIT, _indices, fit)


def _decode(
    source: Path | bytes,
    name: str | None,
    pixel_limit: int,
    convert: Callable[[Image.Image], Image.Image],
    fit: Callable[[Image.Image], Image.Image] | None,
) -> torch.Tensor:
    name = name or (str(source) if isinstance(source, Path) else "image")
    try:
        with strict(), source.open("rb") if isinstance(source, Path) else BytesIO(source) as file:
            picture = _open(file, pixel_limit)
            with _one_at_a_time if picture.width * picture.height > LARGE else nullcontext():
                picture = _upright(picture, convert)
                return to_tensor(picture if fit is None else fit(picture))
    except Exception as error:  # Pillow's parsers raise errors of nearly every kind on damaged files
        raise DecodeError(f"{name}: {_reason(error)}") from error


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """Copy a picture in mode L or RGB to uint8 (1 or 3, H, W), by strips, so that there are no two copies of it."""
    width, height = picture.size
    out = torch.empty(len(picture.getbands()), height, width, dtype=torch.uint8)
    for top in range(0, height, STRIP):
        rows = np.array(picture if height <= STRIP else picture.crop((0, top, width, min(top + STRIP, height))))
        out[:, top : top + STRIP] = torch.from_numpy(rows.reshape(*rows.shape[:2], -1)).permute(2, 0, 1)
    return out


def list_images(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, by suffix and in order; hidden ones are left out."""
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in files if os.path.splitext(name)[1].lower() in SUFFIXES and name[0] != "."]
        found += [os.path.join(parent, name) for name in names]
    return [Path(path) for path in sorted(found)]


class _RefusedError(Exception):
    """What is wrong with a file, before its name is known."""


def _open(file: IO[bytes], pixel_limit: int) -> Image.Image:
    """Read the head, and look at whatever tells damage before decoding."""
    length = file.seek(0, os.SEEK_END)
    if length == 0:
        raise _RefusedError("empty file")
    picture = _head(file)
    pixels = picture.width * picture.height
    if pixels > pixel_limit:
        raise _RefusedError(f"{picture.width}x{picture.height} pixels, more than the limit of {pixel_limit:,}")
    if picture.format == "JPEG" and length * JPEG_PIXELS < pixels:
        raise _RefusedError(f"damaged: {length:,} bytes are too few for {picture.width}x{picture.height} pixels")
    if picture.format == "PNG":
        picture.verify()  # all checksums; while it decodes, Pillow looks at few of them
        picture = _head(file)
    return picture


def _head(file: IO[bytes]) -> Image.Image:
    file.seek(0)
    return Image.open(file, formats=FORMATS)


def _indices(picture: Image.Image) -> Image.Image:
    if picture.mode not in ("P", "L", "1"):
        raise _RefusedError(f"a mask must have a palette or 8-bit grey levels; its mode is {picture.mode}")
    return Image.fromarray(np.asarray(picture).astype(np.uint8))


def _upright(picture: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    with picture:
        picture.load()
        turn = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1))
        flat = convert(picture)
    return flat if turn is None else flat.transpose(turn)


def _convert(picture: Image.Image, mode: str, background: tuple[int, int, int]) -> Image.Image:
    if picture.mode.startswith("I"):
        picture = _to_8_bits(picture)
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or picture.has_transparency_data:
        top = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", top.size, (*background, 255)), top).convert("RGB")
    if picture.mode not in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"):
        raise _RefusedError(f"mode {picture.mode} has no defined conversion to 8 bits")
    return picture.convert("L" if picture.mode == "1" else picture.mode if picture.mode == "L" else "RGB").convert(mode)


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit grey levels, which mode I may hold too."""
    if isinstance(picture, TiffImageFile):
        bits, white_is_zero = picture.tag_v2[BITSPERSAMPLE], picture.tag_v2[PHOTOMETRIC_INTERPRETATION] == 0
        if bits[0] < 16 or white_is_zero:
            raise _RefusedError(f"{bits[0]}-bit grey levels{', white is zero,' * white_is_zero} are not supported")
    levels = np.asarray(picture)
    if picture.mode == "I" and levels.size and not (levels.min() >= 0 and levels.max() <= 65535):
        raise _RefusedError(f"32-bit grey levels must be in [0, 65535], got [{levels.min()}, {levels.max()}]")
    grey = Image.fromarray(LEVELS_16_TO_8[levels])
    if "transparency" in picture.info:
        grey.putalpha(Image.fromarray((levels != picture.info["transparency"]).astype(np.uint8) * 255))
    return grey


def _reason(error: Exception) -> str:
    match error:
        case UnidentifiedImageError():
            return f"not an image file of a known format ({', '.join(FORMATS)})"
        case _RefusedError():
            return str(error)
        case OSError() if error.errno is not None:
            return f"cannot be read: {error.strerror}"
        case _:
            return f"damaged: {str(error).partition(chr(10))[0] or type(error).__name__}"


_one_at_a_time = Lock()
_lock, _entered, _before = Lock(), 0, ExitStack()


@contextmanager
def strict() -> Iterator[None]:
    """Let Pillow refuse truncated files, count pixels nowhere but here, and not warn, whatever a program set.

    The settings are the process's, so they are put back when the last of several threads has left.
    """
    global _entered  # noqa: PLW0603
    with _lock:
        _entered += 1
        if _entered == 1:
            _enter(_before)
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            if _entered == 0:
                _before.close()


def _enter(stack: ExitStack) -> None:
    for module, name, value in ((ImageFile, "LOAD_TRUNCATED_IMAGES", False), (Image, "MAX_IMAGE_PIXELS", None)):
        stack.callback(_set, module, name, getattr(module, name))
        _set(module, name, value)
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")


def _set(module: Any, name: str, value: Any) -> None:
    setattr(module, name, value)
