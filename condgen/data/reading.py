"""From a file's bytes to pixels of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image

from condgen.data.decode import VERSION, DecodeError, decode, decode_indices
from condgen.types import Shape

Half = Literal["left", "right"]


@dataclass(frozen=True)
class Reading:
    """Reads pictures: upright, cut to a square or squeezed into one, and resampled (Pillow, bicubic, antialiased).

    Args:
        size: Height and width; pictures of this size stay as they are.
        channels: 1 (grey) or 3 (RGB).
        crop: Cut the largest square out of the middle; squeeze the whole picture if false.
        half: Read this half of a picture that shows two side by side.
    """

    size: int
    channels: int = 3
    crop: bool = True
    half: Half | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"image_size must be at least 1, got {self.size}")

    @property
    def shape(self) -> Shape:
        """Shape of what is read."""
        return self.channels, self.size, self.size

    @property
    def key(self) -> str:
        """Whatever decides the pixels, beside the file."""
        return f"{self!r} {VERSION}"

    def __call__(self, content: bytes, name: str) -> torch.Tensor:
        """Decode to (channels, size, size) uint8.

        Raises:
            DecodeError: If the file is no whole image.
        """
        return decode(content, channels=self.channels, name=name, fit=self.fit)

    def fit(self, picture: Image.Image, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
        """Bring a picture to the size."""
        left, top, right, bottom = 0, 0, *picture.size
        if self.half is not None:
            middle = right // 2
            left, right = (0, middle) if self.half == "left" else (middle, 2 * middle)
        if self.crop:
            side = min(right - left, bottom - top)
            left, top = left + (right - left - side) // 2, top + (bottom - top - side) // 2
            right, bottom = left + side, top + side
        if (left, top, right, bottom) != (0, 0, *picture.size):
            picture = picture.crop((left, top, right, bottom))
        size = self.size, self.size
        return picture if picture.size == size else picture.resize(size, resample)


@dataclass(frozen=True)
class MaskReading(Reading):
    """Reads masks: a class per pixel, the index of a palette or the level of a grey picture; resampled to the nearest.

    Args:
        num_classes: Number of classes; larger values are damage.
    """

    channels: int = 1
    num_classes: int = 256

    def __call__(self, content: bytes, name: str) -> torch.Tensor:
        """Decode to (1, size, size) uint8.

        Raises:
            DecodeError: If the file is no whole palette or grey image, or has a class beyond those known.
        """
        mask = decode_indices(content, name=name, fit=lambda picture: self.fit(picture, Image.Resampling.NEAREST))
        if int(mask.max()) >= self.num_classes:
            raise DecodeError(f"{name}: class {int(mask.max())}, where there are {self.num_classes}")
        return mask
