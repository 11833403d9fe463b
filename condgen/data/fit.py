"""How images come to the size and the channels that are due: never silently.

Errors name the arguments of `Fit` as `condgen evaluate` writes them, such as --pad 32 for `Fit(pad=32)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from condgen.data.decode import to_tensor
from condgen.pictures import to_pil
from condgen.types import Shape


class FitError(ValueError):
    """An image of another size or other channels than are due, and nothing said of how to change it."""


@dataclass(frozen=True)
class Fit:
    """What may be done to images that are not as they should be; those that are stay untouched.

    Args:
        resize: Height and width that images are resampled to, by Pillow's antialiased bicubic filter.
        pad: Height and width that images are brought to by a frame of zeros (black), as MNIST's 28 to 32.
        grey: Whether colours may become grey levels (ITU-R 601-2 luma).
    """

    resize: int | None = None
    pad: int | None = None
    grey: bool = False

    def __post_init__(self) -> None:
        for name, value in (("resize", self.resize), ("pad", self.pad)):
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}")
        if self.resize is not None and self.pad is not None:
            raise ValueError(f"choose one of --resize {self.resize} and --pad {self.pad}")

    @property
    def size(self) -> int | None:
        """Height and width that images get; null for their own."""
        return self.resize if self.resize is not None else self.pad

    def __call__(self, image: Tensor, shape: Shape) -> Tensor:
        """Bring an image (C, H, W) uint8 to a shape.

        Raises:
            FitError: If that takes a change that was not asked for.
        """
        if tuple(image.shape) == shape:
            return image
        channels, *size = shape
        image = self._resized(self._channels(image, channels), size)
        if list(image.shape[1:]) != size:
            raise FitError(f"{sides(image.shape)}, where {sides(size)} is due{remedy(size)}")
        return image

    def describe(self) -> str | None:
        """Say what is done to images of other shapes; null for nothing."""
        steps = []
        if self.resize is not None:
            steps.append(f"other sizes resampled to {self.resize}x{self.resize} (Pillow, bicubic, antialiased)")
        if self.pad is not None:
            steps.append(f"smaller sizes zero-padded to {self.pad}x{self.pad}")
        if self.grey:
            steps.append("colours to grey (ITU-R 601-2 luma)")
        return ", ".join(steps) or None

    def _resized(self, image: Tensor, size: list[int]) -> Tensor:
        height, width = image.shape[1:]
        if self.size is None or [height, width] == size or size != [self.size, self.size]:
            return image
        if self.resize is not None:
            return to_tensor(to_pil(image).resize((self.resize, self.resize), Image.Resampling.BICUBIC))
        down, across = self.size - height, self.size - width
        if down < 0 or across < 0:
            raise FitError(f"{sides(image.shape)} is larger than --pad {self.size}")
        return F.pad(image, (across // 2, across - across // 2, down // 2, down - down // 2))

    def _channels(self, image: Tensor, channels: int) -> Tensor:
        if len(image) == channels:
            return image
        if (len(image), channels) == (1, 3):
            return image.expand(3, -1, -1)
        if (len(image), channels) != (3, 1):
            raise FitError(f"{len(image)} channels, where {channels} are due")
        if torch.equal(image, image[:1].expand_as(image)):
            return image[:1]
        if not self.grey:
            raise FitError("in colour, where grey is due; --grey makes it so")
        return torch.from_numpy(np.array(to_pil(image).convert("L"))).unsqueeze(0)


def remedy(size: Sequence[int]) -> str:
    """Say which choices would make other sizes this one, where there are any."""
    if size[0] != size[1]:
        return ""
    return f"; --pad {size[0]} puts zeros around, --resize {size[0]} resamples"


def sides(shape: Sequence[int]) -> str:
    """Write a height and a width, the last two of a shape, as 28x28."""
    return f"{shape[-2]}x{shape[-1]}"
