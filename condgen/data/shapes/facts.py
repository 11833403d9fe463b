"""What is true of a picture of shapes: the factors, their names and their ranges.

Lengths are fractions of the picture's side, so that one scene can be drawn at any resolution.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
PALETTE = ((220, 50, 45), (40, 200, 75), (45, 85, 230), (235, 210, 50), (180, 60, 210), (40, 200, 215))
"""RGB of the colours; each channel of an object lies within COLOUR_JITTER of it."""
COLOUR_JITTER = 15
SIZE_NAMES = ("small", "medium", "large")
SIZES = (0.165, 0.21, 0.27)
"""Square root of the area; an object lies within SIZE_JITTER, relative, of one of them."""
SIZE_JITTER = 0.05
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")
PLACES = (0.325, 0.5, 0.675)
"""Centroids of a single object, in either direction; it lies within PLACE_JITTER of one of them."""
PLACE_JITTER = 0.055
RELATIONS = ("left of", "right of", "above", "below")
"""Of the first object to the second, by the larger of the distances across and down between their centroids."""
UNKNOWN = -1


class Facts(NamedTuple):
    """The factors of N pictures of K objects, each (N, K).

    shape, colour: int64 places in SHAPES and COLOURS, -1 where there is none or none is said.
    size, x, y: float32; square root of the area, and centroid, from left and from top; NaN where there is none.
    """

    shape: Tensor
    colour: Tensor
    size: Tensor
    x: Tensor
    y: Tensor

    @property
    def size_name(self) -> Tensor:
        """Places in SIZE_NAMES (N, K) int64, of the nearest by ratio; -1 where unknown."""
        steps = [(low * high) ** 0.5 for low, high in pairwise(SIZES)]
        return binned(self.size, steps)

    @property
    def cell(self) -> Tensor:
        """Places in the 3x3 grid of ROWS and COLUMNS, row by row (N, K) int64; -1 where unknown."""
        steps = [(low + high) / 2 for low, high in pairwise(PLACES)]
        column, row = binned(self.x, steps), binned(self.y, steps)
        return torch.where((column < 0) | (row < 0), UNKNOWN, 3 * row + column)

    @property
    def relation(self) -> Tensor:
        """Place in RELATIONS (N, 1) int64 of the first object to the second; -1 where unknown."""
        across, down = self.x[:, :1] - self.x[:, 1:2], self.y[:, :1] - self.y[:, 1:2]
        sideways = torch.where(across < 0, 0, 1)
        upright = torch.where(down < 0, 2, 3)
        relation = torch.where(across.abs() > down.abs(), sideways, upright)
        return torch.where(torch.isfinite(across + down), relation, UNKNOWN)

    def take(self, index: Tensor) -> Facts:
        """Return the pictures at `index` (M,) int64."""
        return Facts(*(value[index] for value in self))

    def swapped(self, rows: Tensor) -> Facts:
        """Exchange first and second object in the pictures where `rows` (N,) bool is true."""
        return Facts(*(torch.where(rows.unsqueeze(1), value.flip(1), value) for value in self))


def binned(value: Tensor, steps: list[float]) -> Tensor:
    """Return the number of steps below each value, int64; -1 for NaN."""
    return torch.where(value.isnan(), UNKNOWN, torch.bucketize(value.contiguous(), torch.tensor(steps)))
