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
    """A value, whether `higher` or `lower` is better, and the ends of its 95% interval where one was asked for."""

    value: float
    better: str
    low: float | None = None
    high: float | None = None


class Evaluation(NamedTuple):
    """Scores by name, tables by class (K entries, or K rows of K), and what a reader of the scores must know."""

    scores: dict[str, Score]
    per_class: dict[str, list[Any]]
    warnings: list[str]


class Evaluator:
    """Scores sets of images by the features of one extractor.

    Args:
        extractor: Turns uint8 images into features.
        subset_size: Images per draw of precision, recall, density and coverage; null for the smaller side's number.
    """

    def __init__(self, extractor: ClassifierExtractor, subset_size: int | None = None) -> None:
        self.extractor = extractor
        self.metrics: list[DistributionMetric] = []
        if extractor.label_classes:
            self.metrics.append(LabelAccuracy(extractor.logits))
        self.metrics += [FrechetDistance(extractor.feature_dim), KernelDistance()]
        if extractor.num_classes:
            self.metrics.append(InceptionScore(extractor.logits, extractor.num_classes))
        self.metrics.append(PRDC(subset_size=subset_size))

    def extract(self, pixels: Tensor, label: Tensor | None, chunk: int = 512) -> Features:
        """Turn uint8 images (N, C, H, W) into features."""
        return Features(torch.cat([self.extractor(part) for part in pixels.split(chunk)]), label)

    def score(self, real: Features, fake: Features, *, intervals: bool = False) -> Evaluation:
        """Compare this process's share of generated with real images; the scores are those of all processes."""
        result = Evaluation({}, {}, [])
        for metric in nn.ModuleList(self.metrics).to(fake.features.device):
            assert isinstance(metric, DistributionMetric)
            metric.reset()
            metric.update(*real, real=True)
            metric.update(*fake, real=False)
            values = metric.compute()
            bounds = metric.intervals() if intervals else {}
            for name, value in values.items():
                ends = [float(end) for end in bounds.get(name, ())]
                result.scores[self._full_name(metric, name)] = Score(float(value), metric.better[name], *ends)
            result.per_class.update({name: table.tolist() for name, table in metric.per_class().items()})
            title = self._full_name(metric, next(iter(metric.better)))
            result.warnings.extend(f"{title}: {line}" for line in metric.warnings())
            metric.reset()
        return result

    @property
    def score_names(self) -> list[str]:
        """Names of all scores, distances with the extractor's."""
        return [self._full_name(metric, name) for metric in self.metrics for name in metric.better]

    def _full_name(self, metric: DistributionMetric, name: str) -> str:
        """Name distances by the extractor: only features of the true Inception have `fid` and bare names."""
        if name not in metric.on_extractor:
            return name
        return name.replace("fd", "fid") if self.extractor.canonical else f"{name}_{self.extractor.name}"

    @property
    def protocol(self) -> dict[str, Any]:
        """The extractor and the settings of the metrics."""
        card = {"name": self.extractor.name, "sha256": self.extractor.sha256, **self.extractor.card}
        settings = {key: value for metric in self.metrics for key, value in metric.settings.items()}
        return {"extractor": card, "quantisation": "uint8", "resize": None, **settings}
