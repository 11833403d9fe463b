"""What samples are compared with: features of real images, and what real images in place of samples would score."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any

import lightning as L
import torch
from torch import Tensor

from condgen import __version__
from condgen.data import ImageDataModule
from condgen.data.base import Split
from condgen.metrics import Evaluator, FeatureCache, Features
from condgen.seeding import generator, share
from condgen.types import Condition

Scores = dict[str, float]
Scored = Callable[[Tensor, Condition], Scores]


class RealImages:
    """Features of the splits of a trainer's data, shared out over its processes, and the floors of scores.

    Both are kept on disk by the content that they were made from: a second evaluation reads no real image.
    """

    def __init__(self, evaluator: Evaluator, trainer: L.Trainer) -> None:
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, ImageDataModule):
            raise ValueError(f"samples are scored against one of condgen's data modules, got {type(data).__name__}")
        self.evaluator = evaluator
        self.trainer = trainer
        self.data = data
        self.cache = FeatureCache()
        self._features: dict[str, Features] = {}

    @property
    def device(self) -> torch.device:
        """Where features are extracted: on the CPU for Apple's GPU, which has no float64 for the scores."""
        device = self.trainer.strategy.root_device
        return torch.device("cpu") if device.type == "mps" else device

    def extract(self, pixels: Tensor, cond: Condition) -> Features:
        """Extract the features of uint8 images (N, C, H, W)."""
        self.evaluator.extractor.to(self.device)
        label = cond.get("label")
        return self.evaluator.extract(pixels.to(self.device), None if label is None else label.to(self.device))

    # ------------------------------------------------------------------ features

    def features(self, split: Split) -> Features:
        """Return the features of this process's share of a split."""
        if split not in self._features:
            key = self.cache.key(images=self.data.fingerprint(split), extractor=self.evaluator.extractor.sha256)
            kept = self.cache.load(key)
            self._features[split] = self._share(kept) if self._everywhere(kept) else self._make(split, key)
        return self._features[split]

    def _make(self, split: Split, key: str) -> Features:
        images = self.data.images(split)
        mine = images.take(self._places(len(images)))
        features, label = self.extract(mine.pixels, mine.cond)
        whole = Features(self.gather(features), None if label is None else self.gather(label))
        if self.trainer.local_rank == 0:
            self.cache.save(key, whole)
        return Features(features, label)

    def _share(self, kept: Features | None) -> Features:
        assert kept is not None
        features, label = kept
        places = self._places(len(features))
        return Features(features[places].to(self.device), None if label is None else label[places].to(self.device))

    def _places(self, count: int) -> Tensor:
        return share(count, self.trainer.global_rank, self.trainer.world_size)

    def _everywhere(self, kept: object) -> bool:
        """Return whether every process found what it looked for; the folder may be another one on each machine."""
        return self.trainer.strategy.reduce_boolean_decision(kept is not None, all=True)

    def gather(self, mine: Tensor) -> Tensor:
        """Concatenate the rows of all processes in the order of their ranks; each may hold another number of them."""
        if self.trainer.world_size == 1:
            return mine
        parts: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(parts, mine.cpu())
        return torch.cat(parts).to(mine.device)

    # ------------------------------------------------------------------ floors

    def floor(self, split: Split, n: int, draws: int, score: Scored, **settings: Any) -> dict[str, dict[str, float]]:
        """Return mean and standard deviation over `draws` of the scores of n random training images.

        Args:
            split: What they are compared with.
            n: Number of images; if there are no more than that, there is one draw, of all.
            draws: Number of draws.
            score: Scores this process's share of a draw: uint8 pixels and conditions.
            settings: What else the scores depend on.
        """
        images = [self.data.fingerprint("train"), self.data.fingerprint(split)]
        extractor = self.evaluator.extractor.sha256
        key = self.cache.key(
            images=images, extractor=extractor, n=n, draws=draws, condgen=__version__, settings=settings
        )
        kept = self.cache.load_scores(key)
        if not self._everywhere(kept):
            kept = self._measure(n, draws, score)
            if self.trainer.local_rank == 0:
                self.cache.save_scores(key, kept)
        assert kept is not None
        return kept

    def _measure(self, n: int, draws: int, score: Scored) -> dict[str, dict[str, float]]:
        train = self.data.images("train")
        rows = []
        for draw in range(draws if n < len(train) else 1):
            chosen = torch.randperm(len(train), generator=generator("floor", draw))[:n]
            images = train.take(chosen[self._places(len(chosen))])
            rows.append(score(images.pixels.to(self.device), images.cond))
        values = {name: [row[name] for row in rows] for name in rows[0]}
        return {
            name: {"mean": fmean(value), "sd": stdev(value) if len(value) > 1 else 0.0, "draws": len(value)}
            for name, value in values.items()
        }
