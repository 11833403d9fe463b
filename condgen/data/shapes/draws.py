"""Scenes as a function of (key, index): each picture's factors are hashes of its own number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from condgen.data.shapes.facts import (
    COLOUR_JITTER,
    COLOURS,
    PALETTE,
    PLACE_JITTER,
    PLACES,
    SHAPES,
    SIZE_JITTER,
    SIZES,
    Facts,
)
from condgen.data.shapes.geometry import extents
from condgen.seeding import generator

DRAWS = 40
"""Numbers drawn for a picture, whatever of them is used: ten for each of two objects, then those of the picture."""
BACKGROUND, LAYOUT, WORDS = 20, 25, 32
MARGIN, GAP = 0.016, 0.1
"""Least distance of two objects from the frame and from each other."""

Uniforms = NDArray[np.float64]


class Scenes(NamedTuple):
    """All that is drawn: facts, and what they leave open: colours (N, K, 3) and background (N, 3), float32 0 to 255."""

    facts: Facts
    rgb: Tensor
    background: Tensor


def uniforms(key: int, index: Tensor) -> Uniforms:
    """Draw (N, DRAWS) numbers in [0, 1), row i from (key, index[i]) alone (SplitMix64, Steele et al. 2014)."""
    counter = index.unsqueeze(1) * DRAWS + torch.arange(1, DRAWS + 1)
    z: NDArray[np.uint64] = counter.numpy().astype(np.uint64)
    z = z * np.uint64(0x9E3779B97F4A7C15) + np.array([[key]], dtype=np.uint64)  # all modulo 2^64
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    u: Uniforms = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return u


def chosen(u: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Turn numbers in [0, 1) into places of `count`, each as likely."""
    return (u * count).astype(np.int64)


def between(u: NDArray[np.float64], low: float | NDArray[np.float64], high: float | NDArray[np.float64]) -> Uniforms:
    """Turn numbers in [0, 1) into numbers of an interval."""
    return low + u * (high - low)


def held_out_pairs(share: float, seed: int) -> Tensor:
    """Mark the (shape, colour) pairs that are kept from training: a bool table (4, 6), `share` of it true.

    No two shapes, and no two colours, differ by more than one in the number of pairs that they lose.
    """
    source = generator(seed, "held out")
    shapes, colours = (torch.randperm(count, generator=source) for count in (len(SHAPES), len(COLOURS)))
    place = torch.arange(round(share * len(SHAPES) * len(COLOURS)))
    table = torch.zeros(len(SHAPES), len(COLOURS), dtype=torch.bool)
    table[shapes[place % 4], colours[(place + place // 12) % 6]] = True  # (place % 4, place % 6) repeats after 12
    return table


def draw_scenes(u: Uniforms, n_objects: int, pairs: Tensor) -> Scenes:
    """Turn numbers into scenes.

    Args:
        u: Numbers (N, DRAWS) in [0, 1).
        n_objects: 1, or 2 that stand in one of RELATIONS.
        pairs: Table (4, 6) bool of the pairs of shape and colour that occur.
    """
    own = u[:, : 10 * n_objects].reshape(len(u), n_objects, 10)
    allowed = pairs.nonzero().numpy()
    shape, colour = np.moveaxis(allowed[chosen(own[..., 0], len(allowed))], -1, 0)
    size = np.array(SIZES)[chosen(own[..., 1], 3)] * between(own[..., 2], 1 - SIZE_JITTER, 1 + SIZE_JITTER)
    x, y = place_one(own) if n_objects == 1 else place_two(u[:, LAYOUT:WORDS], shape, size)
    rgb = np.array(PALETTE)[colour] + between(own[..., 7:10], -COLOUR_JITTER, COLOUR_JITTER)
    facts = Facts(torch.from_numpy(shape), torch.from_numpy(colour), *(floats(value) for value in (size, x, y)))
    return Scenes(facts, floats(rgb), floats(draw_background(u[:, BACKGROUND:LAYOUT])))


def draw_background(u: Uniforms) -> Uniforms:
    """Choose a dark or a light grey with a breath of colour, (N, 3)."""
    grey = np.where(u[:, 0] < 0.5, between(u[:, 1], 20.0, 50.0), between(u[:, 1], 190.0, 225.0))
    return grey[:, None] + between(u[:, 2:5], -4.0, 4.0)


def place_one(own: Uniforms) -> tuple[Uniforms, Uniforms]:
    """Choose a cell of the grid, and a point in it."""
    row, column = np.divmod(chosen(own[..., 3], 9), 3)
    jitter = between(own[..., 4:6], -PLACE_JITTER, PLACE_JITTER)
    return np.array(PLACES)[column] + jitter[..., 0], np.array(PLACES)[row] + jitter[..., 1]


def place_two(u: Uniforms, shape: NDArray[np.int64], size: Uniforms) -> tuple[Uniforms, Uniforms]:
    """Choose a relation, then points for both objects that leave it clear; neither touches the other or the frame."""
    left, right, up, down = (extent * size for extent in np.moveaxis(extents()[shape], -1, 0))
    relation = chosen(u[:, 0], 4)
    upright, turned = relation >= 2, relation % 2 == 1  # turned: the second object is the one further left or above
    before, after = (np.where(upright[:, None], a, b) for a, b in ((up, left), (down, right)))
    low, high = (np.where(upright[:, None], a, b) for a, b in ((left, up), (right, down)))
    order = np.stack([turned, ~turned], axis=1).astype(np.int64)
    rows = np.arange(len(u))[:, None]
    main = along(u, before[rows, order], after[rows, order])[rows, order]  # a swap of two is its own inverse
    side = across(u, low, high, np.abs(main[:, 1] - main[:, 0]))
    return np.where(upright[:, None], side, main), np.where(upright[:, None], main, side)


def along(u: Uniforms, before: Uniforms, after: Uniforms) -> Uniforms:
    """Choose where two objects stand on the axis of their relation, (N, 2) in ascending order."""
    slack = 1 - 2 * MARGIN - GAP - (before + after).sum(1)
    first, second = np.sort(u[:, 1:3], axis=1).T
    start = MARGIN + first * slack + before[:, 0]
    return np.stack([start, start + after[:, 0] + GAP + (second - first) * slack + before[:, 1]], axis=1)


def across(u: Uniforms, low: Uniforms, high: Uniforms, distance: Uniforms) -> Uniforms:
    """Choose where they stand on the other axis: at most half of their distance apart, if the frame allows."""
    start, end = low + MARGIN, 1 - high - MARGIN
    first = between(u[:, 3], start[:, 0], end[:, 0])
    second = np.clip(first + between(u[:, 4], -0.5, 0.5) * distance, start[:, 1], end[:, 1])
    return np.stack([first, second], axis=1)


def floats(value: NDArray[np.float64]) -> Tensor:
    """Return float32."""
    return torch.from_numpy(value).float()
