"""Scores by the class probabilities of a classifier trained on real data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from condgen.checks import check_label
from condgen.metrics.base import DistributionMetric, Features, FeatureStore, check_features
from condgen.metrics.intervals import wilson_interval

Logits = Callable[[Tensor], Tensor]
"""Features (N, D) -> class logits (N, K)."""
ROWS = 4096
"""Images at a time in float64."""


class LabelAccuracy(DistributionMetric):
    """Share of generated images that the classifier assigns to the class that was asked for.

    It says nothing of variety: one good image per class, over and over, has accuracy 1.
    """

    better = {"label_accuracy": "higher"}  # noqa: RUF012
    needs_label_of = frozenset({"fake"})
    confusion: Tensor

    def __init__(self, logits: Logits, num_classes: int) -> None:
        super().__init__()
        self._logits = logits
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.seen = self.confusion

    def update(self, features: Tensor, label: Tensor | None, *, real: bool) -> None:
        """Count generated images; real ones are not looked at."""
        if real:
            return
        check_features(features)
        if label is None:
            raise ValueError("LabelAccuracy needs the label that was asked for")
        classes = len(self.confusion)
        check_label(label, classes)
        cell = label.long() * classes + self._logits(features).argmax(dim=1)
        self.confusion += torch.bincount(cell, minlength=classes**2).view(classes, classes)

    def compute(self) -> dict[str, Tensor]:
        """Return `label_accuracy`."""
        self.seen = self.confusion.clone()
        if not self.seen.any():
            raise ValueError("LabelAccuracy has no generated images")
        return {"label_accuracy": self.seen.trace().double() / self.seen.sum()}

    def intervals(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return Wilson's interval."""
        return {"label_accuracy": wilson_interval(self.seen.trace(), self.seen.sum())}

    def per_class(self) -> dict[str, Tensor]:
        """Return the accuracy of each class, and counts by class asked for (rows) and recognised (columns)."""
        return {"label_accuracy": self.seen.diagonal().double() / self.seen.sum(dim=1), "confusion": self.seen}


class InceptionScore(FeatureStore):
    """exp(E KL(p(y|x) | p(y))) over all generated images at once (Salimans et al. 2016), by any classifier."""

    better = {"is": "higher"}  # noqa: RUF012
    on_extractor = frozenset({"is"})
    limits = {"is": (1.0, float("inf"))}  # noqa: RUF012

    def __init__(self, logits: Logits) -> None:
        super().__init__()
        self._logits = logits

    def update(self, features: Tensor, label: Tensor | None, *, real: bool) -> None:
        """Keep features of generated images; real ones are not looked at."""
        if not real:
            super().update(features, label, real=False)

    def both(self) -> tuple[Features, Features]:
        """Return no real images, and all generated ones."""
        fake = self.side("fake")
        return Features(fake.features[:0], None), fake

    def measure(self, real: Features, fake: Features, member: Tensor) -> dict[str, Tensor]:
        """Return `is`: E KL = E sum p log p - sum mean(p) log mean(p)."""
        count = member.sum(dim=0)
        p: Tensor | float = 0.0
        negative_entropy: Tensor | float = 0.0
        for x, chosen in zip(fake.features.split(ROWS), member.double().split(ROWS), strict=True):
            log_p = self._logits(x).double().log_softmax(dim=1)
            p = p + chosen.T @ log_p.exp() / count[:, None]
            negative_entropy = negative_entropy + chosen.T @ (log_p.exp() * log_p).sum(dim=1) / count
        return {"is": (negative_entropy - torch.special.xlogy(p, p).sum(dim=1)).exp()}
