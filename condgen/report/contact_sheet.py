"""Images with their conditions on one sheet, for eyes."""

from __future__ import annotations

from textwrap import wrap

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from condgen.data import ImageSet
from condgen.pixels import PICTURES
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
    pictures = [images.pixels, *(images.cond[key] for key in PICTURES if key in images.cond)]
    if "mask" in images.cond:
        pictures.append(coloured(images.cond["mask"], cond_spec["mask"]["num_classes"]))
    tiles = torch.cat([tile(picture) for picture in pictures], dim=2)
    texts = [wrapped(row) for row in words(images, cond_spec)]
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


def coloured(mask: Tensor, num_classes: int) -> Tensor:
    """Give each class of masks (N, H, W) a colour of its own; class 0 is black."""
    hue = torch.arange(num_classes) * 360 // max(1, num_classes - 1)
    palette = [(0, 0, 0), *(hsv_to_rgb(int(h), 160 + 95 * (k % 2)) for k, h in enumerate(hue[:-1]))]
    return torch.tensor(palette, dtype=torch.uint8)[mask.long()].permute(0, 3, 1, 2)


def hsv_to_rgb(hue: int, value: int) -> tuple[int, int, int]:
    """Return a full colour by its hue in degrees."""
    red, green, blue = Image.new("HSV", (1, 1), (hue * 255 // 360, 220, value)).convert("RGB").getpixel((0, 0))  # type: ignore[misc]
    return red, green, blue


def words(images: ImageSet, cond_spec: CondSpec) -> list[list[str]]:
    """Write the conditions that are no pictures, a list of lines for each image."""
    out: list[list[str]] = [[] for _ in range(len(images))]
    if "label" in images.cond:
        names = cond_spec["label"]["names"]
        for lines, label in zip(out, images.cond["label"].tolist(), strict=True):
            lines.append(str(names[label]))
    if "attributes" in images.cond:
        names = cond_spec["attributes"]["names"]
        for lines, row in zip(out, images.cond["attributes"].tolist(), strict=True):
            lines += [f"{name} {value:.3g}" for name, value in zip(names, row, strict=True)]
    if "text" in images.cond:
        for lines, row in zip(out, images.cond["text"], strict=True):
            lines.append(bytes(row.tolist()).rstrip(b"\0").decode(errors="replace"))
    return out


def wrapped(lines: list[str]) -> list[str]:
    """Break lines to the width of a tile, and leave out what has no room."""
    out = [part for line in lines for part in wrap(line, LETTERS)]
    return out if len(out) <= LINES else [*out[: LINES - 1], "…"]
