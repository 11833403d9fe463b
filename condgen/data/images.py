"""A split of a data set, wherever its pixels are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from condgen.types import Condition

BLOCK = 1024


class Images(ABC):
    """Images with raw conditions, in an order of their own."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def take(self, index: Tensor) -> ImageSet:
        """Return the rows at `index` (M,) int64, in memory."""

    def in_epoch(self, epoch: int) -> Images:
        """Return the images as one epoch of training shows them; the same by default."""
        return self

    def all(self) -> ImageSet:
        """Return all rows, in memory."""
        return self.take(torch.arange(len(self)))

    def probe(self) -> ImageSet:
        """Return rows to check: all if they are in memory, the first otherwise."""
        return self.take(torch.arange(1))

    def blocks(self, index: Tensor | None = None) -> Iterator[ImageSet]:
        """Yield the rows at `index`, all by default, in order and a block at a time."""
        index = torch.arange(len(self)) if index is None else index
        for places in index.split(BLOCK):
            yield self.take(places)


@dataclass(frozen=True)
class ImageSet(Images):
    """Images in memory: pixels (N, C, H, W) uint8, and raw conditions with N rows each."""

    pixels: Tensor
    cond: Condition

    def __len__(self) -> int:
        """Return the number of images."""
        return self.pixels.shape[0]

    def take(self, index: Tensor) -> ImageSet:
        """Return the rows at `index` (M,) int64."""
        return ImageSet(self.pixels[index], {key: value[index] for key, value in self.cond.items()})

    def all(self) -> ImageSet:
        """Return itself."""
        return self

    def probe(self) -> ImageSet:
        """Return itself."""
        return self


@dataclass(frozen=True)
class Part(Images):
    """Some of the images of a set, without a copy of them.

    Args:
        whole: The set.
        places: (N,) int64, where the images are in it.
    """

    whole: Images
    places: Tensor

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.places)

    def take(self, index: Tensor) -> ImageSet:
        """Return the rows at `index` (M,) int64 of the part."""
        return self.whole.take(self.places[index])

    def in_epoch(self, epoch: int) -> Images:
        """Return the part of what the set shows in an epoch."""
        return Part(self.whole.in_epoch(epoch), self.places)
