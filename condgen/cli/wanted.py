"""The images that are wanted of a model: each condition with each seed, in blocks of which each is held by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from condgen.cli.errors import UserError
from condgen.seeding import share
from condgen.types import Condition

BLOCK = 64
"""Images that are held at a time: so many, but whole chunks of the model's, and at least one."""


@dataclass(frozen=True)
class Wanted:
    """Image i is of condition i // len(seeds) and seed i % len(seeds).

    Args:
        cond: Conditions, a row each, as models take them; empty for none.
        titles: A name for each row.
        seeds: Seeds of each row.
        rank: Number of this process.
        processes: How many share the work; each takes images that follow each other.
    """

    cond: Condition
    titles: list[str]
    seeds: list[int]
    rank: int = 0
    processes: int = 1

    @property
    def total(self) -> int:
        """How many all processes make."""
        return len(self.titles) * len(self.seeds)

    @property
    def mine(self) -> Tensor:
        """Numbers (N,) of this process's images."""
        return share(self.total, self.rank, self.processes)

    def blocks(self, chunk: int) -> Iterator[Tensor]:
        """Yield the numbers of this process's images, whole chunks at a time."""
        yield from self.mine.split(max(1, BLOCK // chunk) * chunk)

    def asked(self, numbers: Tensor) -> tuple[Condition, Tensor]:
        """Return the conditions and seeds of some images."""
        rows = numbers // len(self.seeds)
        return {key: value[rows] for key, value in self.cond.items()}, self.seed_of(numbers)

    def seed_of(self, numbers: Tensor) -> Tensor:
        """Return the seeds (N,) int64 of some images."""
        return self._seeds[numbers % len(self.seeds)]

    @cached_property
    def _seeds(self) -> Tensor:
        return torch.tensor(self.seeds)

    def names(self, numbers: Tensor) -> list[str]:
        """Return names for some images, each another."""
        rows, seeds = (numbers // len(self.seeds)).tolist(), self.seed_of(numbers).tolist()
        return [
            f"{self.titles[row]}-seed={seed}" if self.cond else f"seed={seed}"
            for row, seed in zip(rows, seeds, strict=True)
        ]


def processes() -> tuple[int, int]:
    """Return this process's number and how many there are, as `torchrun` or a step of SLURM's `srun` says.

    Raises:
        UserError: If these are no such numbers.
    """
    for rank, count in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        if rank in os.environ and count in os.environ:
            given = os.environ[rank], os.environ[count]
            if not (all(map(str.isdecimal, given)) and int(given[0]) < int(given[1])):
                raise UserError(f"{rank} and {count} must be a process's number and how many there are, got {given}")
            return int(given[0]), int(given[1])
    return 0, 1
