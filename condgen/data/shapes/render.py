"""Pictures of scenes, and what is exactly known of each pixel, from one geometry."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.data.shapes.draws import Scenes
from condgen.data.shapes.geometry import coverage

PAPER = 245.0
STROKE = 1 / 24
"""Width of a sketch's lines, as a fraction of the side; at least one pixel."""


def cover(scenes: Scenes, side: int, inset: float = 0.0) -> Tensor:
    """Cover of each object, (N, K, side, side) float32 in [0, 1]."""
    shape, _, size, x, y = (value.flatten() for value in scenes.facts)
    return coverage(shape, x, y, size, side, inset).view(*scenes.facts.shape.shape, side, side)


def paint(layers: list[tuple[Tensor, Tensor]], background: Tensor) -> Tensor:
    """Lay objects that do not overlap on a background.

    Args:
        layers: Covers (N, H, W) in [0, 1], with their colours (N, 3) in 0 to 255.
        background: (N, 3) in 0 to 255.

    Returns:
        (N, 3, H, W) uint8.
    """
    picture = (background + 0.5).view(-1, 3, 1, 1)  # the conversion to uint8 cuts off
    for covers, colour in layers:
        picture = ((colour - background).view(-1, 3, 1, 1) * covers.unsqueeze(1)).add_(picture)
    return picture.to(torch.uint8)


def photo(covers: Tensor, scenes: Scenes) -> Tensor:
    """Paint objects in their colours on the scene's grey, (N, 3, H, W) uint8."""
    return paint(list(zip(covers.unbind(1), scenes.rgb.unbind(1), strict=True)), scenes.background)


def sketch(covers: Tensor, scenes: Scenes) -> Tensor:
    """Draw the same facts in another way, (N, 3, H, W) uint8: outlines in dark colours, pale inside, on paper."""
    side = covers.shape[-1]
    inside = cover(scenes, side, inset=max(1.0, STROKE * side))
    ink, pale = 0.6 * scenes.rgb, 0.25 * scenes.rgb + 0.75 * PAPER
    layers = [*zip((covers - inside).unbind(1), ink.unbind(1), strict=True)]
    layers += zip(inside.unbind(1), pale.unbind(1), strict=True)
    return paint(layers, torch.full((len(covers), 3), PAPER))


def mask(covers: Tensor, scenes: Scenes) -> Tensor:
    """Class of each pixel, (N, H, W) uint8: 1 + the place of its shape if at least half is covered, else 0."""
    classes = (scenes.facts.shape + 1).to(torch.uint8).unsqueeze(-1).unsqueeze(-1)
    return ((covers >= 0.5) * classes).sum(1, dtype=torch.uint8)


def edges(mask: Tensor) -> Tensor:
    """Outline of each object, (N, 1, H, W) uint8: 255 in its pixels that have a side in common with none of it."""
    inside = F.pad(mask, (1, 1, 1, 1))
    rows = torch.minimum(inside[:, :-2, 1:-1], inside[:, 2:, 1:-1])
    columns = torch.minimum(inside[:, 1:-1, :-2], inside[:, 1:-1, 2:])
    return ((torch.minimum(rows, columns) == 0) & (mask > 0)).to(torch.uint8).mul_(255).unsqueeze(1)


def low_res(pixels: Tensor, factor: int) -> Tensor:
    """Average squares of `factor` pixels, (N, C, h, w) uint8."""
    return F.avg_pool2d(pixels.float(), factor).add_(0.5).to(torch.uint8)
