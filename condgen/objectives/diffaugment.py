"""Differentiable augmentation of what the discriminator sees (Zhao et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHIFT = 1 / 8
"""Largest shift, as a fraction of the side."""
CUT = 1 / 2
"""Side of the square that is cut out, as a fraction of the image's."""


@dataclass(frozen=True)
class DiffAugment:
    """Changes real and generated images alike, each by draws of its own (Zhao et al. 2020, Sec. 3.2).

    The policies and their strengths are those of the published code, for images in [-1, 1]. As there, what comes in
    from outside and what is cut out is 0, the middle grey: it is neither ink nor paper, so that an image with a hole is
    no possible image without one, and the generator cannot be paid for drawing holes.

    Args:
        color: Change brightness by up to 0.5, saturation up to twofold and contrast up to 1.5-fold.
        translation: Shift by whole pixels, up to 1/8 of the side.
        cutout: Hide a square of half the side, anywhere, in part outside too.
    """

    color: bool = True
    translation: bool = True
    cutout: bool = True

    def __call__(self, image: Tensor, source: torch.Generator) -> Tensor:
        """Change images (N, C, H, W) in [-1, 1]; `source` is on their device. Colours may leave the range."""
        if self.color:
            image = change_colors(image, source)
        if self.translation:
            image = translate(image, source)
        return cut_out(image, source) if self.cutout else image


def change_colors(image: Tensor, source: torch.Generator) -> Tensor:
    """Add U(-0.5, 0.5), scale the distance from grey by U(0, 2), then that from the mean by U(0.5, 1.5)."""
    light, saturation, contrast = torch.rand((3, len(image), 1, 1, 1), generator=source, device=image.device)
    image = image + (light - 0.5)
    grey = image.mean(dim=1, keepdim=True)
    image = (image - grey) * (2.0 * saturation) + grey
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    contrasted: Tensor = (image - mean) * (contrast + 0.5) + mean
    return contrasted


def translate(image: Tensor, source: torch.Generator) -> Tensor:
    """Shift each image down and to the right by whole pixels of either sign; 0 comes in."""
    count, _, height, width = image.shape
    y = torch.arange(height, device=image.device) - draw(count, *reach(height), source)
    x = torch.arange(width, device=image.device) - draw(count, *reach(width), source)
    inside = ((y >= 0) & (y < height)).unsqueeze(2) & ((x >= 0) & (x < width)).unsqueeze(1)
    rows, columns = y.clamp(0, height - 1).unsqueeze(2), x.clamp(0, width - 1).unsqueeze(1)
    moved = image[torch.arange(count, device=image.device).view(-1, 1, 1), :, rows, columns]
    return moved.movedim(3, 1) * inside.unsqueeze(1)


def cut_out(image: Tensor, source: torch.Generator) -> Tensor:
    """Set a square to 0 whose centre lies anywhere in the image."""
    count, _, height, width = image.shape
    hidden_rows, hidden_columns = strip(count, height, source), strip(count, width, source)
    return image * ~(hidden_rows.unsqueeze(2) & hidden_columns.unsqueeze(1)).unsqueeze(1)


def strip(count: int, side: int, source: torch.Generator) -> Tensor:
    """Return (N, side) bool, true on a strip of half the side around a random place, clipped at the ends."""
    size = int(side * CUT + 0.5)
    start = draw(count, 0, side + (1 - size % 2), source) - size // 2
    place = torch.arange(side, device=source.device)
    return (place >= start) & (place < start + size)


def reach(side: int) -> tuple[int, int]:
    """Return the smallest shift, and one more than the largest."""
    largest = int(side * SHIFT + 0.5)
    return -largest, largest + 1


def draw(count: int, low: int, high: int, source: torch.Generator) -> Tensor:
    """Draw (N, 1) integers from [low, high)."""
    return torch.randint(low, high, (count, 1), generator=source, device=source.device)
