"""What samples are compared with: features of real images, and what real images in place of samples would score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from condgen import __version__
from condgen.data import ImageDataModule
from condgen.data.base import Split
from condgen.metrics import Evaluator, FeatureCache, Features
from condgen.metrics.floors import Floor, floor_draws, floors
from condgen.metrics.memorisation import MOST, training_images
from condgen.seeding import share
from condgen.types import Condition


def data_of(trainer: L.Trainer) -> ImageDataModule:
    """Return a trainer's data module.

    Raises:
        ValueError: If it is none of condgen's.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, ImageDataModule):
        raise ValueError(f"samples are scored against one of condgen's data modules, got {type(data).__name__}")
    return data


class RealImages:
    """Features of the splits of a trainer's data, shared out over its processes, and the floors of scores.

    Both are kept on disk by the content that they were made from: a second evaluation reads no real image. What a
    reader must know of how the evaluator's classes fit the data's stands in `warnings`.
    """

    def __init__(self, evaluator: Evaluator, trainer: L.Trainer) -> None:
        self.evaluator = evaluator
        self.trainer = trainer
        self.data = data_of(trainer)
        self.cache = FeatureCache()
        names = self.data.cond_spec.get("label", {}).get("names")
        self.warnings = [] if names is None else evaluator.match_classes(names)
        self._whole: dict[str, Features] = {}

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
        return self._share(self._all(split), self._places(len(self._all(split).features)))

    def _all(self, split: Split) -> Features:
        """Return the features of all of a split, on the CPU; of a training split, of at most `MOST` random images."""
        if split not in self._whole:
            most = MOST if split == "train" else None
            key = self.cache.split_key(self.data.fingerprint(split), self.evaluator.extractor.sha256, most)
            kept = self.cache.load(key)
            found = self._everywhere(kept)  # asked by all, whatever each has
            self._whole[split] = kept if found and kept is not None else self._make(split, most, key)
        return self._whole[split]

    def _make(self, split: Split, most: int | None, key: str) -> Features:
        images = self.data.images(split)
        chosen = training_images(len(images)) if split == "train" else torch.arange(len(images))
        mine = [self.extract(rows.pixels, rows.cond) for rows in images.blocks(chosen[self._places(len(chosen))])]
        features = self.gather(torch.cat([part.features for part in mine])).cpu()
        labels = [part.label for part in mine if part.label is not None]
        whole = Features(features, self.gather(torch.cat(labels)).cpu() if labels else None)
        if self.trainer.local_rank == 0:
            self.cache.save(key, whole)
        return whole

    def _share(self, whole: Features, places: Tensor) -> Features:
        features, label = whole
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

    def floor(self, split: Split, n: int, draws: int) -> dict[str, Floor]:
        """Return mean and standard deviation over `draws` of the scores of n random training images against a split.

        There is one draw, of all, where there are no more than n.
        """

        def score(places: Tensor) -> dict[str, float]:
            mine = self._share(self._all("train"), places[self._places(len(places))])
            scores = self.evaluator.score(self.features(split), mine).scores
            return {name: score.value for name, score in scores.items()}

        def measure() -> dict[str, Any]:
            return floors([score(places) for places in floor_draws(len(self._all("train").features), n, draws)])

        settings = {"protocol": self.evaluator.protocol, "scores": self.evaluator.score_names}
        return self.kept_scores(measure, split, n=n, draws=draws, **settings)

    def kept_scores(self, measure: Callable[[], dict[str, Any]], split: Split, **settings: Any) -> dict[str, Any]:
        """Return scores of training images against a split that are kept on disk, or measured and kept from now on.

        Args:
            measure: Measures them, in all processes.
            split: What they are compared with.
            settings: What else they depend on, in plain values.
        """
        images = [self.data.fingerprint("train"), self.data.fingerprint(split)]
        key = self.cache.key(images=images, condgen=__version__, **settings)
        kept = self.cache.load_scores(key)
        if not self._everywhere(kept):
            kept = measure()
            if self.trainer.local_rank == 0:
                self.cache.save_scores(key, kept)
        assert kept is not None
        return kept
