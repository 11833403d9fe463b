"""Randomness as a function of names: every draw comes from (run seed, rank, batch, purpose) and nothing else."""

from __future__ import annotations

import os
import random
from functools import cached_property
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from condgen.checks import check_seeds
from condgen.pixels import sent

MAX_SEED = 2**63 - 1


def derive(*key: int | str) -> int:
    """Hash a key to a seed in [0, 2^63), equal on every machine and in every process."""
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "little") & MAX_SEED


def generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator seeded from `key`."""
    return torch.Generator(device).manual_seed(derive(*key))


def run_seed() -> int:
    """Return the run's seed, the one given to Lightning's `seed_everything`, or 0 if it was not called."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of one device.

    `torch.manual_seed` would do it for every kind of device, and note a stack trace for each one that is not in use.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def seed_batch(rank: int, batch: int, device: torch.device) -> None:
    """Seed the global generators before batch number `batch`, so that dropout too depends on its number alone."""
    seed = derive(run_seed(), rank, batch)
    seed_torch(seed, device)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries draw from it
    random.seed(seed)


def noise_per_seed(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Draw standard normal noise (N, *shape) on the CPU, row i from seeds[i] alone.

    Raises:
        ValueError: If `seeds` is not (N,) int64 with N >= 1, or holds a negative number.
    """
    check_seeds(seeds)
    return torch.stack([torch.randn(shape, generator=generator("image", seed)) for seed in seeds.tolist()])


class RowNoise:
    """Further standard normal noise beside some starting noise, row by row a function of that row alone.

    So what is drawn while image i is made depends on its starting noise, whether that came from a seed or from a user.

    Args:
        noise: Starting noise (N, *shape) float32; it is read when further noise is first drawn.
    """

    def __init__(self, noise: Tensor) -> None:
        self._noise = noise

    def __call__(self, *shape: int) -> Tensor:
        """Draw the next noise (N, *shape) float32, on the device of the starting noise."""
        drawn = torch.stack([torch.randn(shape, generator=source) for source in self._sources])
        return sent(drawn, self._noise.device)

    @cached_property
    def _sources(self) -> list[torch.Generator]:
        rows = self._noise.cpu().contiguous()
        return [generator("row", blake2b(row.numpy().tobytes(), digest_size=16).hexdigest()) for row in rows]


def share(count: int, rank: int, world_size: int) -> Tensor:
    """Return the places (N,) int64 of [0, count) that belong to one process: contiguous, in the order of the ranks."""
    return torch.arange(count).tensor_split(world_size)[rank]
