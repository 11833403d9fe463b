"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from condgen.metrics.base import Features, FeatureStore
from condgen.metrics.neighbours import Distances, nearest_others
from condgen.seeding import generator

NAMES = ("precision", "recall", "density", "coverage")
PAIRS = 2**20
"""Pairs of a real image and a ball that are compared at a time."""


class PRDC(FeatureStore):
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    All four come from balls around features that reach to the k-th neighbour.

    Random subsets of equal size are compared and the scores averaged, because all four depend on the number of images.

    Args:
        k: The neighbour that sets a ball's radius.
        subset_size: Images of each side in a draw; null for as many as the smaller side has.
        draws: Number of random draws; one where each would be all images.
    """

    better = dict.fromkeys(NAMES, "higher")
    limits = dict.fromkeys(NAMES, (0.0, 1.0)) | {"density": (0.0, float("inf"))}

    def __init__(self, k: int = 5, subset_size: int | None = None, draws: int = 10) -> None:
        super().__init__()
        if k < 1 or draws < 1 or (subset_size is not None and subset_size <= k):
            raise ValueError(f"PRDC needs k >= 1, draws >= 1 and subset_size > k, got {k}, {draws} and {subset_size}")
        self.k = k
        self.subset_size = subset_size
        self.draws = draws
        self.least = 2 * (k + 1)
        self.used_size = subset_size

    @property
    def settings(self) -> dict[str, Any]:
        """Neighbours, images and draws, with the number of images that the last `compute` used."""
        return {"prdc_k": self.k, "prdc_subset_size": self.used_size, "prdc_draws": self.draws}

    def measure(self, real: Features, fake: Features, member: Tensor) -> dict[str, Tensor]:
        """Return the four scores."""
        sizes = len(real.features), len(fake.features)
        self.used_size = size = min(self.subset_size or min(sizes), *sizes)
        if size <= self.k:
            raise ValueError(f"PRDC needs more than k={self.k} images on each side, got {size}")
        source = generator("prdc")
        draws = 1 if sizes == (size, size) else self.draws
        total = torch.zeros(4, member.shape[1], dtype=torch.float64, device=member.device)
        for _ in range(draws):
            chosen, samples = (pick(count, size, source) for count in sizes)
            total += prdc(rows(real.features, chosen), rows(fake.features, samples), self.k, rows(member, samples))
        return dict(zip(NAMES, total / draws, strict=True))


def pick(count: int, size: int, source: torch.Generator) -> Tensor | None:
    """Choose places in [0, count) at random; null where `size` is all."""
    return None if size == count else torch.randperm(count, generator=source)[:size]


def rows(x: Tensor, places: Tensor | None) -> Tensor:
    """Return the rows at some places; all of them, not a copy, for null."""
    return x if places is None else x[places.to(x.device)]


def prdc(real: Tensor, fake: Tensor, k: int, member: Tensor) -> Tensor:
    """Return precision, recall, density and coverage, (4, R) float64, of R sets of samples against all real images.

    A ball holds its edge in precision and recall, as their paper has it, and not in density and coverage, as the code
    of theirs has it.

    Args:
        real: Features (N, D).
        fake: Features (M, D).
        k: The neighbour that sets a ball's radius.
        member: Which samples each set holds, (M, R) bool, more than k each.
    """
    radius_real = nearest_others(real, k)[0][:, -1:]
    radius_fake = radii_in_sets(fake, k, member)
    widest = radius_fake.max(dim=1).values
    chosen, count = member.double(), member.sum(dim=0)
    inside = torch.zeros(2, len(fake), dtype=torch.float64, device=fake.device)
    recalled, covered = torch.zeros(2, *count.shape, dtype=torch.float64, device=fake.device)
    for block in Distances(real, fake).blocks():
        radius = radius_real[block.rows]
        squared = block.settle(radius)
        inside[0] += (squared <= radius).any(dim=0)
        within = squared < radius
        inside[1] += within.sum(dim=0)
        covered += (within.float() @ member.float() > 0).sum(dim=0)
        recalled += held(block.settle(widest), radius_fake, widest).sum(dim=0)
    precision, density = (inside[0] > 0).double() @ chosen / count, inside[1] @ chosen / (k * count)
    return torch.stack([precision, recalled / len(real), density, covered / len(real)])


def radii_in_sets(features: Tensor, k: int, member: Tensor) -> Tensor:
    """Return each row's squared distance to its k-th nearest other row of the same set, (M, R); -1 outside the set.

    Of a set that is not all, the 8k nearest rows are searched; a random half has k of them but for one row in 10^7.
    """
    wanted = min(k if member.all() else 8 * k, len(features) - 1)
    squared, index = nearest_others(features, wanted)
    out = []
    for chosen in member.T:
        place = (chosen[index].cumsum(dim=1) < k).sum(dim=1, keepdim=True).clamp(max=wanted - 1)
        out.append(torch.where(chosen, squared.gather(1, place)[:, 0], -1.0))
    return torch.stack(out, dim=1)


def held(squared: Tensor, radius: Tensor, widest: Tensor) -> Tensor:
    """Return whether each row lies in some ball of each set, (B, R) bool; distances (B, M), radii (M, R) squared."""
    row, column = (squared <= widest).nonzero(as_tuple=True)
    out = torch.zeros(len(squared), radius.shape[1], dtype=torch.int32, device=squared.device)
    for i, j in zip(row.split(PAIRS), column.split(PAIRS), strict=True):
        out.index_add_(0, i, (squared[i, j, None] <= radius[j]).int())
    return out > 0
