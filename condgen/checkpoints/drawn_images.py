"""Samples of a checkpoint, as a set of images to score."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from condgen.checkpoints.load import build_model, find_checkpoint, read_checkpoint
from condgen.data import Images, ImageSet, LoadedImages, SplitImages
from condgen.models import GenerativeModel
from condgen.models.asking import ask, classes_in_turn, draw
from condgen.models.weights_hash import weights_hash
from condgen.types import Shape


class DrawnImages(LoadedImages):
    """Samples of a checkpoint, sample i with seed `first_seed + i`, drawn when first asked for.

    Classes are asked for in turn; other conditions are those of a split's images, in a fixed random order.

    Args:
        path: A checkpoint file, or a run's folder for its last checkpoint.
        n: Number of samples.
        first_seed: Seed of the first.
        conditions: Finds the split for a model that is asked for more than classes; not called for others.
        raw: Sample with the raw weights though there are averaged ones.
        device: Where they are drawn.
        trusted: Packages that the checkpoint's classes may come from, beside condgen's own.

    Raises:
        CheckpointError: If the checkpoint cannot be loaded.
        ValueError: If it is asked for more than classes, and `conditions` is null.
    """

    def __init__(
        self,
        path: str | Path,
        n: int = 5000,
        first_seed: int = 0,
        *,
        conditions: Callable[[GenerativeModel], SplitImages] | None = None,
        raw: bool = False,
        device: str = "cpu",
        trusted: Sequence[str] = (),
    ) -> None:
        super().__init__(str(path))
        if n < 1 or first_seed < 0:
            raise ValueError(f"samples need n >= 1 and a first seed >= 0, got {n} and {first_seed}")
        self.n = n
        self.first_seed = first_seed
        file = find_checkpoint(path)
        content = read_checkpoint(file)
        self.model = build_model(content, path, trusted=trusted)
        if not classes_in_turn(self.model):
            if conditions is None:
                others = ", ".join(key for key in self.model.condition_keys if key != "label")
                raise ValueError(f"{path} is asked for {others}: give the split that has them as conditions")
            self.asked_of = conditions(self.model)
        self.model.raw = raw
        self.model.to(device)
        spec = self.model.cond_spec if self.asked_of is None else self.asked_of.module.cond_spec
        labelled = "label" in (self.model.condition_keys if self.asked_of is None else spec)
        self.class_names = list(spec["label"]["names"]) if labelled else None
        self.cost = {
            "parameters": sum(value.numel() for value in self.model.sampling_net.parameters()),
            **training_cost(content),
        }
        self.card |= {
            "model": type(self.model).__name__,
            "ema": self.model.averaged,
            "sampler": self.model.sampler_card,
            "checkpoint": str(file),
            "weights_sha256": weights_hash(self.model),
            "images_seen": self.model.images_seen,
            "conditions": list(self.model.condition_keys),
            "conditions_of": None if self.asked_of is None else conditions_card(self.asked_of),
            "classes": "uniform" if self.class_names and self.asked_of is None else None,
            "seeds": [first_seed, first_seed + n - 1],
        }

    def load(self) -> ImageSet:
        """Draw all samples."""
        index, start = torch.arange(self.n), time.perf_counter()
        asked = ask(self.model, index, self._stored)
        pixels = draw(self.model, asked.cond, index + self.first_seed).cpu()
        self.cost["sampling_ms_per_image"] = 1000 * (time.perf_counter() - start) / self.n
        self.target = asked.target
        return ImageSet(pixels, asked.cond)

    def _stored(self) -> Images:
        assert self.asked_of is not None
        return self.asked_of.stored()

    @property
    def shape(self) -> Shape:
        """Shape of all samples."""
        return self.model.image_shape

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.n


def conditions_card(split: SplitImages) -> dict[str, Any]:
    """Say which split's conditions were asked for."""
    return {**split.card, "fingerprint": split.fingerprint}


def training_cost(checkpoint: Mapping[str, Any]) -> dict[str, float | None]:
    """Return seconds and images per second of training as the callback `TrainingTime` left them, else null."""
    clock = checkpoint.get("callbacks", {}).get("TrainingTime") or {"seconds": 0.0, "images": 0, "complete": False}
    seconds, images = clock["seconds"], clock["images"]
    return {
        "training_seconds": seconds if clock["complete"] and images else None,
        "images_per_second": images / seconds if images else None,
    }
