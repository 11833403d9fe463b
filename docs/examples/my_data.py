"""White discs on black: each image shows one radius, which is its condition."""

from __future__ import annotations

from typing import Literal

import torch

from condgen.data import ImageDataModule, ImageSet
from condgen.seeding import generator

SIZES = {"train": 2000, "validation": 200, "test": 200}
SMALLEST, LARGEST = 2.0, 7.0


class Discs(ImageDataModule):
    """Discs of 2 to 7 pixels' radius in 16x16 pixels, each at a random place where all of it is seen.

    Args:
        batch_size: Images per training step and process.
        eval_batch_size: Images per evaluation step and process.
    """

    image_shape = (1, 16, 16)

    def __init__(self, batch_size: int = 64, eval_batch_size: int = 200) -> None:
        super().__init__(batch_size, eval_batch_size, augment=None)
        self.cond_spec = {"attributes": {"names": ["radius"], "low": [SMALLEST], "high": [LARGEST]}}

    def load(self, split: Literal["train", "validation", "test"]) -> ImageSet:
        """Draw a split, the same one each time."""
        count, source = SIZES[split], generator("discs", split)
        radius = SMALLEST + (LARGEST - SMALLEST) * torch.rand((count, 1), generator=source)
        centre = 7.5 + (2 * torch.rand((count, 2), generator=source) - 1) * (7.5 - radius)
        pixel = torch.arange(16.0)
        down, right = (pixel - centre[:, :1]), (pixel - centre[:, 1:])
        distance = torch.hypot(down.unsqueeze(2), right.unsqueeze(1))
        white = (radius.unsqueeze(2) - distance + 0.5).clamp(0.0, 1.0)
        return ImageSet((255 * white).round().to(torch.uint8).unsqueeze(1), {"attributes": radius})
