"""Scores by the class probabilities of a classifier trained on real data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from condgen.metrics.base import DistributionMetric, check_features

Logits = Callable[[Tensor], Tensor]
"""Features (N, D) -> class logits (N, K)."""


class LabelAccuracy(DistributionMetric):
    """Share of generated images that the classifier assigns to the class that was asked for."""

    better = {"label_accuracy": "higher"}  # noqa: RUF012
    right: Tensor
    count: Tensor

    def __init__(self, logits: Logits) -> None:
        super().__init__()
        self._logits = logits
        self.add_state("right", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, features: Tensor, label: Tensor | None, *, real: bool) -> None:
        """Count generated images; real ones are not looked at."""
        if real:
            return
        check_features(features)
        if label is None:
            raise ValueError("LabelAccuracy needs the label that was asked for")
        self.right += (self._logits(features).argmax(dim=1) == label).sum()
        self.count += len(features)

    def compute(self) -> dict[str, Tensor]:
        """Return `label_accuracy`."""
        return {"label_accuracy": self.right / self.count}


class InceptionScore(DistributionMetric):
    """exp(E KL(p(y|x) | p(y))) over all generated images at once (Salimans et al. 2016), by any classifier."""

    better = {"is": "higher"}  # noqa: RUF012
    on_extractor = frozenset({"is"})
    count: Tensor
    probability: Tensor
    negative_entropy: Tensor

    def __init__(self, logits: Logits, num_classes: int) -> None:
        super().__init__()
        self._logits = logits
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("probability", torch.zeros(num_classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("negative_entropy", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor, label: Tensor | None, *, real: bool) -> None:
        """Add the class probabilities of generated images; real ones are not looked at."""
        if real:
            return
        check_features(features)
        log_p = self._logits(features).double().log_softmax(dim=1)
        self.count += len(features)
        self.probability += log_p.exp().sum(dim=0)
        self.negative_entropy += (log_p.exp() * log_p).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return `is`: E KL = E sum p log p - sum mean(p) log mean(p)."""
        p = self.probability / self.count
        return {"is": (self.negative_entropy / self.count - torch.xlogy(p, p).sum()).exp()}
