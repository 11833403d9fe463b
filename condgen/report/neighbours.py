"""The training images that are nearest to a run's samples, as the extractor that scored it sees them, or by pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from condgen.data import ImageDataModule, Images
from condgen.metrics import Evaluator, Extractor, FeatureCache, Features
from condgen.metrics.memorisation import MOST, training_images
from condgen.metrics.neighbours import nearest
from condgen.pictures import grid
from condgen.report.configured import Builders, data_card, scored_by
from condgen.report.runs import Run
from condgen.report.samples import Drawn
from condgen.seeding import generator

HELD_OUT = 100
"""Held-out images whose distance to the training images stands beside that of samples."""


class Neighbours(NamedTuple):
    """Samples above their nearest training images, and their distances.

    Attributes:
        sheet: The grid (C, H, W) uint8.
        distance: Between features, Euclidean; between pixels, the root mean square difference in grey levels.
        held_out: The median over images of the split that was scored.
        by: What is compared, and why it is pixels if it is.
    """

    sheet: Tensor
    distance: list[float]
    held_out: float
    by: str


class TrainingImages:
    """Training images of the runs' data modules, each read once.

    Args:
        build: Makes them, and the extractors that scored the runs.
    """

    def __init__(self, build: Builders) -> None:
        self.build = build
        self._modules: dict[str, ImageDataModule] = {}

    def data(self, run: Run) -> ImageDataModule:
        """Build the data module that a run's config names; nothing is downloaded.

        Raises:
            ValueError: If there is no config, or it cannot be built from it.
        """
        card = data_card(run)
        key = json.dumps(card, sort_keys=True, default=str)
        if key not in self._modules:
            self._modules[key] = self.build.data(card)
        return self._modules[key]

    def nearest(self, run: Run, images: Tensor) -> Neighbours:
        """Find the training images nearest to samples (N, C, H, W) uint8.

        Raises:
            ValueError: If the data cannot be read, or holds images of another shape.
        """
        data = self.data(run)
        train, split = data.images("train"), run.protocol.get("split")
        if images.shape[1:] != data.image_shape:
            raise ValueError(f"samples are {tuple(images.shape[1:])}, training images {data.image_shape}")
        held_out = data.images("validation" if split == "validation" else "test")
        some = torch.randperm(len(held_out), generator=generator("held out"))[:HELD_OUT]
        distance, place, by = self._compare(run, torch.cat([images, held_out.take(some).pixels]), data)
        reference, distance = distance[len(images) :], distance[: len(images)]
        sheet = grid(torch.cat([images, train.take(place[: len(images)]).pixels]), columns=len(images))
        return Neighbours(sheet, distance.tolist(), float(reference.median()), by)

    def _compare(self, run: Run, images: Tensor, data: ImageDataModule) -> tuple[Tensor, Tensor, str]:
        """Return distance and place of each image's nearest training image, and what was compared."""
        try:
            extractor = scored_by(run, self.build)
            distance, place = nearest_features(images, data, extractor)
        except (ValueError, TypeError, RuntimeError, OSError) as error:  # nets of users may raise any
            distance, place = nearest_rows(images, data.images("train"))
            return distance, place, f"pixels, since {' '.join(str(error).split())}"
        some = f", among {MOST:,} training images" if len(data.images("train")) > MOST else ""
        return distance, place, f"features of {extractor.name}{some}"


def nearest_features(images: Tensor, data: ImageDataModule, extractor: Extractor) -> tuple[Tensor, Tensor]:
    """Return the distance to the nearest training image by features, and its place, (N,) each.

    The features of training images are those that `condgen test` left in the cache, or made, and left there.
    """
    evaluator, cache, train = Evaluator(extractor), FeatureCache(), data.images("train")
    among = training_images(len(train))
    key = cache.split_key(data.fingerprint("train"), extractor.sha256, MOST)
    known = cache.load(key)
    if known is None:
        parts = [evaluator.extract(rows.pixels, rows.cond.get("label")) for rows in train.blocks(among)]
        labels = [part.label for part in parts if part.label is not None]
        known = Features(torch.cat([part.features for part in parts]), torch.cat(labels) if labels else None)
        cache.save(key, known)
    squared, place = nearest(evaluator.extract(images, None).features, known.features, 1)
    return squared[:, 0].sqrt(), among[place[:, 0]]


def nearest_rows(images: Tensor, among: Images) -> tuple[Tensor, Tensor]:
    """Return the root mean square difference to the nearest of other images, and its place, (N,) each."""
    rows, start = images.flatten(1).float(), 0
    best, place = torch.full((len(rows),), torch.inf), torch.zeros(len(rows), dtype=torch.int64)
    for block in among.blocks():
        value, nearest = torch.cdist(rows, block.pixels.flatten(1).float()).min(dim=1)
        better = value < best
        best, place = torch.where(better, value, best), torch.where(better, nearest + start, place)
        start += len(block)
    return best / sqrt(rows.shape[1]), place


def neighbours(run: Run, drawn: Drawn, images: TrainingImages, say: Callable[[str], None]) -> Neighbours | str:
    """Find the neighbours of a run's samples, or say why there are none."""
    if drawn.images is None:
        return "its samples were not drawn anew"
    say(f"training images nearest to samples of {run.name}")
    try:
        return images.nearest(run, drawn.images)
    except (ValueError, TypeError, KeyError, OSError, RuntimeError) as error:
        return f"its training images cannot be read: {' '.join(str(error).split())}"
