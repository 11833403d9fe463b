"""Grids of uint8 images and PNG files of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from condgen.whole import whole_file

TILE = 48
"""Images smaller than this are enlarged by a whole factor, without smoothing, up to about this many pixels."""


def enlarge(images: Tensor) -> Tensor:
    """Repeat each pixel of (N, C, H, W) so that small images can be looked at."""
    factor = max(1, round(TILE / max(images.shape[-2:])))
    return images.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def grid(images: Tensor, columns: int) -> Tensor:
    """Lay uint8 images (N, C, H, W) out row by row, two pixels of grey apart; returns (C, H', W') uint8."""
    tiles = enlarge(images)
    count, channels, height, width = tiles.shape
    rows = -(-count // columns)
    sheet = torch.full((channels, rows * (height + 2) + 2, columns * (width + 2) + 2), 96, dtype=torch.uint8)
    for i, tile in enumerate(tiles.cpu()):
        top, left = (i // columns) * (height + 2) + 2, (i % columns) * (width + 2) + 2
        sheet[:, top : top + height, left : left + width] = tile
    return sheet


def to_pil(image: Tensor) -> Image.Image:
    """Convert one uint8 image (C, H, W) with 1 or 3 channels for Pillow, as notebooks show it."""
    pixels: np.ndarray = image.cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)


def save_png(image: Tensor, path: Path) -> Path:
    """Write one uint8 image (C, H, W) as a PNG, whole or not at all, making its folder if needed.

    Raises:
        OSError: If it cannot be written.
    """
    with whole_file(path, sync=False) as file:
        to_pil(image).save(file, format="PNG")
    return path


def coloured(mask: Tensor, num_classes: int) -> Tensor:
    """Give each class of masks (N, H, W) a colour of its own; class 0 is black."""
    hue = torch.arange(num_classes) * 360 // max(1, num_classes - 1)
    palette = [(0, 0, 0), *(hsv_to_rgb(int(h), 160 + 95 * (k % 2)) for k, h in enumerate(hue[:-1]))]
    return torch.tensor(palette, dtype=torch.uint8)[mask.long()].permute(0, 3, 1, 2)


def hsv_to_rgb(hue: int, value: int) -> tuple[int, int, int]:
    """Return a full colour by its hue in degrees."""
    red, green, blue = Image.new("HSV", (1, 1), (hue * 255 // 360, 220, value)).convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    return red, green, blue
