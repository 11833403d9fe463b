"""Features for the tests of metrics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from condgen.data import Digits
from condgen.metrics import DigitsExtractor, DistributionMetric, Evaluator, Features, ReconstructionError
from condgen.seeding import share


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


def score_share(rank: int, world_size: int) -> dict[str, Any]:
    """Score odd numbers of real digits against each other, of which this process holds a share."""
    data, evaluator = Digits(), Evaluator(DigitsExtractor())
    splits = [data.images(split).take(share(count, rank, world_size)) for split, count in COUNTS.items()]
    real, fake, train = (evaluator.extract(part.pixels, part.cond["label"]) for part in splits)
    result = evaluator.score(real, fake, train=train, intervals=True)
    error = ReconstructionError()
    error.update(splits[0].pixels, splits[0].pixels.flip(-1))
    return {
        "scores": {name: [score.value, score.low, score.high] for name, score in result.scores.items()},
        "per_class": result.per_class,
        "warnings": result.warnings,
        "error": {name: float(value) for name, value in error.compute().items()},
        "features": fake.features.double().sum(dim=1).tolist(),
        "unlabelled": unlabelled(evaluator, real, fake),
    }


def unlabelled(evaluator: Evaluator, real: Features, fake: Features) -> dict[str, float | None]:
    """Score the same without labels: values, and the low ends of their intervals."""
    found = evaluator.score(real._replace(label=None), fake._replace(label=None), intervals=True).scores
    return {f"{name} {end}": getattr(score, end) for name, score in found.items() for end in ("value", "low")}


COUNTS = {"validation": 301, "test": 257, "train": 401}
