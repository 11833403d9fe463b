"""Features for the tests of metrics."""

from __future__ import annotations

import torch
from torch import Tensor

from condgen.metrics import DistributionMetric


def gaussian(count: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=source) / dim**0.5
    return torch.randn(count, dim, generator=source) @ mix + shift


def fill(
    metric: DistributionMetric,
    real: Tensor,
    fake: Tensor,
    label: Tensor | None = None,
    real_label: Tensor | None = None,
) -> dict[str, float]:
    """Give a metric both sides in parts, and return its scores."""
    for x, y, side in ((real, real_label, True), (fake, label, False)):
        labels = [None] * len(x) if y is None else y.split(97)
        for part, of_part in zip(x.split(97), labels, strict=False):
            metric.update(part, of_part, real=side)
    return {name: float(value) for name, value in metric.compute().items()}
