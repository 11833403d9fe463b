"""A picture whose style is to be taken over."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condgen.conditions.base import ConditionEncoder, choose_null, unit_norm
from condgen.types import CondDims, Condition, CondSpec, Encoded

HALVINGS = 3


class StyleEncoder(ConditionEncoder):
    """Style picture of any size from 8x8 -> vector, by a small convolutional net that is trained with the rest.

    The mean over all places of the last map makes the vector, so that it says what is there rather than where. The null
    condition is a learned vector.

    Args:
        cond_spec: Must hold `style` with its `channels`.
        width: Width of the vector.
        channels: Channels of the first map; they double with each of three halvings.
    """

    keys = ("style",)

    def __init__(self, cond_spec: CondSpec, width: int = 64, channels: int = 16) -> None:
        super().__init__(cond_spec)
        for name, value in (("width", width), ("channels", channels)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        layers: list[nn.Module] = [nn.Conv2d(cond_spec["style"]["channels"], channels, 3, padding=1), nn.SiLU()]
        for _ in range(HALVINGS):
            layers += [
                nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
                nn.GroupNorm(1, 2 * channels),
                nn.SiLU(),
            ]
            channels *= 2
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(channels, width), unit_norm(width))
        self.null = nn.Parameter(torch.randn(width) * width**-0.5)
        self.dims = CondDims(vector=width)

    def encode(self, cond: Condition, drop: Tensor | None) -> Encoded:
        """Encode `cond["style"]`, (N, C, H, W) in [-1, 1]."""
        vector = self.head(self.layers(cond["style"]).mean(dim=(2, 3)))
        return Encoded(vector=choose_null(drop, self.null, vector))
