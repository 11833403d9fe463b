"""The contract of distribution metrics: features in, named scores out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class DistributionMetric(Metric):
    """Compares features of generated images with features of real ones.

    The numbers of real and of generated images are independent. `compute` returns a dict of scores.
    """

    higher_is_better: bool | None = None
    full_state_update: bool | None = False
    better: dict[str, str]
    """What is good, for each score: `higher` or `lower`."""
    on_extractor: frozenset[str] = frozenset()
    """Scores that are distances in the extractor's space, and so carry its name."""

    @abstractmethod
    def update(self, features: Tensor, label: Tensor | None, *, real: bool) -> None:
        """Add features (N, D) float32 and, where known, labels (N,) int64."""

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Return the scores of all that was added, over all processes."""

    def intervals(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return a 95% interval, low and high, of each score that has one, of what `compute` saw."""
        return {}

    def per_class(self) -> dict[str, Tensor]:
        """Return tables by class of what `compute` saw, (K,) or (K, K)."""
        return {}

    def warnings(self) -> list[str]:
        """Return what a reader must know of the scores of what `compute` saw, a line each."""
        return []

    @property
    def settings(self) -> dict[str, Any]:
        """What a reader must know to reproduce the scores."""
        return {}


class FeatureStore(DistributionMetric):
    """Keeps all features of both sides, gathered over processes."""

    real: list[Tensor]
    fake: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("real", default=[], dist_reduce_fx="cat")
        self.add_state("fake", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor, label: Tensor | None, *, real: bool) -> None:
        """Keep the features."""
        check_features(features)
        (self.real if real else self.fake).append(features)

    def both(self) -> tuple[Tensor, Tensor]:
        """Return all real and all generated features, (N, D) and (M, D)."""
        sides = {"real": self.real, "generated": self.fake}
        for name, side in sides.items():
            if len(side) == 0:
                raise ValueError(f"{type(self).__name__} has no {name} images")
        real, fake = (torch.cat(side) if isinstance(side, list) else side for side in sides.values())
        return real, fake


def check_features(features: Tensor) -> None:
    """Refuse features that are not (N, D) float32 and finite."""
    if features.ndim != 2 or features.dtype != torch.float32:
        raise ValueError(f"features must be (N, D) float32, got {tuple(features.shape)} {features.dtype}")
    if not torch.isfinite(features).all():
        raise ValueError("features must be finite")
