"""Samples of a checkpoint, as a set of images to score."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condgen.checkpoints.load import find_checkpoint, load_model, read_checkpoint
from condgen.data import ImageSet, LoadedImages
from condgen.models.weights_hash import weights_hash
from condgen.pixels import to_uint8
from condgen.types import Shape

CHUNK = 500
"""Samples that are held as float32 at a time."""


class DrawnImages(LoadedImages):
    """Samples of a checkpoint, the classes in turn, sample i with seed `first_seed + i`, drawn when first asked for.

    Args:
        path: A checkpoint file, or a run's folder for its last checkpoint.
        n: Number of samples.
        first_seed: Seed of the first.
        raw: Sample with the raw weights though there are averaged ones.
        device: Where they are drawn.
        trusted: Packages that the checkpoint's classes may come from, beside condgen's own.

    Raises:
        CheckpointError: If the checkpoint cannot be loaded.
        ValueError: If it is asked for other conditions than classes.
    """

    def __init__(
        self,
        path: str | Path,
        n: int = 5000,
        first_seed: int = 0,
        *,
        raw: bool = False,
        device: str = "cpu",
        trusted: Sequence[str] = (),
    ) -> None:
        super().__init__(str(path))
        if n < 1 or first_seed < 0:
            raise ValueError(f"samples need n >= 1 and a first seed >= 0, got {n} and {first_seed}")
        self.n = n
        self.first_seed = first_seed
        self.model = load_model(path, trusted=trusted)
        others = [key for key in self.model.condition_keys if key != "label"]
        if others:
            raise ValueError(f"{path} is asked for {others[0]}, which its data has: score it by condgen test")
        self.model.raw = raw
        self.model.to(device)
        self.class_names = list(self.model.cond_spec["label"]["names"]) if self.labelled else None
        self.cost = {
            "parameters": sum(value.numel() for value in self.model.sampling_net.parameters()),
            **training_cost(read_checkpoint(path)),
        }
        self.card |= {
            "model": type(self.model).__name__,
            "ema": self.model.averaged,
            "sampler": self.model.sampler_card,
            "checkpoint": str(find_checkpoint(path)),
            "weights_sha256": weights_hash(self.model),
            "images_seen": self.model.images_seen,
            "classes": "uniform" if self.labelled else None,
            "seeds": [first_seed, first_seed + n - 1],
        }

    @property
    def labelled(self) -> bool:
        """Whether the model samples by class."""
        return "label" in self.model.cond_spec

    def load(self) -> ImageSet:
        """Draw all samples."""
        index, start = torch.arange(self.n), time.perf_counter()
        pixels = torch.cat([self._draw(part) for part in index.split(CHUNK)])
        self.cost["sampling_ms_per_image"] = 1000 * (time.perf_counter() - start) / self.n
        return ImageSet(pixels, self._cond(index))

    def _draw(self, index: Tensor) -> Tensor:
        return to_uint8(self.model.sample(self._cond(index), seeds=index + self.first_seed)).cpu()

    def _cond(self, index: Tensor) -> dict[str, Tensor]:
        return {"label": index % len(self.class_names)} if self.class_names else {}

    @property
    def shape(self) -> Shape:
        """Shape of all samples."""
        return self.model.image_shape

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.n


def training_cost(checkpoint: Mapping[str, Any]) -> dict[str, float | None]:
    """Return seconds and images per second of training as the callback `TrainingTime` left them, else null."""
    clock = checkpoint.get("callbacks", {}).get("TrainingTime") or {"seconds": 0.0, "images": 0, "complete": False}
    seconds, images = clock["seconds"], clock["images"]
    return {
        "training_seconds": seconds if clock["complete"] and images else None,
        "images_per_second": images / seconds if images else None,
    }
