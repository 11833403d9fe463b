"""One evaluator for every generator: features once, then all scores on them, with the protocol they were made by."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from condgen.metrics.base import DistributionMetric
from condgen.metrics.classification import InceptionScore, LabelAccuracy
from condgen.metrics.extractors import ClassifierExtractor
from condgen.metrics.frechet import FrechetDistance
from condgen.metrics.kernel import KernelDistance
from condgen.metrics.manifold import PRDC


class Features(NamedTuple):
    """Features (N, D) float32 and labels (N,) int64 of a set of images."""

    features: Tensor
    label: Tensor | None


class Score(NamedTuple):
    """A value and whether `higher` or `lower` is better."""

    value: float
    better: str


class Evaluator:
    """Scores sets of images by the features of one extractor.

    Args:
        extractor: Turns uint8 images into features.
        subset_size: Images per draw of precision, recall, density and coverage; null for the smaller side's number.
    """

    def __init__(self, extractor: ClassifierExtractor, subset_size: int | None = None) -> None:
        self.extractor = extractor
        self.metrics: list[DistributionMetric] = [
            LabelAccuracy(extractor.logits),
            FrechetDistance(extractor.net.feature_dim),
            KernelDistance(),
            InceptionScore(extractor.logits, extractor.num_classes),
            PRDC(subset_size=subset_size),
        ]

    def extract(self, pixels: Tensor, label: Tensor | None, chunk: int = 512) -> Features:
        """Turn uint8 images (N, C, H, W) into features."""
        return Features(torch.cat([self.extractor(part) for part in pixels.split(chunk)]), label)

    def score(self, real: Features, fake: Features) -> dict[str, Score]:
        """Compare this process's share of generated with real images; the scores are those of all processes."""
        scores = {}
        for metric in nn.ModuleList(self.metrics).to(fake.features.device):
            assert isinstance(metric, DistributionMetric)
            metric.reset()
            metric.update(*real, real=True)
            metric.update(*fake, real=False)
            for name, value in metric.compute().items():
                scores[self._full_name(metric, name)] = Score(float(value), metric.better[name])
            metric.reset()
        return scores

    @property
    def score_names(self) -> list[str]:
        """Names of all scores, distances with the extractor's."""
        return [self._full_name(metric, name) for metric in self.metrics for name in metric.better]

    def _full_name(self, metric: DistributionMetric, name: str) -> str:
        return f"{name}_{self.extractor.name}" if name in metric.on_extractor else name

    @property
    def protocol(self) -> dict[str, Any]:
        """The extractor and the settings of the metrics."""
        card = {"name": self.extractor.name, "sha256": self.extractor.sha256, **self.extractor.card}
        settings = {key: value for metric in self.metrics for key, value in metric.settings.items()}
        return {"extractor": card, "quantisation": "uint8", "resize": None, **settings}
