"""Images with their conditions on one sheet, for eyes."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from condgen.callbacks.sample_grid import shown
from condgen.data import ImageSet
from condgen.data.describe import words
from condgen.types import CondSpec

TILE = 96
LINE = 12
LETTERS = 16
"""Letters of a line below a tile."""
LINES = 7
GAP = 8
INK, PAPER = 32, 255


def contact_sheet(images: ImageSet, cond_spec: CondSpec, columns: int = 8) -> Tensor:
    """Lay images out with what goes with each: pictures and masks below it, then its label, numbers and words.

    Args:
        images: Rows (N, C, H, W) uint8 with their stored conditions.
        cond_spec: What the conditions mean.
        columns: Images side by side.

    Returns:
        The sheet (3, H', W') uint8.
    """
    pictures = [images.pixels, *shown(images.cond, cond_spec)]
    tiles = torch.cat([tile(picture) for picture in pictures], dim=2)
    texts = [wrapped(row) for row in words(images.cond, len(images), cond_spec)]
    height = tiles.shape[2] + LINE * max(map(len, texts)) + GAP
    rows = -(-len(tiles) // columns)
    across = min(columns, len(tiles))
    sheet = Image.new("RGB", (across * (TILE + GAP) + GAP, rows * height + GAP), (PAPER,) * 3)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for place, (picture, lines) in enumerate(zip(tiles, texts, strict=True)):
        left, top = GAP + place % columns * (TILE + GAP), GAP + place // columns * height
        sheet.paste(Image.fromarray(picture.permute(1, 2, 0).numpy()), (left, top))
        for number, line in enumerate(lines):
            draw.text((left, top + tiles.shape[2] + number * LINE), line, fill=(INK,) * 3, font=font)
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1)


def tile(images: Tensor) -> Tensor:
    """Bring images (N, 1 or 3, H, W) uint8 to colour tiles, small ones without smoothing."""
    size = (TILE, TILE)
    if max(images.shape[-2:]) <= TILE:
        out = F.interpolate(images.float(), size=size, mode="nearest")
    else:
        out = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
    return out.round().to(torch.uint8).expand(-1, 3, -1, -1)


def wrapped(lines: list[str]) -> list[str]:
    """Break lines to the width of a tile, and leave out what has no room."""
    out = [part for line in lines for part in wrap(line, LETTERS)]
    return out if len(out) <= LINES else [*out[: LINES - 1], "…"]
