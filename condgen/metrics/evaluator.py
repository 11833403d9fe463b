"""One evaluator for every generator: features once, then all scores on them, with the protocol they were made by."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from condgen.heartbeat import heart
from condgen.metrics.base import DistributionMetric, Features
from condgen.metrics.classification import InceptionScore, LabelAccuracy
from condgen.metrics.classwise import Diversity, IntraClassFrechetDistance, RareClassError
from condgen.metrics.extractors import Extractor
from condgen.metrics.floors import Floor
from condgen.metrics.frechet import FrechetDistance
from condgen.metrics.kernel import KernelDistance
from condgen.metrics.label_classes import label_classes
from condgen.metrics.manifold import PRDC
from condgen.metrics.memorisation import Memorisation

CHUNK = 64
"""Images that an extractor sees at a time, always: matrix kernels round differently for other shapes."""


class Score(NamedTuple):
    """A value, whether `higher` or `lower` is better, and the ends of its 95% interval where one was asked for."""

    value: float
    better: str
    low: float | None = None
    high: float | None = None


def score_rows(scores: dict[str, Score], floors: dict[str, Floor]) -> dict[str, dict[str, Any]]:
    """Make rows of scores, with their intervals and floors where there are some."""
    rows: dict[str, dict[str, Any]] = {}
    for name, score in scores.items():
        rows[name] = {key: value for key, value in score._asdict().items() if value is not None}
        if name in floors:
            rows[name]["floor"] = floors[name]
    return rows


class Evaluation(NamedTuple):
    """Scores by name, tables by class (K entries, or K rows of K), and what a reader of the scores must know."""

    scores: dict[str, Score]
    per_class: dict[str, list[Any]]
    warnings: list[str]


class Part(NamedTuple):
    """Some of the scores of an evaluation, what real images get in place of the samples, and what they depend on."""

    found: Evaluation
    floors: dict[str, Floor]
    protocol: dict[str, Any]


class Evaluator:
    """Scores sets of images by the features of one extractor.

    Scores that need labels are given where there are labels: of the classes, of both sides; of what was asked for, of
    the samples, and only by an extractor whose classes are the data's, which `match_classes` makes sure of.

    Args:
        extractor: Turns uint8 images into features.
        subset_size: Images per draw of precision, recall, density and coverage; null for the smaller side's number.
    """

    def __init__(self, extractor: Extractor, subset_size: int | None = None) -> None:
        self.extractor = extractor
        self.metrics: list[DistributionMetric] = []
        if extractor.label_classes:
            self.metrics.append(LabelAccuracy(extractor.logits, extractor.num_classes))
        self.metrics += [FrechetDistance(), IntraClassFrechetDistance(), KernelDistance()]
        if extractor.num_classes:
            self.metrics.append(InceptionScore(extractor.logits))
        self.metrics += [PRDC(subset_size=subset_size), Diversity()]

    def match_classes(self, names: Sequence[str], *, numbered: bool = False) -> list[str]:
        """Measure label accuracy for images with classes of these names, or leave it out; see `label_classes`.

        Returns:
            What a reader of the scores must know of that, a line each.
        """
        if not self.extractor.label_classes:
            return []
        accuracy, warnings = label_classes(self.extractor, names, numbered=numbered)
        others = [metric for metric in self.metrics if not isinstance(metric, LabelAccuracy)]
        self.metrics = others if accuracy is None else [accuracy, *others]
        return warnings

    def extract(self, pixels: Tensor, label: Tensor | None) -> Features:
        """Turn uint8 images (N, C, H, W) into features, image by image the same whatever else is among them."""
        parts = []
        for part in pixels.split(CHUNK):
            heart.beat()
            padding = part.new_zeros(CHUNK - len(part), *part.shape[1:])
            parts.append(self.extractor(torch.cat([part, padding]))[: len(part)])
        return Features(torch.cat(parts), label)

    def score(
        self, real: Features, fake: Features, *, train: Features | None = None, intervals: bool = False
    ) -> Evaluation:
        """Compare samples with real images; the scores are those of all processes.

        Args:
            real: This process's share of the real images, in the order of the processes.
            fake: Its share of the samples.
            train: Its share of the images that the generator was trained on, other than `real`: for `memorisation`.
            intervals: Give each score its 95% interval, which may cost several times what the score does.

        Raises:
            ValueError: If features or labels are not what they should be, or too few, or a class is missing.
        """
        metrics = list(self.metrics)
        if train is not None:
            metrics.append(Memorisation())
        result = Evaluation({}, {}, [])
        for metric in nn.ModuleList(metrics).to(fake.features.device):
            assert isinstance(metric, DistributionMetric)
            labels = {"real": real.label, "fake": fake.label}
            if any(labels[side] is None for side in metric.needs_label_of):
                continue
            metric.reset()
            metric.update(*real, real=True)
            metric.update(*fake, real=False)
            if isinstance(metric, Memorisation) and train is not None:
                metric.update_train(train.features)
            try:
                self._add(metric, result, intervals)
            except RareClassError as error:
                result.warnings.append(f"{self._title(metric)} left out: {error}")
            metric.reset()
        return result

    def _add(self, metric: DistributionMetric, result: Evaluation, intervals: bool) -> None:
        values = metric.compute()
        bounds = metric.intervals() if intervals else {}
        for name, value in values.items():
            found = [float(end) for end in bounds.get(name, ())]
            ends = found if all(map(isfinite, found)) else []  # too few samples have none
            result.scores[self._full_name(metric, name)] = Score(float(value), metric.better[name], *ends)
        result.per_class.update({name: table.tolist() for name, table in metric.per_class().items()})
        result.warnings.extend(f"{self._title(metric)}: {line}" for line in metric.warnings())

    def _title(self, metric: DistributionMetric) -> str:
        return self._full_name(metric, next(iter(metric.better)))

    @property
    def better(self) -> dict[str, str]:
        """Whether `higher` or `lower` is better, by the names of all scores, distances with the extractor's."""
        return {self._full_name(metric, name): way for metric in self.metrics for name, way in metric.better.items()}

    @property
    def score_names(self) -> list[str]:
        """Names of all scores."""
        return list(self.better)

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
