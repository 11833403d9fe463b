"""A small U-Net that tells the class of each pixel; its features serve the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from condgen.nets.classifier import conv
from condgen.nets.layers import require_positive
from condgen.nets.recognising import RecognisingNet, check_halvings
from condgen.types import Shape


class SegmentationUNet(RecognisingNet):
    """Two 3x3 convolutions per resolution, down and up again beside the way down (Ronneberger et al. 2015).

    Args:
        shape: Image shape (C, H, W); H and W must be divisible by 2^(len(widths) - 1).
        num_classes: Number of classes.
        widths: Channels at each resolution; each is half of the one before.
        dropout: Probability of dropping a channel of the lowest resolution.
    """

    def __init__(
        self, shape: Shape, num_classes: int, *, widths: Sequence[int] = (32, 64, 128), dropout: float = 0.2
    ) -> None:
        super().__init__(shape, num_classes, widths=list(widths), dropout=dropout)
        require_positive(widths=widths)
        check_halvings(shape, len(widths) - 1, len(widths))
        pairs = list(pairwise(widths))
        self.downs = nn.ModuleList(block(before, after) for before, after in pairwise((shape[0], *widths)))
        self.dropout = nn.Dropout2d(dropout)
        self.ups = nn.ModuleList(block(fine + coarse, fine) for fine, coarse in reversed(pairs))
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def features(self, image: Tensor) -> list[Tensor]:
        """Map images (N, C, H, W) in [-1, 1] to features at each resolution, (N, widths[i], H / 2^i, W / 2^i)."""
        maps: list[Tensor] = []
        for down in self.downs:
            maps.append(down(F.max_pool2d(maps[-1], 2) if maps else image))
        return maps

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to class logits of each pixel, (N, num_classes, H, W)."""
        *skips, x = self.features(image)
        x = self.dropout(x)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return cast(Tensor, self.head(x))


def block(before: int, after: int) -> nn.Sequential:
    """Return two 3x3 convolutions, each with batch normalisation and ReLU."""
    return nn.Sequential(*conv(before, after), *conv(after, after))
