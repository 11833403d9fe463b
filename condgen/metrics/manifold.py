"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from condgen.metrics.base import FeatureStore
from condgen.seeding import generator

NAMES = ("precision", "recall", "density", "coverage")


class PRDC(FeatureStore):
    """Fidelity and variety from balls around features that reach to the k-th neighbour.

    Random subsets of equal size are compared and the scores averaged, because all four depend on the number of images.

    Args:
        k: The neighbour that sets a ball's radius.
        subset_size: Images of each side in a draw; null for as many as the smaller side has.
        draws: Number of random draws.
    """

    better = dict.fromkeys(NAMES, "higher")

    def __init__(self, k: int = 5, subset_size: int | None = None, draws: int = 10) -> None:
        super().__init__()
        if k < 1 or draws < 1 or (subset_size is not None and subset_size <= k):
            raise ValueError(f"PRDC needs k >= 1, draws >= 1 and subset_size > k, got {k}, {draws} and {subset_size}")
        self.k = k
        self.subset_size = subset_size
        self.draws = draws
        self.used_size = subset_size

    @property
    def settings(self) -> dict[str, Any]:
        """Neighbours, images and draws, with the number of images that the last `compute` used."""
        return {"prdc_k": self.k, "prdc_subset_size": self.used_size, "prdc_draws": self.draws}

    def compute(self) -> dict[str, Tensor]:
        """Return the four scores."""
        real, fake = self.both()
        self.used_size = size = min(self.subset_size or len(real), len(real), len(fake))
        if size <= self.k:
            raise ValueError(f"PRDC needs more than k={self.k} images on each side, got {size}")
        source = generator("prdc")
        total = torch.zeros(4, dtype=torch.float64)
        for _ in range(self.draws):
            total += prdc(pick(real, size, source), pick(fake, size, source), self.k).cpu()
        return dict(zip(NAMES, total / self.draws, strict=True))


def pick(features: Tensor, size: int, source: torch.Generator) -> Tensor:
    """Choose rows at random; all of them, in order, where `size` is all."""
    if size == len(features):
        return features
    return features[torch.randperm(len(features), generator=source)[:size].to(features.device)]


def prdc(real: Tensor, fake: Tensor, k: int) -> Tensor:
    """Return precision, recall, density and coverage (4,) float64 of features (N, D) and (M, D)."""
    radius_real, radius_fake = radii(real, k), radii(fake, k)
    distance = torch.cdist(real.double(), fake.double())
    in_real, in_fake = distance < radius_real[:, None], distance < radius_fake[None, :]
    return torch.stack(
        [
            in_real.any(dim=0).double().mean(),
            in_fake.any(dim=1).double().mean(),
            in_real.sum(dim=0).double().mean() / k,
            (distance.min(dim=1).values < radius_real).double().mean(),
        ]
    )


def radii(features: Tensor, k: int) -> Tensor:
    """Return each row's distance (N,) to its k-th nearest other row."""
    x = features.double()
    return torch.cdist(x, x).kthvalue(k + 1, dim=1).values
