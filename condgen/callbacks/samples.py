"""Samples to be scored: what is asked for, and what comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import lightning as L
from torch import Tensor

from condgen.data import Images
from condgen.models import GenerativeModel
from condgen.models.asking import ask, draw
from condgen.seeding import share
from condgen.types import Condition


class Samples(NamedTuple):
    """Samples of one process.

    Attributes:
        pixels: uint8 (N, C, H, W).
        cond: What was asked for, as it is stored.
        target: The real images that belong to the conditions; null where these are classes, or none.
        seconds: How long the samples took to draw.
    """

    pixels: Tensor
    cond: Condition
    target: Tensor | None
    seconds: float


def draw_samples(
    trainer: L.Trainer, model: GenerativeModel, n: int, first_seed: int, images: Callable[[], Images]
) -> Samples:
    """Draw this process's share of n samples, sample i with seed `first_seed + i`."""
    start = time.perf_counter()
    index = share(n, trainer.global_rank, trainer.world_size)
    asked = ask(model, index, images)
    pixels = draw(model, asked.cond, index + first_seed)
    return Samples(pixels, asked.cond, asked.target, time.perf_counter() - start)
