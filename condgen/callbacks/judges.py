"""What judges samples: each judge gives scores, what real images would get, and its part of the protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from condgen.callbacks.real_images import RealImages, data_of
from condgen.callbacks.samples import Samples
from condgen.data import ImageDataModule, ImageSet
from condgen.data.base import Split
from condgen.metrics import Evaluation, Evaluator, Obedience, Score, classification_accuracy_score
from condgen.metrics.floors import FLOOR_DRAWS, Floor, floor_draws
from condgen.metrics.obedience_scores import obedience_card, obedience_floors, obedience_scores
from condgen.seeding import share
from condgen.types import Condition

Floors = dict[str, Floor]


class Judge(ABC):
    """Scores samples of a trainer's model, in all processes together."""

    @abstractmethod
    def score(self, samples: Samples, split: Split, *, fitting: bool) -> Evaluation:
        """Score samples against a split; while fitting, only what is cheap."""

    def further(self, samples: Samples, split: Split) -> dict[str, Score]:
        """Return scores that take minutes, which the protocol's seconds do not count."""
        return {}

    @abstractmethod
    def floors(self, split: Split, n: int) -> Floors:
        """Return what n random real images in place of the samples get."""

    @abstractmethod
    def protocol(self, split: Split) -> dict[str, Any]:
        """Say what the scores depend on."""


class FeatureJudge(Judge):
    """Compares features of samples with those of real images.

    Args:
        evaluator: Has the extractor and the metrics.
        trainer: Has the data.
        cas: Train the extractor's net on the samples too.
    """

    def __init__(self, evaluator: Evaluator, trainer: L.Trainer, cas: bool) -> None:
        self.real = RealImages(evaluator, trainer)
        self.evaluator = evaluator
        self.cas = cas

    def score(self, samples: Samples, split: Split, *, fitting: bool) -> Evaluation:
        """Extract features once, and score them."""
        real = self.real
        fake = real.extract(samples.pixels, samples.cond)
        train = None if fitting else real.features("train")
        found = self.evaluator.score(real.features(split), fake, train=train, intervals=not fitting)
        return found._replace(warnings=[*real.warnings, *found.warnings])

    def further(self, samples: Samples, split: Split) -> dict[str, Score]:
        """Return the classification accuracy score, where it is asked for."""
        return {"cas": self._train_on(split, samples.pixels, samples.cond)} if self.cas else {}

    def _train_on(self, split: Split, pixels: Tensor, cond: Condition) -> Score:
        """Return the classification accuracy score of all processes' uint8 images."""
        if "label" not in cond:
            raise ValueError("evaluation.cas needs images with labels")
        real, score = self.real, None
        images = real.gather(pixels), real.gather(cond["label"].to(pixels.device))
        if real.trainer.is_global_zero:
            truth = real.data.images(split).all()
            there = truth.pixels.to(pixels.device), truth.cond["label"].to(pixels.device)
            classes, net = len(real.data.cond_spec["label"]["names"]), self.evaluator.extractor.new_net
            score = classification_accuracy_score(*images, *there, num_classes=classes, net=net)
        score = real.trainer.strategy.broadcast(score)
        assert score is not None
        return score

    def floors(self, split: Split, n: int) -> Floors:
        """Score training images, once."""
        real = self.real
        floors = real.floor(split, n, FLOOR_DRAWS)
        if not self.cas:
            return floors

        def measure() -> Floors:
            images = random_images(real.data, "train", n, real.trainer)
            trained_on = self._train_on(split, images.pixels.to(real.device), images.cond)
            return {"cas": {"mean": trained_on.value, "sd": 0.0, "draws": 1}}

        return floors | real.kept_scores(measure, split, n=n, protocol=self.evaluator.protocol, cas=True)

    def protocol(self, split: Split) -> dict[str, Any]:
        """The extractor, the metrics' settings and the number of real images."""
        real = self.real
        mine = torch.tensor(len(real.features(split).features), device=real.trainer.strategy.root_device)
        return {"n_real": int(real.trainer.strategy.reduce(mine, reduce_op="sum")), **self.evaluator.protocol}


class ObedienceJudge(Judge):
    """Looks at each sample beside its condition.

    Args:
        metrics: What is looked at.
        trainer: Has the data.
    """

    def __init__(self, metrics: Sequence[Obedience], trainer: L.Trainer) -> None:
        self.metrics = [metric.to(trainer.strategy.root_device) for metric in metrics]
        self.trainer = trainer
        self.data = data_of(trainer)

    def score(self, samples: Samples, split: Split, *, fitting: bool) -> Evaluation:
        """Measure each sample once for each metric."""
        asked = samples.pixels, samples.cond, samples.target
        return Evaluation(obedience_scores(self.metrics, *asked, intervals=not fitting), {}, [])

    def floors(self, split: Split, n: int) -> Floors:
        """Measure real images of the split beside their own conditions, where that says something."""
        images = random_images(self.data, split, n, self.trainer)
        pixels = images.pixels.to(self.trainer.strategy.root_device)
        return obedience_floors(self.metrics, ImageSet(pixels, images.cond))

    def protocol(self, split: Split) -> dict[str, Any]:
        """The metrics' settings."""
        return obedience_card(self.metrics)


def random_images(data: ImageDataModule, split: Split, n: int, trainer: L.Trainer) -> ImageSet:
    """Return this process's share of n random images of a split."""
    images = data.images(split)
    (chosen,) = floor_draws(len(images), n, 1)
    return images.take(chosen[share(len(chosen), trainer.global_rank, trainer.world_size)])
