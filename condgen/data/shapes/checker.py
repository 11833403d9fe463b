"""What a picture shows, measured from its pixels alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from condgen.data.shapes.facts import PALETTE, SHAPES, SIZES, UNKNOWN, Facts
from condgen.data.shapes.geometry import block_length, coverage

LEAST_CONTRAST = 40.0
"""Distance from the background, in RGB levels, below which nothing is an object."""
LEVEL = 0.35
"""Least contrast of an object's core, over the greatest in its picture; faint colours reach 0.45, narrow gaps less."""
LEAST_AREA = 0.25
"""Of the smallest size; what covers less is dirt."""
LEAST_FIT = 0.75
"""Overlap with the best of the four shapes, as intersection over union, below which it is none of them."""
FARTHEST_COLOUR = 60.0
"""RGB distance from the nearest colour of the palette, faded or not, beyond which it is none of them."""
FADED, WHOLE = 0.55, 0.92
"""Share of a colour's contrast with the background that still has its name; and that objects of that name have
somewhere inside, unless they are blurred."""
SOFTER = 3
"""Times that drawn shapes are blurred by half a pixel (standard deviation), to be compared with blurred ones."""


class Measured(NamedTuple):
    """What was found.

    facts: Of the n largest objects, largest first; -1 and NaN where there are fewer or the name is none that is known.
    number: Objects in each picture, (N,) int64; dirt is none.
    mask: Class of each pixel (N, H, W) int64: 1 + the shape's place; 0 for background and for what has no known shape.
    """

    facts: Facts
    number: Tensor
    mask: Tensor


def measure(images: Tensor, n_objects: int = 1) -> Measured:
    """Measure pictures (N, 3, H, W) uint8, whoever made them; H = W.

    Args:
        images: The pictures.
        n_objects: Objects to describe in each; what is beyond them only counts.

    Raises:
        ValueError: If they are no such pictures.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images must be (N, 3, S, S) uint8, got {tuple(images.shape)} {images.dtype}")
    parts = [measure_block(block.cpu(), n_objects) for block in images.split(block_length(images.shape[-1]))]
    facts = Facts(*(torch.cat(values) for values in zip(*(part.facts for part in parts), strict=True)))
    return Measured(facts, torch.cat([part.number for part in parts]), torch.cat([part.mask for part in parts]))


def measure_block(images: Tensor, n_objects: int) -> Measured:
    """Find the objects, then describe each by the pixels around it."""
    pixels = images.float()
    background = frame_median(pixels)
    contrast = pixels - background.view(-1, 3, 1, 1)
    slots, count = objects(contrast.square().sum(1).sqrt_(), n_objects)
    owner = grown(slots)
    parts = [describe(contrast, background, owner == place + 1) for place in range(n_objects)]
    facts = Facts(*(torch.stack(values, dim=1) for values in zip(*(facts for facts, _ in parts), strict=True)))
    mask = sum(
        ((part >= 0.5) * (facts.shape + 1).view(-1, 1, 1) for facts, part in parts), torch.zeros((), dtype=torch.int64)
    )
    return Measured(facts, count, mask)


def frame_median(pixels: Tensor) -> Tensor:
    """Return the median colour (N, 3) of the outermost pixels: the background."""
    frame = torch.cat([pixels[:, :, 0], pixels[:, :, -1], pixels[:, :, :, 0], pixels[:, :, :, -1]], dim=2)
    return frame.median(dim=2).values


def objects(strength: Tensor, n_objects: int) -> tuple[Tensor, Tensor]:
    """Find connected regions that differ from the background at least LEVEL times as much as anything in their picture.

    Args:
        strength: Distance from the background (N, H, W).
        n_objects: Regions to number.

    Returns:
        The rank (N, H, W) float32 of each pixel's region by area, from 1; 0 for others; and the regions' number (N,).
    """
    from scipy import ndimage

    side = strength.shape[-1]
    level = (LEVEL * strength.amax((1, 2), keepdim=True)).clamp_(min=LEAST_CONTRAST)
    sides = np.zeros((3, 3, 3), dtype=bool)
    sides[1] = ndimage.generate_binary_structure(2, 1)
    labels, found = ndimage.label((strength > level).numpy(), sides)
    area = np.bincount(labels.ravel(), minlength=found + 1)
    picture = np.zeros(found + 1, dtype=np.int64)
    picture[labels.ravel()] = np.repeat(np.arange(len(strength)), side * side)
    large = area >= LEAST_AREA * (min(SIZES) * side) ** 2
    large[0] = False
    count = np.bincount(picture[large], minlength=len(strength))
    order = np.lexsort((-area, picture))
    order = order[large[order]]
    rank = np.zeros(found + 1, dtype=np.float32)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count) + 1
    rank[rank > n_objects] = 0
    return torch.from_numpy(rank[labels]), torch.from_numpy(count)


def grown(slots: Tensor) -> Tensor:
    """Let regions (N, H, W) take in the pixels around them, up to a distance of two."""
    for _ in range(2):
        slots = torch.where(slots > 0, slots, F.max_pool2d(slots.unsqueeze(1), 3, 1, 1).squeeze(1))
    return slots


def describe(contrast: Tensor, background: Tensor, region: Tensor) -> tuple[Facts, Tensor]:
    """Describe one object by its region.

    Args:
        contrast: Difference from the background (N, 3, H, W).
        background: (N, 3).
        region: Pixels that may belong to it, (N, H, W) bool.

    Returns:
        Its facts, each (N,), and how much of each pixel it covers, (N, H, W).
    """
    own = contrast * region.unsqueeze(1)
    weight = own.square().sum(1, keepdim=True).square()
    name, colour = nearest_colour((own * weight).sum((2, 3)) / weight.sum((2, 3)), background)
    unit = colour / colour.square().sum(1, keepdim=True)
    part = (own * unit.view(-1, 3, 1, 1)).sum(1).clamp_(0, 1)
    area = part.sum((1, 2))
    side = part.shape[-1]
    pixel = (torch.arange(side) + 0.5) / side
    x, y = (part.sum(1) @ pixel) / area, (part.sum(2) @ pixel) / area
    size = area.sqrt() / side
    return Facts(nearest_shape(part, x, y, size), name, size, x, y), part.nan_to_num_(0.0)


def nearest_colour(core: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Name the colours (N, 3) of cores, as differences from the background (N, 3), and undo what blur took of them.

    Returns:
        Names (N,) int64; and the differences of the whole colours, which small blurred objects reach nowhere.
    """
    axes = torch.tensor(PALETTE, dtype=torch.float32) - background.unsqueeze(1)
    share = (core.unsqueeze(1) * axes).sum(2) / axes.square().sum(2)
    faded = share.clamp(FADED, 1).unsqueeze(2) * axes
    distance, name = (core.unsqueeze(1) - faded).square().sum(2).sqrt().min(1)
    known = distance <= FARTHEST_COLOUR
    lost = (WHOLE / share.gather(1, name.unsqueeze(1)).squeeze(1)).clamp(1, WHOLE / FADED)
    return torch.where(known, name, UNKNOWN), core * torch.where(known, lost, 1.0).unsqueeze(1)


def nearest_shape(part: Tensor, x: Tensor, y: Tensor, size: Tensor) -> Tensor:
    """Name shapes by drawing each of the four at the same place and as large, sharp and blurred: (N,) int64."""
    known = torch.isfinite(x) & torch.isfinite(y) & (size > 0)
    x, y, size = (torch.where(known, value, 0.5) for value in (x, y, size))
    fits = []
    for place in range(len(SHAPES)):
        drawn = coverage(torch.full_like(x, place, dtype=torch.int64), x, y, size, part.shape[-1])
        fits.append(torch.stack([overlap(part, soft) for soft in softened(drawn)]).amax(0))
    fit, name = torch.stack(fits).max(0)
    return torch.where(known & (fit >= LEAST_FIT), name, UNKNOWN)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return intersection over union of what is covered (N, H, W) in part: (N,) in [0, 1]."""
    return torch.minimum(a, b).sum((1, 2)) / torch.maximum(a, b).sum((1, 2))


def softened(drawn: Tensor) -> Iterator[Tensor]:
    """Yield pictures (N, H, W) as they are, then blurred again and again by the kernel (1/8, 3/4, 1/8)."""
    yield drawn
    for _ in range(SOFTER):
        frame = F.pad(drawn, (1, 1, 1, 1))
        rows = 0.125 * (frame[:, :-2] + frame[:, 2:]) + 0.75 * frame[:, 1:-1]
        drawn = 0.125 * (rows[:, :, :-2] + rows[:, :, 2:]) + 0.75 * rows[:, :, 1:-1]
        yield drawn
