"""Batches from a set that is held in memory, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from condgen.seeding import generator, run_seed, share
from condgen.types import Condition, Shape


@dataclass(frozen=True)
class ImageSet:
    """A split in memory: pixels (N, C, H, W) uint8, and raw conditions with N rows each."""

    pixels: Tensor
    cond: Condition

    def take(self, index: Tensor) -> ImageSet:
        """Return the rows at `index` (M,) int64."""
        return ImageSet(self.pixels[index], {key: value[index] for key, value in self.cond.items()})

    def __len__(self) -> int:
        """Return the number of images."""
        return self.pixels.shape[0]


class BatchLoader:
    """Yields raw batches `{"pixels", "cond", "index", "batch"}` by indexing whole tensors.

    Training: each epoch is a new permutation; a global batch is `batch_size` consecutive places of it per rank; the
    last incomplete one is dropped, unless the set is smaller than one batch. Evaluation: a contiguous share of the
    places in order, each once, nothing padded or dropped; so what all ranks saw, gathered by rank, is in order.

    Its state is the number of batches since the start: an epoch that was interrupted, or cut short by
    `limit_train_batches`, goes on where it stopped.
    """

    def __init__(self, images: ImageSet, batch_size: int, *, shuffle: bool, rank: int = 0, world_size: int = 1) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if len(images) < world_size:
            raise ValueError(f"{len(images)} images cannot be shared by {world_size} processes")
        self.images = images
        self.batch_size = min(batch_size, len(images) // world_size) if shuffle else batch_size
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.batches = 0

    def __len__(self) -> int:
        """Return the number of batches in an epoch of this rank."""
        if self.shuffle:
            return len(self.images) // (self.batch_size * self.world_size)
        return (len(self._share()) + self.batch_size - 1) // self.batch_size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rest of the epoch that the position lies in, or all batches of an evaluation."""
        epoch, start = divmod(self.batches, len(self)) if self.shuffle else (0, 0)
        for batch, index in enumerate(self.epoch_order(epoch)[start:], start=epoch * len(self) + start):
            self.batches = batch + 1
            rows = self.images.take(index)
            yield {"pixels": rows.pixels, "cond": rows.cond, "index": index, "batch": batch}

    def epoch_order(self, epoch: int) -> list[Tensor]:
        """Return the places of each batch of this rank in one epoch."""
        if not self.shuffle:
            return list(self._share().split(self.batch_size))
        order = torch.randperm(len(self.images), generator=generator(run_seed(), "order", epoch))
        steps = order[: len(self) * self.batch_size * self.world_size]
        return list(steps.view(len(self), self.world_size, self.batch_size)[:, self.rank])

    def _share(self) -> Tensor:
        return share(len(self.images), self.rank, self.world_size)

    def state_dict(self) -> dict[str, int]:
        """Return the position; Lightning keeps it in the checkpoint."""
        return {"batches": self.batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a position."""
        self.batches = state["batches"]


class NoImages:
    """One raw batch of no images, for an evaluation that reads none."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def __len__(self) -> int:
        """Return 1."""
        return 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the batch."""
        pixels, index = torch.zeros(0, *self.shape, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
        yield {"pixels": pixels, "cond": {}, "index": index, "batch": 0}
