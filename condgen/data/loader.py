"""Batches of a set, in an order that is a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from condgen.data.images import Images, ImageSet
from condgen.data.workers import in_workers
from condgen.seeding import generator, run_seed, share
from condgen.types import Shape


class BatchLoader:
    """Yields raw batches `{"pixels", "cond", "index", "batch"}`, the rows of a set by their places.

    Training: each epoch is a new permutation; a global batch is `batch_size` consecutive places of it per rank; the
    last incomplete one is dropped, unless the set is smaller than one batch. Evaluation: a contiguous share of the
    places in order, each once, nothing padded or dropped; so what all ranks saw, gathered by rank, is in order.

    Its state is the number of batches since the start: after an epoch that was interrupted, or cut short by
    `limit_train_batches`, the next batch is the one that would have come.

    Args:
        images: The set.
        batch_size: Images in a batch of this process.
        shuffle: Whether this is training.
        rank: Number of this process.
        world_size: Number of processes.
        workers: Processes that read batches ahead of this one; 0 for sets in memory, which need none.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *,
        shuffle: bool,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if len(images) < world_size:
            raise ValueError(f"{len(images)} images cannot be shared by {world_size} processes")
        self.images = images
        self.batch_size = min(batch_size, len(images) // world_size) if shuffle else batch_size
        self.shuffle = shuffle
        self.rank = rank
        self.world_size = world_size
        self.workers = workers
        self.batches = 0

    def __len__(self) -> int:
        """Return the number of batches in an epoch of this rank."""
        if self.shuffle:
            return len(self.images) // (self.batch_size * self.world_size)
        return (len(self._share()) + self.batch_size - 1) // self.batch_size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield an epoch's number of training batches from the position on, or all batches of an evaluation."""
        if not self.shuffle:
            yield from self._batches(self.images, self.epoch_order(0), 0)
            return
        left = len(self)
        while left:
            epoch, start = divmod(self.batches, len(self))
            order = self.epoch_order(epoch)[start:][:left]
            left -= len(order)
            yield from self._batches(self.images.in_epoch(epoch), order, self.batches)

    def _batches(self, images: Images, order: list[Tensor], first: int) -> Iterator[dict[str, Any]]:
        """Read the places of each batch; `first` is the number of the first."""
        taken = Taken(images)
        rows = in_workers(taken, order, self.workers) if self.workers else map(taken.__getitem__, order)
        for batch, (index, row) in enumerate(zip(order, rows, strict=True), start=first):
            self.batches = batch + 1
            yield {"pixels": row.pixels, "cond": row.cond, "index": index, "batch": batch}

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


@dataclass(frozen=True)
class Taken:
    """Rows of a set by their places, as a loader's workers ask for them."""

    images: Images

    def __getitem__(self, index: Tensor) -> ImageSet:
        """Return the rows."""
        return self.images.take(index)


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
