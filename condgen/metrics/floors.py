"""What real training images would score in place of samples: how far from perfect a perfect generator is."""

from __future__ import annotations

from statistics import fmean, stdev

import torch
from torch import Tensor

from condgen.seeding import generator

FLOOR_DRAWS = 5
Floor = dict[str, float]
"""`mean` and `sd` over a number of `draws`."""


def floor_draws(count: int, n: int, draws: int = FLOOR_DRAWS) -> list[Tensor]:
    """Choose n of `count` training images at random, `draws` times; all of them once if there are no more than n."""
    return [torch.randperm(count, generator=generator("floor", draw))[:n] for draw in range(draws if n < count else 1)]


def floors(rows: list[dict[str, float]]) -> dict[str, Floor]:
    """Summarise the scores of all draws, of those that each draw has."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    values = {name: [row[name] for row in rows] for name in names}
    return {
        name: {"mean": fmean(value), "sd": stdev(value) if len(value) > 1 else 0.0, "draws": len(value)}
        for name, value in values.items()
    }
