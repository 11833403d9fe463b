"""Kernel distance: squared maximum mean discrepancy with a cubic kernel (Bińkowski et al. 2018)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from condgen.metrics.base import FeatureStore
from condgen.seeding import generator


class KernelDistance(FeatureStore):
    """Mean over random subsets of the unbiased estimate of MMD^2, kernel (x'y / D + 1)^3; its Inception form is KID.

    Args:
        subsets: Number of subsets.
        subset_size: Images per subset and side; less where a side has less.
    """

    better = {"kid": "lower"}  # noqa: RUF012
    on_extractor = frozenset({"kid"})

    def __init__(self, subsets: int = 100, subset_size: int = 300) -> None:
        super().__init__()
        if subsets < 1 or subset_size < 2:
            raise ValueError(f"needs subsets >= 1 and subset_size >= 2, got {subsets} and {subset_size}")
        self.subsets = subsets
        self.subset_size = subset_size
        self.used_size = subset_size

    @property
    def settings(self) -> dict[str, Any]:
        """The subsets, with the size that the last `compute` used."""
        return {"kid_subsets": self.subsets, "kid_subset_size": self.used_size}

    def compute(self) -> dict[str, Tensor]:
        """Return `kid`."""
        real, fake = (side.double() for side in self.both())
        self.used_size = size = min(self.subset_size, len(real), len(fake))
        source = generator("kid")
        values = []
        for _ in range(self.subsets):
            x, y = (side[torch.randperm(len(side), generator=source)[:size].to(side.device)] for side in (real, fake))
            values.append(squared_mmd(x, y))
        return {"kid": torch.stack(values).mean()}


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Return the unbiased estimate for equally many rows, (N, D) float64 (Gretton et al. 2012, Eq. 3)."""
    n, d = x.shape
    within = [(k.sum() - k.trace()) / (n * (n - 1)) for k in ((a @ a.T / d + 1.0) ** 3 for a in (x, y))]
    return within[0] + within[1] - 2.0 * ((x @ y.T / d + 1.0) ** 3).mean()
